"""Listings: any split, any interruption, any number of sources gives the same stream."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from forebay_cache.catalog import sources
from forebay_cache.catalog.checkpoint import Checkpoint, NoCheckpoint, Page, Range, open_checkpoint
from forebay_cache.catalog.sources import Mapping, listed, ranges
from forebay_cache.model.errors import BadInput, OriginBadAnswer, OriginUnavailable
from forebay_cache.origin import memory
from forebay_cache.origin.base import OriginObject
from forebay_cache.origin.memory import Call, Fault, MemoryOrigin


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PAGE", 7)
    monkeypatch.setattr(sources, "FIRST_PAGES", 2)


def keys(seed: int, count: int = 400) -> list[bytes]:
    print("seed", seed)
    source = random.Random(seed)
    letters = [b"a", b"b", b"c", b"/", b"/", b"-", b"\xff", "ü".encode()]
    return sorted({b"".join(source.choices(letters, k=source.randrange(1, 9))) for _ in range(count)})


def whole(origin: MemoryOrigin, path: bytes = b"", prefix: bytes = b"") -> Mapping:
    return Mapping(path, prefix, origin, b"")


async def paths(mappings: Sequence[Mapping], checkpoint: Checkpoint | None = None) -> list[bytes]:
    return [path for path, _, _ in await rows(mappings, checkpoint)]


async def rows(
    mappings: Sequence[Mapping], checkpoint: Checkpoint | None = None
) -> list[tuple[bytes, OriginObject, Mapping]]:
    return [
        (path, found, one.mapping)
        async for one in listed(mappings, checkpoint or NoCheckpoint())
        for path, found in one.rows
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_a_split_listing_is_the_listing(seed: int) -> None:
    names = keys(seed)
    origin = MemoryOrigin(dict.fromkeys(names, b""))
    assert await paths([whole(origin)]) == names
    assert origin.counts["prefixes"] > 0
    for prefix in (b"a", b"a/", b"b", b"nothing"):
        assert await paths([whole(origin, b"x/", prefix)]) == [
            b"x/" + name.removeprefix(prefix) for name in names if name.startswith(prefix)
        ]


async def test_a_short_listing_is_not_split() -> None:
    origin = MemoryOrigin({b"d%02d/x" % n: b"" for n in range(7)})
    assert len(await paths([whole(origin)])) == 7
    assert dict(origin.counts) == {"list": 1}


async def test_a_long_listing_costs_few_requests_more_than_its_pages() -> None:
    origin = MemoryOrigin({b"train/%02d/%04d" % (n % 50, n): b"" for n in range(2100)})
    assert len(await paths([whole(origin)])) == 2100
    assert origin.counts["list"] <= 300 + 2 * sources.RANGES
    assert origin.counts["prefixes"] <= sources.SPLITS


async def test_the_objects_own_prefix_is_no_path() -> None:
    origin = MemoryOrigin({b"p/": b"", b"p/x": b""})
    assert await paths([whole(origin, b"", b"p/")]) == [b"x"]
    assert await paths([whole(origin, b"q/", b"p/")]) == [b"q/", b"q/x"]


@pytest.mark.parametrize("seed", range(10))
def test_ranges_leave_no_gap_and_no_overlap(seed: int) -> None:
    names, source = keys(seed), random.Random(seed)
    first = Range(last=source.choice(names))
    cuts = sorted(source.sample(names, source.choice([0, 1, 5, 200])))
    found = ranges(first, cuts)
    assert len(found) <= sources.RANGES + 2
    inside = [name for one in found for name in names if name > one.after and (not one.last or name <= one.last)]
    assert inside == names


@pytest.mark.parametrize("seed", range(8))
async def test_several_sources_are_one_namespace_and_the_first_named_wins(seed: int) -> None:
    mappings = [
        whole(MemoryOrigin(dict.fromkeys(keys(seed, 150), b"1"), identity="one")),
        whole(MemoryOrigin(dict.fromkeys(keys(seed + 50, 150), b"2"), identity="two")),
        whole(MemoryOrigin(dict.fromkeys(keys(seed + 90, 50), b"3"), identity="three"), b"a/"),
    ]
    want: dict[bytes, str] = {}
    for mapping in reversed(mappings):
        for name in await paths([mapping]):
            want[name] = mapping.origin.identity
    found = await rows(mappings)
    assert [path for path, _, _ in found] == sorted(want)
    assert {path: mapping.origin.identity for path, _, mapping in found} == want


async def test_an_empty_source_beside_a_full_one() -> None:
    assert await paths([whole(MemoryOrigin()), whole(MemoryOrigin({b"x": b""})), whole(MemoryOrigin())]) == [b"x"]
    assert await paths([]) == []


@pytest.mark.parametrize("seed", range(6))
async def test_an_interrupted_listing_goes_on_where_it_was(tmp_path: Path, seed: int) -> None:
    names = keys(seed)
    origin, source = MemoryOrigin(dict.fromkeys(names, b"")), random.Random(seed)
    runs, got = 0, []
    while got != names and runs < 200:
        checkpoint, stop = open_checkpoint(str(tmp_path), ["s"], 0), source.randrange(1, 20 + 100 * runs)
        async with aclosing(listed([whole(origin)], checkpoint)) as found:
            runs, got = runs + 1, []
            async for one in found:
                got += [path for path, _ in one.rows]
                stop -= 1
                if not stop:
                    break
        checkpoint.close()
        assert got == names[: len(got)]
    assert got == names
    assert runs > 1
    checkpoint = open_checkpoint(str(tmp_path), ["s"], 0)
    origin.counts.clear()
    assert await paths([whole(origin)], checkpoint) == names
    assert origin.counts["list"] <= sources.FIRST_PAGES + 1, "all but the first pages come from the checkpoint"
    checkpoint.close()


async def test_an_origins_error_ends_the_listing_wherever_it_comes() -> None:
    names = keys(1)
    origin = MemoryOrigin(dict.fromkeys(names, b""))
    await paths([whole(origin)])
    total = origin.counts["list"] + origin.counts["prefixes"]
    for nth in range(1, total + 1, 5):
        origin.counts.clear()

        def fault(_: Call, nth: int = nth) -> Fault | None:
            down = sum(origin.counts.values()) >= nth
            return Fault(error=OriginUnavailable("memory: it does not answer")) if down else None

        origin.fault = fault
        with pytest.raises(OriginUnavailable):
            await paths([whole(origin)])


class Unsorted(MemoryOrigin):
    async def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[Page]:
        yield [OriginObject(key, 1, 1, "e") for key in (b"b", b"a")]


async def test_a_listing_that_is_not_sorted_is_refused() -> None:
    with pytest.raises(OriginBadAnswer, match="not sorted"):
        await paths([whole(Unsorted())])


async def test_a_path_beyond_the_limit_is_refused_by_name() -> None:
    origin = MemoryOrigin({b"a/" + b"x" * 4095: b""})
    with pytest.raises(BadInput, match="4097 bytes"):
        await paths([whole(origin)])
