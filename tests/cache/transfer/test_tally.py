"""A tally knows what is due, and takes nothing else."""

import pytest
from tests.rigs.peers import ask

from forebay_cache.model.errors import MemberBadFrame
from forebay_cache.transfer.base import Absent
from forebay_cache.transfer.tally import Tally


def test_an_ask_is_done_when_every_span_is() -> None:
    tally = Tally(ask((0, 0, 8192), (1, 4096, 8192)))
    tally.came(0, 0, 4096)
    tally.ended(Absent(1))
    assert tally.open == [0]
    tally.came(0, 4096, 8192)
    assert tally.done


@pytest.mark.parametrize("place", [(1, 0, 4096), (0, 0, 4096), (0, 8192, 12288), (0, 4096, 16384), (0, 4096, 4096)])
def test_other_bytes_than_the_next_are_not_taken(place: tuple[int, int, int]) -> None:
    tally = Tally(ask((0, 0, 12288)))
    tally.came(0, 0, 4096)
    with pytest.raises(MemberBadFrame):
        tally.came(*place)


def test_a_span_ends_once() -> None:
    tally = Tally(ask((0, 0, 4096)))
    tally.ended(Absent(0))
    with pytest.raises(MemberBadFrame):
        tally.ended(Absent(0))
