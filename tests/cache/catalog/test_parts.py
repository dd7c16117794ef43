"""Parts tables: written once, then looked up."""

import hashlib
import random

import pytest

from forebay_cache.catalog.base import Part
from forebay_cache.catalog.parts import Draft, PartsTable
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE, SegmentId


def table(parts: list[Part], origin: str = "memory ü", salt: bytes = b"odd") -> PartsTable:
    draft = Draft(origin, salt)
    for part in parts:
        draft.add(part.offset, part.size, part.key, part.etag, part.version)
    segment, data = draft.encode()
    assert segment == hashlib.sha256(data).digest()
    return PartsTable(segment, data)


def parts(seed: int, count: int) -> list[Part]:
    print("seed", seed)
    source, found, at = random.Random(seed), [], 0
    for index in range(count):
        size = source.randrange(1, 3 * BLOCK_SIZE)
        key, version = source.randbytes(source.randrange(1, 40)), source.choice([None, "v-1"])
        found.append(Part(index, at, size, key, source.choice(["", "é", "a" * 32]), version))
        at += -(-size // BLOCK_SIZE) * BLOCK_SIZE + source.choice([0, 0, 5 * BLOCK_SIZE])
    return found


@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_what_went_in_comes_out(count: int) -> None:
    want = parts(count, count)
    found = table(want)
    assert (len(found), found.origin) == (count, "memory ü")
    assert [found.part(index) for index in range(count)] == want
    assert found.size == -(-(want[-1].offset + want[-1].size) // BLOCK_SIZE) * BLOCK_SIZE


def test_at_finds_the_part_whose_bytes_or_padding_it_is() -> None:
    want = parts(3, 200)
    found = table(want)
    for part, following in zip(want, [*want[1:], None], strict=True):
        end = following.offset if following else found.size
        assert {found.at(offset).index for offset in (part.offset, part.offset + part.size - 1, end - 1)} == {
            part.index
        }


def test_within_is_every_part_that_begins_before_the_stop_and_ends_behind_the_start() -> None:
    want = parts(4, 60)
    found, source = table(want), random.Random(4)
    ends = [part.offset for part in want[1:]] + [found.size]
    for _ in range(500):
        start = source.randrange(found.size)
        stop = source.randrange(start + 1, found.size + 1)
        model = [part for part, end in zip(want, ends, strict=True) if part.offset < stop and end > start]
        assert list(found.within(start, stop)) == model


@pytest.mark.parametrize("data", [b"", b"short", b"notparts" + bytes(200)])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(CatalogCorrupt):
        PartsTable(SegmentId(bytes(32)), data)
