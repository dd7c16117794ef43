"""GET and HEAD of one object: the hot table of prebuilt answers, and the decisions about ranges and conditions.

Hot file. Budget: 2 us for a request without signature, range or condition whose object is in the table. The table is
bounded, keyed by the raw path, and emptied when another snapshot of the Datasets is served.
"""

from collections.abc import Mapping

from forebay_cache.catalog.base import Entry
from forebay_cache.model.errors import RangeNotSatisfiable
from forebay_cache.model.ids import CHUNK_SIZE, Extent
from forebay_cache.model.ranges import slice_extent
from forebay_cache.model.sigv4 import query_pairs
from forebay_cache.serve.answer import Answer, head_bytes, http_date
from forebay_cache.serve.auth import Guard
from forebay_cache.serve.base import Datasets, Served, Snapshot
from forebay_cache.serve.conditions import CONDITIONAL, Verdict, evaluate, parse_range, range_applies
from forebay_cache.serve.leases import Pin
from forebay_cache.serve.request import Request
from forebay_cache.serve.s3errors import S3Refusal

SPECIAL = CONDITIONAL | {b"range"}
_OVERRIDES = {
    b"response-content-type": "Content-Type",
    b"response-content-language": "Content-Language",
    b"response-expires": "Expires",
    b"response-cache-control": "Cache-Control",
    b"response-content-disposition": "Content-Disposition",
    b"response-content-encoding": "Content-Encoding",
}
_UNSERVED = frozenset(
    (
        b"acl",
        b"attributes",
        b"legal-hold",
        b"object-lock",
        b"policyStatus",
        b"restore",
        b"retention",
        b"select",
        b"tagging",
        b"torrent",
        b"uploadId",
    )
)


class HotObject:
    """An object that was answered before. `pin` holds its chunk, if the object lies in one; `warm` is the tick at which
    its bytes were last seen in the page cache. `whole` and `head`, the answers to a GET and a HEAD of all of it, are made
    when one is asked for first: who reads ranges needs neither."""

    __slots__ = ("entry", "head", "headers", "pin", "served", "single", "warm", "whole")
    whole: Answer
    head: Answer

    def __init__(self, served: Served, entry: Entry, headers: Mapping[str, str]) -> None:
        self.served = served
        self.entry = entry
        self.headers = fixed_headers(entry, headers)
        start = entry.extent.offset % CHUNK_SIZE
        self.single = start + entry.size <= CHUNK_SIZE
        self.pin: Pin | None = None
        self.warm = -1

    def __getattr__(self, name: str) -> Answer:
        """Called for what a slot does not hold yet, and never again: a hit reads the slot."""
        if name not in ("whole", "head"):
            raise AttributeError(name)
        entry = self.entry
        head = head_bytes(200, [*self.headers.items(), ("Content-Length", str(entry.size))])
        self.head = Answer("HeadObject", 200, head)
        self.whole = Answer("GetObject", 200, head, extent=entry.extent if entry.size else None)
        return self.whole if name == "whole" else self.head


class Objects:
    """The hot table."""

    def __init__(self, datasets: Datasets, guard: Guard, limit: int) -> None:
        self._datasets = datasets
        self._guard = guard
        self._limit = limit
        self._snapshot: Snapshot | None = None
        self._hot: dict[bytes, HotObject] = {}

    def __len__(self) -> int:
        return len(self._hot)

    def find(self, path: bytes) -> HotObject | None:
        if self._datasets.snapshot is not self._snapshot:
            self._hot.clear()
            self._snapshot = self._datasets.snapshot
        return self._hot.get(path)

    def remember(self, path: bytes, served: Served, entry: Entry, headers: Mapping[str, str]) -> HotObject:
        """Unless the Datasets changed while the headers were asked for."""
        hot = HotObject(served, entry, headers)
        if self.find(path) is None and self._current(served):
            if len(self._hot) >= self._limit:
                del self._hot[next(iter(self._hot))]
            self._hot[path] = hot
        return hot

    def answer(self, request: Request, hot: HotObject) -> Answer:
        """The answer to a GET or HEAD; no I/O. Raises AccessDenied, S3Refusal."""
        headers = request.headers
        if not hot.served.state.anonymous or request.query or b"authorization" in headers:
            self._guard.check(request, hot.served)
            if request.query:
                return decide(request, hot)
        if not SPECIAL.isdisjoint(headers):
            return decide(request, hot)
        return hot.whole if request.method == b"GET" else hot.head

    def _current(self, served: Served) -> bool:
        return self._datasets.snapshot.by_bucket.get(served.state.bucket) is served


