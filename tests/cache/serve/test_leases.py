import os
from pathlib import Path

import pytest

from forebay_cache.model.ids import ChunkId, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.serve.leases import IDLE_SWEEPS, Pins


def chunk(number: int) -> ChunkId:
    return ChunkId(SegmentId(bytes(32)), number)


@pytest.fixture
def reader(member):
    for number in range(10):
        member.reader.path(chunk(number)).write_bytes(b"x" * 100)
    return member.reader


def test_a_chunk_is_kept_and_shared(reader) -> None:
    pins = Pins(reader, 4)
    first, second = pins.take(Span(chunk(0), 0, 5)), pins.take(Span(chunk(0), 5, 9))
    assert first is second
    assert (len(pins), len(reader.leases), first.users) == (1, 1, 2)
    first.release()
    second.release()
    assert len(reader.leases) == 1
    pins.close()
    assert not reader.leases


def test_a_miss_is_none(reader) -> None:
    assert Pins(reader, 4).take(Span(chunk(99), 0, 5)) is None


def test_never_more_than_the_limit(reader) -> None:
    pins = Pins(reader, 3)
    for number in range(10):
        pins.take(Span(chunk(number), 0, 5)).release()
        assert len(reader.leases) <= 3
    pins.close()
    assert not reader.leases


def test_a_dropped_pin_lives_until_its_last_user_left(reader) -> None:
    pins = Pins(reader, 4)
    pin = pins.take(Span(chunk(0), 0, 5))
    pins.drop(chunk(0))
    assert pin.dropped
    assert os.pread(pin.fd, 1, 0) == b"x"
    pin.release()
    assert not reader.leases


def test_a_chunk_that_was_filled_anew_is_another_file(reader) -> None:
    """The old file of an evicted partial chunk may lack what the new one has: its bytes would be zeros."""
    pins, path = Pins(reader, 4), reader.path(chunk(0))
    old = pins.take(Span(chunk(0), 0, 5))
    os.unlink(path)
    path.write_bytes(b"new bytes")
    new = pins.take(Span(chunk(0), 5, 9))
    assert new is not old
    assert old.dropped
    assert os.pread(new.fd, 4, 5) == b"ytes"
    old.release()
    new.release()
    pins.close()
    assert not reader.leases


def test_a_chunk_that_is_being_filled_is_asked_for_again(reader) -> None:
    pins = Pins(reader, 4)
    pins.take(Span(chunk(0), 0, 5)).release()
    with open(reader.path(chunk(0)), "ab") as file:
        file.write(b"more")
    pins.sweep()
    assert len(pins) == 0


@pytest.mark.parametrize("what", ["unlink", "rename"])
def test_an_evicted_or_quarantined_chunk_is_given_up_at_the_next_sweep(reader, tmp_path: Path, what: str) -> None:
    pins = Pins(reader, 4)
    pins.take(Span(chunk(0), 0, 5)).release()
    pins.sweep()
    assert len(pins) == 1
    os.unlink(reader.path(chunk(0))) if what == "unlink" else os.rename(reader.path(chunk(0)), tmp_path / "bad")
    pins.sweep()
    assert len(pins) == 0
    assert not reader.leases


def test_an_idle_pin_is_given_up(reader) -> None:
    pins = Pins(reader, 4)
    pin = pins.take(Span(chunk(0), 0, 5))
    pin.release()
    for _ in range(IDLE_SWEEPS):
        pins.sweep()
    pin.use(5)
    pin.release()
    for _ in range(IDLE_SWEEPS):
        pins.sweep()
    assert len(pins) == 1
    pins.sweep()
    assert not reader.leases


def test_accesses_are_reported_once(reader) -> None:
    pins, told = Pins(reader, 4), []
    pin = pins.take(Span(chunk(0), 0, 5))
    pin.use(7)
    pin.use(3)
    for _ in range(2):
        pins.report(lambda *access: told.append(access))
    assert told == [(chunk(0), 2, 10)]
    for _ in range(3):
        pin.release()
    pins.close()
