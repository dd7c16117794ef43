from collections.abc import Sequence
from dataclasses import dataclass

from forebay_cache.catalog.base import Part
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, SegmentId, round_up
from forebay_cache.read.jobs import jobs, narrow

SEGMENT = SegmentId(b"s" * 32)


@dataclass(frozen=True)
class Table:
    """A parts table of objects with these sizes, packed end to end."""

    sizes: tuple[int, ...]
    segment: SegmentId = SEGMENT
    origin: str = "memory"

    def __len__(self) -> int:
        return len(self.sizes)

    def part(self, index: int) -> Part:
        offset = sum(round_up(size, 4096) for size in self.sizes[:index])
        return Part(index, offset, self.sizes[index], b"k%d" % index, f"e{index}", None)

    @property
    def size(self) -> int:
        return sum(round_up(size, 4096) for size in self.sizes)

    def within(self, start: int, stop: int) -> Sequence[Part]:
        every = [self.part(index) for index in range(len(self.sizes))]
        return [p for p in every if p.offset < stop and p.offset + round_up(p.size, 4096) > start]

    def at(self, offset: int) -> Part:
        return self.within(offset, offset + 1)[0]


def test_a_packed_file_is_one_get_of_the_whole_object() -> None:
    (job,) = jobs(Table((100, 5000, 100)), ChunkId(SEGMENT, 0), 5000, 5001)
    assert (job.part.index, job.first, job.last, job.start, job.stop) == (1, 0, 5000, 4096, 12288)


def test_a_large_object_is_one_get_a_slice() -> None:
    table = Table((2 * CHUNK_SIZE + 5,))
    (middle,) = jobs(table, ChunkId(SEGMENT, 1), 77, 78)
    assert (middle.first, middle.last, middle.start, middle.stop) == (CHUNK_SIZE, 2 * CHUNK_SIZE, 0, CHUNK_SIZE)
    (last,) = jobs(table, ChunkId(SEGMENT, 2), 0, 5)
    assert (last.first, last.last, last.start, last.stop) == (2 * CHUNK_SIZE, 2 * CHUNK_SIZE + 5, 0, 4096)


def test_a_narrowed_job_is_the_blocks_that_are_needed() -> None:
    (job,) = jobs(Table((CHUNK_SIZE + 100,)), ChunkId(SEGMENT, 0), 5000, 9000)
    small = narrow(job, 5000, 9000)
    assert (small.first, small.last, small.start, small.stop) == (4096, 12288, 4096, 12288)
    (tail,) = jobs(Table((5000,)), ChunkId(SEGMENT, 0), 4500, 4600)
    assert (narrow(tail, 4500, 4600).first, narrow(tail, 4500, 4600).last) == (4096, 5000)


class Gapped(Table):
    """As a packer leaves it: a second object that would straddle two chunks begins with the second."""

    def part(self, index: int) -> Part:
        return Part(index, (0, CHUNK_SIZE)[index], self.sizes[index], b"k%d" % index, "e", None)

    @property
    def size(self) -> int:
        return CHUNK_SIZE + round_up(self.sizes[1], 4096)

    def within(self, start: int, stop: int) -> Sequence[Part]:
        return [
            self.part(index)
            for index in (0, 1)
            if (0, CHUNK_SIZE)[index] < stop and start < (CHUNK_SIZE, self.size)[index]
        ]


def test_the_zeros_at_a_chunks_end_belong_to_its_last_job() -> None:
    table = Gapped((5000, 100))
    (first,) = jobs(table, ChunkId(SEGMENT, 0), 0, 10)
    assert (first.first, first.last, first.start, first.stop) == (0, 5000, 0, CHUNK_SIZE)
    (second,) = jobs(table, ChunkId(SEGMENT, 1), 0, 10)
    assert (second.first, second.last, second.start, second.stop) == (0, 100, 0, 4096)


def test_zeros_alone_ask_for_nothing() -> None:
    (job,) = jobs(Gapped((5000, 100)), ChunkId(SEGMENT, 0), 20000, 30000)
    zeros = narrow(job, 20000, 30000)
    assert (zeros.first, zeros.last, zeros.start, zeros.stop) == (5000, 5000, 16384, 32768)
