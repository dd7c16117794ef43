"""The S3 API beyond the hot table: buckets, listings, objects met for the first time, refusals. No sockets."""

from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

from forebay_cache.catalog.base import Commit, Entry
from forebay_cache.model.errors import DeadlineExceeded
from forebay_cache.model.ids import CHUNK_SIZE, CommitId, Extent
from forebay_cache.model.ranges import spans
from forebay_cache.model.sigv4 import query_pairs
from forebay_cache.read.base import Piece, Reader
from forebay_cache.serve import listing, s3xml
from forebay_cache.serve.answer import Answer, Stream, head_bytes, xml_answer
from forebay_cache.serve.auth import Guard
from forebay_cache.serve.base import Datasets, Served
from forebay_cache.serve.leases import Pin, Pins
from forebay_cache.serve.objects import HotObject, Objects, decide
from forebay_cache.serve.request import KEY_LIMIT, Request, Target, target_of
from forebay_cache.serve.s3errors import S3Refusal, message_of, s3_error

READ_ONLY = (
    "Forebay serves this Dataset read-only: write to the origin, then let the Dataset sync (or run `forebay sync`); the new"
    " commit lists what was written"
)
SHOWN_LIMIT = 200
_BUCKET_PARTS = frozenset(
    b"accelerate acl analytics cors encryption intelligent-tiering inventory lifecycle logging metrics notification object-lock"
    b" ownershipControls policy policyStatus publicAccessBlock replication requestPayment session tagging uploads versions"
    b" website".split()
)


@dataclass(frozen=True, slots=True)
class Place:
    """What the S3 face says of itself. `began_ms` stands as every bucket's creation: a Dataset's own is not known here."""

    region: str
    began_ms: int


