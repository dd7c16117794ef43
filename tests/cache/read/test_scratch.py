"""A chunk in memory knows what it has, as a store's fill does."""

import itertools
import os
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE
from forebay_cache.read.scratch import ScratchFill

BLOCKS = CHUNK_SIZE // BLOCK_SIZE
ranges = st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 40)).map(lambda r: (r[0], min(BLOCKS, r[0] + r[1])))


@given(st.lists(ranges, max_size=8), ranges)
def test_what_is_missing_is_what_was_not_written(written: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    with closing(ScratchFill("test")) as fill:
        for first, last in written:
            fill.write(first * BLOCK_SIZE, bytes((last - first) * BLOCK_SIZE))
        here = {block for first, last in written for block in range(first, last)}
        runs = fill.missing(asked[0] * BLOCK_SIZE, asked[1] * BLOCK_SIZE)
    absent = [block for block in range(*asked) if block not in here]
    assert [b for start, stop in runs for b in range(start // BLOCK_SIZE, stop // BLOCK_SIZE)] == absent
    assert all(a[1] < b[0] for a, b in itertools.pairwise(runs)), "whole runs, in order"


def test_a_lease_outlives_the_fill() -> None:
    fill = ScratchFill("test")
    fill.write(BLOCK_SIZE, b"x" * BLOCK_SIZE)
    with closing(fill.lease()) as lease:
        fill.close()
        assert os.pread(lease.fd, BLOCK_SIZE, BLOCK_SIZE) == b"x" * BLOCK_SIZE
