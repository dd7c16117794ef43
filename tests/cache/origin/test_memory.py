"""The faults, versions and counters that other tests rely on."""

from contextlib import aclosing

import pytest

from forebay_cache.model.errors import OriginBadAnswer, OriginChanged, OriginMissing, OriginThrottled
from forebay_cache.origin.base import Match
from forebay_cache.origin.memory import Call, Clock, Fault, MemoryOrigin


async def received(origin: MemoryOrigin, key: bytes, start: int, stop: int, match: Match = Match()) -> list[bytes]:
    async with aclosing(await origin.read(key, start, stop, match)) as body:
        return [bytes(buffer) async for buffer in body]


class Sleeper:
    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_calls_and_bytes_are_counted() -> None:
    origin = MemoryOrigin({b"a": b"12345", b"b/c": b"6"})
    await received(origin, b"a", 1, 4)
    await origin.head(b"a")
    await origin.prefixes(b"")
    [page async for page in origin.list(b"")]
    assert origin.counts == {"read": 1, "head": 1, "prefixes": 1, "list": 1}
    assert origin.bytes_sent == 3
    assert origin.calls[0] == Call("read", b"a", 1, 4)
    assert origin.bodies_open == 0


async def test_an_open_body_is_counted_until_it_is_closed() -> None:
    origin = MemoryOrigin({b"a": b"1"})
    body = await origin.read(b"a", 0, 1)
    assert origin.bodies_open == 1
    await body.aclose()
    await body.aclose()
    assert origin.bodies_open == 0


async def test_a_fault_strikes_the_calls_it_is_meant_for() -> None:
    origin = MemoryOrigin({b"a": b"12345"})
    origin.fault = lambda call: Fault(error=OriginThrottled("slow down")) if call.kind == "read" else None
    with pytest.raises(OriginThrottled):
        await received(origin, b"a", 0, 5)
    assert (await origin.head(b"a")).object.size == 5
    origin.fault = lambda _: None
    assert await received(origin, b"a", 0, 5) == [b"12345"]


async def test_a_truncated_body_ends_early_and_says_so() -> None:
    origin = MemoryOrigin({b"a": b"12345"})
    origin.fault = lambda _: Fault(truncate=3)
    async with aclosing(await origin.read(b"a", 0, 5)) as body:
        buffers = aiter(body)
        assert bytes(await anext(buffers)) == b"123"
        with pytest.raises(OriginBadAnswer):
            await anext(buffers)


async def test_another_etag_is_a_changed_object() -> None:
    origin = MemoryOrigin({b"a": b"12345"})
    match = Match((await origin.head(b"a")).object.etag)
    origin.fault = lambda _: Fault(etag="another")
    with pytest.raises(OriginChanged):
        await origin.read(b"a", 0, 5, match)


async def test_latency_and_drips_are_slept_by_the_given_sleep() -> None:
    sleeper = Sleeper()
    origin = MemoryOrigin({b"a": b"12345"}, clock=Clock(latency_s=0.04, sleep=sleeper))
    origin.fault = lambda _: Fault(latency_s=1.0, drip=2, drip_s=0.5)
    assert await received(origin, b"a", 0, 5) == [b"12", b"34", b"5"]
    assert sleeper.slept == [1.04, 0.5, 0.5, 0.5]


async def test_versions_stay_behind_a_deletion() -> None:
    origin = MemoryOrigin(versioned=True, clock=Clock(now_ms=iter([1000, 2000]).__next__))
    old = origin.put(b"a", b"old")
    new = origin.put(b"a", b"new!")
    origin.delete(b"a")
    assert (old.version, old.mtime_ms, new.version, new.mtime_ms) == ("v1", 1000, "v2", 2000)
    assert await received(origin, b"a", 0, 3, Match(version="v1")) == [b"old"]
    with pytest.raises(OriginMissing):
        await origin.head(b"a")
    with pytest.raises(OriginMissing):
        await origin.head(b"a", Match(version="v3"))