def decide(request: Request, hot: HotObject) -> Answer:
    """The answer to an allowed GET or HEAD, by its query, conditions and range. Pure."""
    extra = overrides(request.query, hot.entry) if request.query else {}
    headers = request.headers
    if not CONDITIONAL.isdisjoint(headers):
        refused = _conditional(headers, hot)
        if refused is not None:
            return refused
    wanted = range_of(request, hot.entry)
    if wanted is not None:
        return partial(request.method, hot, wanted, extra)
    if extra:
        return partial(request.method, hot, None, extra)
    return hot.whole if request.method == b"GET" else hot.head


def fixed_headers(entry: Entry, given: Mapping[str, str]) -> dict[str, str]:
    """What every answer about the object says, as the origin gave it."""
    headers = {name: value for name, value in given.items() if name.lower() != "content-type"}
    kind = next((value for name, value in given.items() if name.lower() == "content-type"), "binary/octet-stream")
    headers = {"Content-Type": kind, **headers, "Last-Modified": http_date(entry.mtime_ms), "Accept-Ranges": "bytes"}
    if entry.etag:
        headers["ETag"] = f'"{entry.etag}"'
    return headers


def range_of(request: Request, entry: Entry) -> tuple[int, int] | None:
    """[start, stop) that Range or partNumber asks for; None: the whole object. Raises S3Refusal."""
    value = request.headers.get(b"range")
    if b"partNumber=" in request.query:
        if value is not None:
            raise S3Refusal(400, "InvalidRequest", "ask for a range or for a part, not for both")
        return (0, entry.size) if entry.size else None
    if value is None or not range_applies(request.headers, entry):
        return None
    try:
        return parse_range(value, entry.size)
    except RangeNotSatisfiable as exc:
        whole = (("Content-Range", f"bytes */{entry.size}"),)
        raise S3Refusal(416, "InvalidRange", str(exc), whole) from exc


def partial(method: bytes, hot: HotObject, wanted: tuple[int, int] | None, extra: Mapping[str, str]) -> Answer:
    """An answer of its own: a range (206), or the whole object under other headers (200)."""
    start, stop = wanted or (0, hot.entry.size)
    headers = {**hot.headers, **extra, "Content-Length": str(stop - start)}
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{hot.entry.size}"
    status = 206 if wanted else 200
    head = head_bytes(status, headers.items())
    if method == b"HEAD":
        return Answer("HeadObject", status, head)
    extent: Extent | None = slice_extent(hot.entry.extent, start, stop) if stop > start else None
    return Answer("GetObject", status, head, extent=extent)


def overrides(query: bytes, entry: Entry) -> dict[str, str]:
    """Headers that the query sets. Raises S3Refusal for what this face cannot answer rightly."""
    found = {}
    for name, value in query_pairs(query):
        if name in _OVERRIDES:
            found[_OVERRIDES[name]] = value.decode("utf-8", "replace")
        elif name in _UNSERVED:
            raise S3Refusal(
                501, "NotImplemented", f"?{name.decode()} is not served: Forebay caches objects and listings only"
            )
        elif name == b"versionId" and value != b"null":
            raise S3Refusal(404, "NoSuchVersion", "a Dataset serves one version of each object: leave versionId out")
        elif name == b"partNumber":
            _check_part_number(value, entry)
    return found


def _check_part_number(value: bytes, entry: Entry) -> None:
    if "-" in entry.etag:
        raise S3Refusal(501, "NotImplemented", "part sizes of multipart objects are not recorded: ask by Range")
    if value != b"1":
        raise S3Refusal(416, "InvalidPartNumber", "the object has one part")


def _conditional(headers: Mapping[bytes, bytes], hot: HotObject) -> Answer | None:
    verdict = evaluate(headers, hot.entry)
    if verdict is Verdict.SEND:
        return None
    if verdict is Verdict.FAILED:
        raise S3Refusal(412, "PreconditionFailed", "at least one of the preconditions you specified did not hold")
    kept = [(name, value) for name, value in hot.headers.items() if name in ("ETag", "Last-Modified", "Cache-Control")]
    return Answer("GetObject", 304, head_bytes(304, kept))
