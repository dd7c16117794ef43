import pytest

from forebay_cache.catalog.base import Part
from forebay_cache.model.errors import PartGone
from forebay_cache.model.ids import SegmentId
from forebay_cache.read import gone
from forebay_cache.read.jobs import Job


def job(index: int) -> Job:
    return Job(SegmentId(bytes(32)), "origin", Part(index, 0, 10, b"k", "e", None), 0, 10, 0, 4096)


def test_a_gone_part_is_remembered_for_a_moment() -> None:
    clock = [0.0]
    parts = gone.GoneParts(lambda: clock[0])
    parts.note(job(1), PartGone("object 'k' is gone"))
    parts.check(job(2))
    with pytest.raises(PartGone, match="'k' is gone"):
        parts.check(job(1))
    clock[0] = gone.REMEMBER_S
    parts.check(job(1))


def test_memory_of_gone_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gone, "LIMIT", 2)
    parts = gone.GoneParts(lambda: 0.0)
    for index in range(3):
        parts.note(job(index), PartGone("gone"))
    parts.check(job(0))
    with pytest.raises(PartGone):
        parts.check(job(2))
