"""Which segments are merged: by the rule, and by what it does over long histories."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay_cache.catalog.tiers import GROWTH, SMALL, Weight, chosen
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, PACKED_SEGMENT_LIMIT, SegmentId

MIB = 1 << 20


def weights(*sizes: int | tuple[int, int]) -> list[Weight]:
    """Of (size, live), or of what is all alive."""
    pairs = [one if isinstance(one, tuple) else (one, one) for one in sizes]
    return [Weight(SegmentId(bytes([n]) * 32), size, live) for n, (size, live) in enumerate(pairs)]


def rows(found: list[Weight]) -> list[int]:
    taken = chosen(found)
    return [n for n, one in enumerate(found) if one.segment in taken]


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([], []),
        ([4096], []),
        ([4096] * 3, []),
        ([4096] * 4, [0, 1, 2, 3]),
        ([4096] * 3 + [MIB], []),  # a big one is not moved for small ones
        ([4096] * 4 + [MIB], [0, 1, 2, 3]),
        ([MIB] * 3 + [4096] * 3, []),
        ([MIB] * 4 + [4096], [0, 1, 2, 3, 4]),  # what is smaller goes along
        ([SMALL] * 8, []),  # large enough
        ([SMALL - 4096] * 8, list(range(8))),
        ([(PACKED_SEGMENT_LIMIT, 128 * MIB + 4096)], []),  # more than half alive
        ([(PACKED_SEGMENT_LIMIT, 128 * MIB)], [0]),
        ([(16 * MIB, 8 * MIB)], [0]),
        ([(12 * MIB, 5 * MIB)], []),  # less than a chunk would be freed
        ([(PACKED_SEGMENT_LIMIT, 20 * MIB), 5 * MIB, 30 * MIB], [0, 1]),  # on the way
    ],
)
def test_the_rule(sizes: list[int | tuple[int, int]], taken: list[int]) -> None:
    assert rows(weights(*sizes)) == taken


@given(st.lists(st.tuples(st.integers(1, 1 << 16), st.integers(1, 1 << 16)), max_size=60))
def test_every_small_one_that_moves_ends_in_much_more(pairs: list[tuple[int, int]]) -> None:
    found = weights(*((max(pair) * BLOCK_SIZE, min(pair) * BLOCK_SIZE) for pair in pairs))
    taken = chosen(found)
    moved = sum(one.live for one in found if one.segment in taken)
    for one in found:
        if one.segment in taken:
            assert one.dying or moved >= GROWTH * one.live
        elif one.small:
            assert not one.dying
    assert chosen([one for one in found if one.segment in taken]) == taken, "it does not depend on what stays"


class History:
    """Segments of a Dataset as syncs add to it and delete from it, each byte with the times it was moved."""

    def __init__(self, seed: int) -> None:
        print("seed", seed)
        self.random = random.Random(seed)
        self.segments: list[list[tuple[int, int]]] = []  # (bytes, moves) of the files of each
        self.sizes: list[int] = []
        self.written = self.moved = self.worst = 0

    def add(self, size: int) -> None:
        self._pack([(size, 0)])
        self.written += size

    def delete(self, share: float) -> None:
        for files in self.segments:
            files[:] = [file for file in files if self.random.random() >= share]

    def sync(self) -> None:
        alive = [n for n, files in enumerate(self.segments) if files]
        self.segments, self.sizes = [self.segments[n] for n in alive], [self.sizes[n] for n in alive]
        found = [
            Weight(SegmentId(n.to_bytes(32, "big")), size, sum(size for size, _ in files))
            for n, (files, size) in enumerate(zip(self.segments, self.sizes, strict=True))
        ]
        taken = {int.from_bytes(segment, "big") for segment in chosen(found)}
        going = [(size, moves + 1) for n in taken for size, moves in self.segments[n]]
        self.segments = [files for n, files in enumerate(self.segments) if n not in taken]
        self.sizes = [size for n, size in enumerate(self.sizes) if n not in taken]
        self.moved += sum(size for size, _ in going)
        self.worst = max([self.worst, *(moves for _, moves in going)])
        self._pack(going)

    def _pack(self, files: list[tuple[int, int]]) -> None:
        while files:
            total, taken = 0, []
            while files and total + files[0][0] <= PACKED_SEGMENT_LIMIT:
                total += files[0][0]
                taken.append(files.pop(0))
            self.segments.append(taken)
            self.sizes.append(total)


@pytest.mark.parametrize(("file", "syncs"), [(4096, 3000), (100 << 10, 2000), (3 * MIB, 600)])
def test_a_dataset_that_grows_a_little_each_sync_has_few_segments_and_moves_each_byte_rarely(
    file: int, syncs: int
) -> None:
    history = History(1)
    most = 0
    for _ in range(syncs):
        history.add(file)
        history.sync()
        full = sum(size >= SMALL for size in history.sizes)
        most = max(most, len(history.sizes) - full)
        assert full <= history.written // SMALL
    tiers = math.log(SMALL / BLOCK_SIZE, GROWTH)
    assert most <= math.log(syncs) / math.log(4 / 3)
    assert history.worst <= tiers + 1
    assert history.moved <= (tiers + 1) * history.written


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30))
def test_what_is_moved_is_paid_for_by_what_came_and_went(seed: int) -> None:
    history = History(seed)
    for _ in range(120):
        for _ in range(history.random.randrange(4)):
            history.add(history.random.choice([4096, 40 << 10, MIB, 7 * MIB]))
        if history.random.random() < 0.3:
            history.delete(history.random.choice([0.01, 0.2, 0.6]))
        history.sync()
        small = sum(size < SMALL for size in history.sizes)
        assert small <= 3 + math.log(max(BLOCK_SIZE, history.written) / BLOCK_SIZE) / math.log(4 / 3)
        live = sum(size for files in history.segments for size, _ in files)
        assert sum(history.sizes) <= 2 * live + CHUNK_SIZE * len(history.sizes)
    assert history.moved <= 9 * history.written
