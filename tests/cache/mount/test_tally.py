import os

from forebay_cache.mount import tally as tallies
from forebay_cache.mount.tally import Tally, new_tally_file, summed


def test_both_sides_see_the_same_numbers() -> None:
    fd = new_tally_file()
    ours, theirs = Tally(fd), Tally(os.dup(fd))
    ours.note(tallies.HIT, 4096, 50_000)
    ours.note(tallies.EXPIRED, 0, 20_000_000_000)
    totals = theirs.totals()
    assert totals.results == [1, 0, 0, 0, 1, 0]
    assert totals.bytes == 4096
    assert totals.seconds == 20.00005
    assert totals.buckets[0] == 1
    assert sum(totals.buckets) == 2
    both = summed([totals, totals])
    assert (both.results[0], both.bytes, sum(both.buckets)) == (2, 8192, 4)
    os.close(fd)
