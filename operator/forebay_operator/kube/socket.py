"""The Kube protocol over a unix socket that only its owner may open: `forebay status` and friends against `forebay up`.

One call, one connection, lines of JSON. The caller sends {"call": name, ...arguments}; the answer is {"result": value} or
{"error": class, "message": text}. A watch answers {"event": type, "object": object} until either side closes. The other end
of the socket is the same version of the same program, so nothing here is negotiated.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from forebay_operator.kube.base import Event, Kube, Listing
from forebay_operator.model import KINDS, BadManifest, Key, Kind, KubeError, KubeUnavailable, Object, OperatorError

SOCKET = "kube.sock"
PATH_LIMIT = 107
"""sun_path on Linux, less its end."""
LINE_LIMIT = 64 << 20
DEADLINE_S = 10.0
REFUSALS: Sequence[type[OperatorError]] = (KubeError, BadManifest, *KubeError.__subclasses__())
ERRORS = {refusal.__name__: refusal for refusal in REFUSALS}
Request = Mapping[str, Any]


@asynccontextmanager
async def serve_kube(kube: Kube, path: Path) -> AsyncIterator[None]:
    """Serves `kube` at `path` until left; calls under way are cut off then. Raises BadManifest for a path too long."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise BadManifest(
            f"{path} is longer than the {PATH_LIMIT} bytes a unix socket may have: choose a shorter --state"
        )
    calls: set[asyncio.Task[Any]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await answer_call(kube, reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.create_task(
            answer(reader, writer)
        )  # ours, for the server would report a cancelled one as an error
        calls.add(call)
        call.add_done_callback(calls.discard)

    remove(path)
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(accept, path, limit=LINE_LIMIT)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        remove(path)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def answer_call(kube: Kube, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        request = json.loads(await reader.readline())
        if request["call"] == "watch":
            await answer_watch(kube, request, reader, writer)
        else:
            await send(writer, {"result": await CALLS[request["call"]](kube, request)})
    except OperatorError as exc:
        await send(writer, {"error": type(exc).__name__, "message": str(exc)})
    except (ValueError, KeyError) as exc:
        await send(writer, {"error": "BadManifest", "message": f"not a call of this protocol: {exc!r}"})


async def answer_watch(
    kube: Kube, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Until the watch fails, or the caller hangs up: nothing more is read from it, so the end of input is its going."""

    async def pump() -> None:
        how = {name: request[name] for name in ("labels", "bookmarks")}
        async for event in kube.watch(kind_of(request), request["resource_version"], request["namespace"], **how):
            await send(writer, {"event": event.type, "object": event.object})

    pumping, gone = asyncio.create_task(pump()), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({pumping, gone}, return_when=asyncio.FIRST_COMPLETED)
        if pumping.done():
            await pumping
    finally:
        for task in (pumping, gone):
            task.cancel()
        await asyncio.gather(pumping, gone, return_exceptions=True)


async def send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


async def call_get(kube: Kube, request: Request) -> object:
    return await kube.get(key_of_request(request), live=request["live"])


async def call_list(kube: Kube, request: Request) -> object:
    listing = await kube.list(kind_of(request), request["namespace"], request["labels"])
    return {"items": list(listing.items), "resource_version": listing.resource_version}


async def call_apply(kube: Kube, request: Request) -> object:
    return await kube.apply(request["body"], manager=request["manager"], force=request["force"])


async def call_apply_status(kube: Kube, request: Request) -> object:
    return await kube.apply_status(request["body"], manager=request["manager"], force=request["force"])


async def call_create(kube: Kube, request: Request) -> object:
    return await kube.create(request["body"])


async def call_delete(kube: Kube, request: Request) -> object:
    key = key_of_request(request)
    await kube.delete(key, uid=request["uid"], resource_version=request["resource_version"])
    return None


CALLS: Mapping[str, Callable[[Kube, Request], Awaitable[object]]] = {
    "get": call_get,
    "list": call_list,
    "apply": call_apply,
    "apply_status": call_apply_status,
    "create": call_create,
    "delete": call_delete,
}


def kind_of(request: Request) -> Kind:
    api_version, kind = request["kind"]
    return KINDS[api_version, kind]


def key_of_request(request: Request) -> Key:
    return Key(kind_of(request), request["namespace"], request["name"])


class SocketKube:
    """A Kube on the other side of the socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: set[asyncio.StreamWriter] = set()
        self._closed = False

    async def get(self, key: Key, *, live: bool = False) -> Object:
        result: Object = await self._call("get", live=live, **key_fields(key))
        return result

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Listing:
        result = await self._call("list", kind=kind_field(kind), namespace=namespace, labels=labels)
        return Listing(result["items"], result["resource_version"])

    async def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        bookmarks: bool = False,
    ) -> AsyncIterator[Event]:
        what = {"kind": kind_field(kind), "namespace": namespace, "labels": labels, "bookmarks": bookmarks}
        while not self._closed:
            request = {"call": "watch", **what, "resource_version": resource_version}
            async with self._connection(request) as reader:
                while answer := await self._line(reader):
                    resource_version = answer["object"]["metadata"]["resourceVersion"]
                    yield Event(answer["event"], answer["object"])

    async def apply(self, body: Object, *, manager: str, force: bool = False) -> Object:
        result: Object = await self._call("apply", body=body, manager=manager, force=force)
        return result

    async def apply_status(self, body: Object, *, manager: str, force: bool = False) -> Object:
        result: Object = await self._call("apply_status", body=body, manager=manager, force=force)
        return result

    async def create(self, body: Object) -> Object:
        result: Object = await self._call("create", body=body)
        return result

    async def delete(self, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        await self._call("delete", uid=uid, resource_version=resource_version, **key_fields(key))

    async def aclose(self) -> None:
        """Ends the watches under way; calls fail with KubeUnavailable."""
        self._closed = True
        for writer in self._open:
            writer.transport.abort()

    async def _call(self, call: str, **arguments: object) -> Any:
        try:
            async with asyncio.timeout(DEADLINE_S), self._connection({"call": call, **arguments}) as reader:
                answer = await self._line(reader)
        except TimeoutError as exc:
            raise KubeUnavailable(f"{self._path} did not answer within {DEADLINE_S:g} s") from exc
        if answer is None:
            raise KubeUnavailable(f"{self._path} closed the connection: is `forebay up` stopping?")
        return answer["result"]

    @asynccontextmanager
    async def _connection(self, request: Request) -> AsyncIterator[asyncio.StreamReader]:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_LIMIT)
        except OSError as exc:
            hint = f"start one with `forebay up -f FILES --state {self._path.parent}`"
            raise KubeUnavailable(f"no `forebay up` answers at {self._path} ({exc.strerror}): {hint}") from exc
        self._open.add(writer)
        if self._closed:  # while it connected
            writer.transport.abort()
        try:
            with suppress(ConnectionError):  # what it said before it hung up can still be read
                await send(writer, request)
            yield reader
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _line(self, reader: asyncio.StreamReader) -> Any:
        """One answer; None at the end. Raises what the other side raised."""
        try:
            line = await reader.readline()
        except ConnectionError:
            return None
        if not line.endswith(b"\n"):
            return None
        answer = json.loads(line)
        if "error" in answer:
            raise ERRORS.get(answer["error"], KubeError)(answer["message"])
        return answer


def kind_field(kind: Kind) -> tuple[str, str]:
    return kind.api_version, kind.kind


def key_fields(key: Key) -> dict[str, object]:
    return {"kind": kind_field(key.kind), "namespace": key.namespace, "name": key.name}
