"""Readers never see a wrong byte, and never wait for ever, whatever goes wrong. `make soak` is the long version."""

import contextlib
import os
import pathlib
import random
import tempfile
import time

import pytest
from tests.rigs.bucket import bucket
from tests.rigs.soak import CAPACITY, LATE_S, Readers, all_right, anonymous_kib, mounted, scene, soak

from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits

READS = int(os.environ.get("SOAK_READS", "4000"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1 << 30)))
READERS = 4
QUIET_READS = 1500
"""With nothing wrong, twice: what memory grows by between them is a leak."""
GROWTH_KIB = 12 << 10
MOST_KIB = 300 << 10


@pytest.mark.timeout(150 + READS // 20)
def test_no_wrong_byte_and_no_endless_read_whatever_goes_wrong() -> None:
    print(f"SOAK_SEED={SEED} SOAK_READS={READS}")
    with contextlib.ExitStack() as stack:
        root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp")))
        house = stack.enter_context(scene(root, stack.enter_context(bucket())))
        readers = Readers(house, READERS, SEED, stack.enter_context(mounted(house)))
        try:
            soak(house, readers, READS, SEED)
            grown, used = quiet(house.member.pid, readers)
        finally:
            readers.end()
        counts = readers.counts
        print(
            f"reads {dict(counts)}\nfaults {dict(house.faults)}\nlongest {readers.longest_s:.1f} s, anonymous {used} KiB"
        )
        assert readers.wrong == []
        assert readers.longest_s < LATE_S
        assert grown < GROWTH_KIB
        assert used < MOST_KIB
        assert counts.total() > counts["right"], "nothing went wrong, so nothing was shown"
        all_right(house)
        assert house.member.stop() == 0
        said = [record for record in house.member.told() if record["level"] in ("error", "critical")]
        assert said == []
        check(str(house.store))


def quiet(pid: int, readers: Readers) -> tuple[int, int]:
    """-> (by how much anonymous memory grew over QUIET_READS, what it is)."""
    sizes = []
    for _ in range(2):
        goal = readers.counts["right"] + QUIET_READS
        while readers.counts["right"] < goal:
            assert readers.alive()
            time.sleep(0.05)
        sizes.append(anonymous_kib(pid))
    return sizes[1] - sizes[0], sizes[1]


def check(path: str) -> None:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    store = DiskStore.open(path, Limits(CAPACITY), cluster_uid="11111111-1111-1111-1111-111111111111", boot_id=boot)
    with contextlib.closing(store):
        assert store.check() == []