class S3:
    """Answers any request."""

    def __init__(self, reader: Reader, datasets: Datasets, hot: tuple[Objects, Pins], guard: Guard, at: Place) -> None:
        self._reader = reader
        self._datasets = datasets
        self._objects, self._pins = hot
        self._guard = guard
        self._region = at.region
        self._began_ms = at.began_ms

    async def answer(self, request: Request) -> Answer:
        """Raises ForebayError. An answer with a stream is the caller's to close."""
        target = target_of(request.path)
        if request.method not in (b"GET", b"HEAD"):
            raise S3Refusal(405, "MethodNotAllowed", READ_ONLY, (("Allow", "GET, HEAD"),))
        if not target.bucket:
            return self._service(request)
        served = self._served(target.bucket)
        self._guard.check(request, served)
        if target.key:
            return await self._object(request, target, served)
        return await self._bucket(request, served)

    def recall(self, request: Request) -> tuple[HotObject, Pin] | None:
        """An object that is not in the hot table, if its bytes and headers are here: no await, no task. The pin has one
        user more, who sends the bytes. Raises ForebayError."""
        target = target_of(request.path)
        served = self._datasets.snapshot.by_bucket.get(target.bucket)
        if request.method != b"GET" or not target.key or served is None or served.head is None:
            return None
        self._guard.check(request, served)
        entry = served.head.find(target.key)
        if entry is None or not entry.size or entry.extent.offset % CHUNK_SIZE + entry.size > CHUNK_SIZE:
            return None
        pin = self._pins.take(next(spans(entry.extent)))
        if pin is None:
            return None
        headers = _at_once(self._reader.headers(entry))
        if headers is None:
            pin.release()
            return None
        hot = self._objects.remember(request.path, served, entry, headers)
        hot.pin = pin
        return hot, pin

    async def open(self, extent: Extent) -> Stream:
        """The bytes of `extent` with the first piece already here, so that an error can still become a status."""
        pieces = cast("AsyncGenerator[Piece, None]", self._reader.pieces(extent))
        try:
            return Stream(await anext(pieces), pieces)
        except StopAsyncIteration as exc:
            raise DeadlineExceeded("the reader gave no bytes") from exc
        except BaseException:
            await pieces.aclose()
            raise

    def _service(self, request: Request) -> Answer:
        if request.method == b"HEAD":
            raise S3Refusal(405, "MethodNotAllowed", "HEAD needs a bucket", (("Allow", "GET"),))
        key = self._guard.key_of(request)
        found = [
            name
            for name, served in sorted(self._datasets.snapshot.by_bucket.items())
            if self._guard.may_read(key, served)
        ]
        return xml_answer("ListBuckets", s3xml.buckets("forebay", [(name, self._began_ms) for name in found]))

    async def _bucket(self, request: Request, served: Served) -> Answer:
        if request.method == b"HEAD":
            return Answer(
                "HeadBucket", 200, head_bytes(200, [("x-amz-bucket-region", self._region), ("Content-Length", "0")])
            )
        query = dict(query_pairs(request.query))
        if b"location" in query:
            return xml_answer("GetBucketLocation", s3xml.location(self._region))
        if b"versioning" in query:
            return xml_answer("GetBucketVersioning", s3xml.versioning())
        for name in query.keys() & _BUCKET_PARTS:
            raise S3Refusal(
                501, "NotImplemented", f"?{name.decode()} is not served: Forebay caches objects and listings only"
            )
        wanted = listing.parse(query)
        commit = self._head(served) if wanted.commit is None else await self._listed_commit(served, wanted.commit)
        operation = "ListObjectsV2" if wanted.version == 2 else "ListObjects"
        return xml_answer(operation, listing.answer(served.state.bucket, wanted, commit))

    async def _object(self, request: Request, target: Target, served: Served) -> Answer:
        entry = self._entry(served, target.key)
        if request.method == b"HEAD":
            return decide(request, await self._recall(request, served, entry))
        planned = decide(request, HotObject(served, entry, {}))
        if planned.extent is None:
            return planned if entry.size else decide(request, await self._recall(request, served, entry))
        stream = await self.open(planned.extent)
        try:  # headers after the first piece, because the fill records them and spares the origin a HEAD
            hot = await self._recall(request, served, entry)
            return replace(decide(request, hot), stream=stream)
        except BaseException:
            await stream.rest.aclose()
            raise

    async def _recall(self, request: Request, served: Served, entry: Entry) -> HotObject:
        return self._objects.remember(request.path, served, entry, await self._reader.headers(entry))

    def _served(self, bucket: str) -> Served:
        served = self._datasets.snapshot.by_bucket.get(bucket)
        if served is None:
            message = f"no Dataset is served as bucket {shown(bucket)}: `forebay status` shows those there are"
            raise S3Refusal(404, "NoSuchBucket", message)
        return served

    def _entry(self, served: Served, key: bytes) -> Entry:
        head = self._head(served)
        entry = head.find(key)
        if entry is None and len(key) > KEY_LIMIT:  # a source's path may have made one longer
            raise S3Refusal(400, "KeyTooLongError", f"a key has at most {KEY_LIMIT} bytes, this one {len(key)}")
        if entry is None:
            what = f"key {shown(key.decode(errors='backslashreplace'))} is not in commit {head.id[:12]}"
            raise S3Refusal(404, "NoSuchKey", f"{what}: if it was written since, sync Dataset {served.state.name}")
        return entry

    def _head(self, served: Served) -> Commit:
        if served.head is None:
            message = "the Dataset has no commit here yet: its first sync is under way; see `forebay status`"
            raise S3Refusal(503, "DatasetNotReady", message, (("Retry-After", "5"),))
        return served.head

    async def _listed_commit(self, served: Served, commit: CommitId) -> Commit:
        if commit not in (served.state.head, *served.state.retained):
            raise S3Refusal(
                400, "InvalidArgument", "the commit this listing began with is no longer kept: list from the start"
            )
        if served.head is not None and served.head.id == commit:
            return served.head
        return await self._datasets.commit(commit)


def _at_once(work: Coroutine[Any, Any, Mapping[str, str]]) -> Mapping[str, str] | None:
    """The result of a coroutine that does not wait; None where it would. Headers of what the store holds were recorded
    with it, so asking is a look-up, and a task for it would cost more than all the rest."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast("Mapping[str, str]", done.value)
    work.close()
    return None


def shown(name: str) -> str:
    """A client's name for something, quoted, cut where it is long, and with nothing in it that a log or XML cannot hold."""
    return repr(name if len(name) <= SHOWN_LIMIT else name[:SHOWN_LIMIT] + "...")


async def close(answer: Answer) -> None:
    """Gives back what an answer holds."""
    if answer.stream is not None:
        async with aclosing(answer.stream.rest):
            pass


def refusal(request: Request | None, error: BaseException, request_id: str) -> Answer:
    """The S3 error document for `error`; without a body for HEAD."""
    found = s3_error(error)
    headers = [*error.headers] if isinstance(error, S3Refusal) else []
    if found.retry_after_s is not None:
        headers.append(("Retry-After", str(found.retry_after_s)))
    if request is not None and request.method == b"HEAD":
        return Answer("Refused", found.status, head_bytes(found.status, [*headers, ("Content-Length", "0")]))
    resource = request.path.decode("latin-1") if request else ""
    body = s3xml.error(found.code, message_of(error, found), resource, request_id)
    return xml_answer("Refused", body, found.status, headers)
