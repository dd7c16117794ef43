"""Reads from another member over a shaped link, against iperf3 on the same link.

Two network namespaces, joined by a veth pair of 2 and of 5 Gbit/s (bench/rig/link.py). In one, a member that owns every
chunk and has it in its store and page cache; in the other, a member with an empty store, which keeps nothing of another's
chunks, so that each of its reads is cold. All bytes are held against their checksums as they arrive.

large  8 objects of 64 MiB, 8 readers           goal 0.85 of iperf3 with 8 streams
small  3,000 objects of 100 KB, 32 readers      for orientation

CPU is of the processes; what the kernel does in softirqs for a packet is in neither side's. "send" is the side that has the
bytes.

  --only large|small     --rounds N (default 9)
"""

import asyncio
import contextlib
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.harness import Cpu, Measure, Sample, rounds, run
from bench.rig.link import End, link, missing
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.contract.config import DirectorySource
from forebay_cache.origin.folder import FolderOrigin

SEED = 20260101
LARGE, SMALL = (8, 64 << 20), (3000, 100_000)
LARGE_READERS, SMALL_READERS = 8, 32
GIGABITS = (2, 5)
IPERF_PORT = 5201


def main(arguments: list[str]) -> int:
    if reason := missing() or ("" if shutil.which("iperf3") else "not installed: iperf3"):
        raise SystemExit(reason)
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forebay-peers-", dir="/var/tmp")))
        asyncio.run(prepare(work))
        measures = []
        for gigabits in GIGABITS:
            side = stack.enter_context(two_members(work / str(gigabits), work, gigabits * 1e9))
            large = side.measure(f"peers.large.{gigabits}g", "large", LARGE_READERS, 0.85)
            small = side.measure(f"peers.small.{gigabits}g", "small", SMALL_READERS, None)
            measures += [large, small]
        return run("peers", [one for one in measures if only in one.name], rounds(arguments))


async def prepare(work: pathlib.Path) -> None:
    """Random bytes, the same in every run, and a commit of them."""
    generator = random.Random(SEED)
    for kind, (count, size) in {"large": LARGE, "small": SMALL}.items():
        (work / "origin" / kind).mkdir(parents=True)
        for number in range(count):
            (work / "origin" / kind / f"{number:05}.bin").write_bytes(generator.randbytes(size))
    origin = FolderOrigin(DirectorySource(path=str(work / "origin")))
    mapping = Mapping(b"", b"", origin, b"bench")
    report = await run_sync(CatalogFiles(str(work / "catalog")), [mapping], None, 0, lambda *_: None)
    (work / "head").write_text(report.id)
    await origin.aclose()


@dataclass(frozen=True, slots=True)
class Pair:
    """Both members, running, and the link between them."""

    owner: End
    asker: End
    owner_pid: int
    process: "subprocess.Popen[str]"

    def measure(self, name: str, kind: str, readers: int, goal: float | None) -> Measure:
        def ours() -> Sample:
            return self.read(kind, readers)

        return Measure(name, "MB/s", ours, self.iperf3(readers), goal=goal, rival_name="iperf3")

    def read(self, kind: str, readers: int) -> Sample:
        cpus = Cpu([self.owner_pid]), Cpu([self.process.pid])
        assert self.process.stdin
        assert self.process.stdout
        print(f"{kind}/ {readers}", file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the member that asks has ended")
        done = json.loads(line)
        size = done["bytes"]
        shown = {
            "s send CPU/GB": cpus[0].processes_s() / size * 1e9,
            "s receive CPU/GB": cpus[1].processes_s() / size * 1e9,
            "s machine CPU/GB": cpus[0].machine_s() / size * 1e9,
        }
        return Sample(size / done["seconds"] / 1e6, shown)

    def iperf3(self, streams: int) -> Callable[[], Sample]:
        """As many bytes as the large objects have, in the same direction."""

        def side() -> Sample:
            size, cpu = LARGE[0] * LARGE[1], Cpu()
            server = [*self.asker.enter, "iperf3", "-s", "-p", str(IPERF_PORT)]
            client = [*self.owner.enter, "iperf3", "-c", self.asker.address, "-p", str(IPERF_PORT), "-J"]
            with subprocess.Popen(server, stdout=subprocess.DEVNULL) as receiver:
                try:
                    end = _until_done([*client, "-n", str(size), "-P", str(streams)])
                finally:
                    receiver.kill()
            got, used = end["sum_received"], end["cpu_utilization_percent"]
            seconds_per_gb = got["seconds"] / got["bytes"] * 1e9 / 100
            shown = {
                "s send CPU/GB": used["host_total"] * seconds_per_gb,
                "s receive CPU/GB": used["remote_total"] * seconds_per_gb,
                "s machine CPU/GB": cpu.machine_s() / got["bytes"] * 1e9,
            }
            return Sample(got["bits_per_second"] / 8e6, shown)

        return side


def _until_done(command: list[str]) -> dict[str, Any]:
    """What iperf3 says at its end; it is tried again while the other side does not listen, or lost count."""
    for _ in range(50):
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        end: dict[str, Any] = {} if done.returncode else json.loads(done.stdout)["end"]
        if "sum_received" in end:
            return end
        time.sleep(0.1)
    raise SystemExit(f"iperf3: {done.stdout[-500:]}")


@contextlib.contextmanager
def two_members(folder: pathlib.Path, work: pathlib.Path, bits_per_s: float) -> Iterator[Pair]:
    folder.mkdir()
    for name in ("origin", "catalog", "head"):
        (folder / name).symlink_to(work / name)
    with (
        link(bits_per_s) as (here, there),
        member("owner", here, here, folder) as owner,
        member("asker", there, here, folder) as asker,
    ):
        yield Pair(here, there, owner.pid, asker)


@contextlib.contextmanager
def member(role: str, end: End, owner: End, folder: pathlib.Path) -> Iterator["subprocess.Popen[str]"]:
    command = [*end.enter, sys.executable, "-m", "bench.servers.peer", role, str(folder), owner.address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the {role} did not start")
        yield process
    finally:
        process.kill()
        process.communicate()
