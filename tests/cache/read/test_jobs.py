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
