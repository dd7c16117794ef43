"""A mounted Dataset against the same files on native ext4: from the page cache, and cold from the store's chunk files.

The rival is the directory the origin serves, on the same disk, as mkfs.ext4 and the kernel set it up (its read-ahead stays
what the machine has). The reader is compiled (bench/mount_reader.c), for a Python one would hide the difference. The member
is a process of its own over real parts; the mount is made by the real agent code.

small   8,000 files of 100 KB, shuffled: open, read, close; 4 threads           goal 0.95
stat    the same files, 4 threads                                               goal 0.95
walk    readdir and stat of the whole tree                                      goal 0.95
seq     one file of 1 GiB, 1 MiB at a time, 1 thread                            goal 0.95
rand4   4 KiB anywhere in that file, 1 thread (rand128: 128 KiB)                goal 0.95
cold.small, cold.seq   the same, each byte once, no page of either side cached  goal 0.75

For the cold ones the pages of the tree that is read, and of the chunk files under it, are dropped before each run; names and
inodes stay known on both sides. "worker cpu us" is what answering costs beside the reader.

  --only NAME     --seconds S of a run from the page cache (default 0.5)     --workers N (default the agent's)     --rounds N
"""

import asyncio
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.harness import Cpu, Measure, Sample, rounds, run
from forebay_cache.contract.agent import AgentConfig
from forebay_cache.model.ids import CommitId
from forebay_cache.mount.mounts import Mounts, Wanted
from forebay_cache.mount.records import Records
from forebay_cache.mount.session import Serving
from forebay_cache.mount.support import missing_part

ROOT = pathlib.Path(__file__).parents[1]
SEED = 20260101
COUNT, SIZE, FOLDERS = 8_000, 100_000, 80
LARGE = 1 << 30
READ_AHEAD_KB: int = AgentConfig.model_fields["read_ahead_kb"].default
DEFAULT_WORKERS: int = AgentConfig.model_fields["workers"].default


@dataclass(frozen=True, slots=True)
class Tree:
    """One side: lists of its paths, and what must be dropped from the page cache to make it cold."""

    lists: dict[str, pathlib.Path]
    cold: pathlib.Path


@dataclass(frozen=True, slots=True)
class Reader:
    program: pathlib.Path
    seconds: float

    def run(self, mode: str, threads: int, paths: pathlib.Path, seconds: float) -> tuple[int, int, float]:
        """Operations, bytes, seconds. Raises SystemExit on a read that failed."""
        command = [str(self.program), mode, str(threads), str(seconds), str(paths)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        operations, size, nanoseconds, errors = map(int, done.stdout.split())
        if errors or not operations:
            raise SystemExit(f"{mode} on {paths}: {errors} of {operations} operations failed")
        return operations, size, nanoseconds / 1e9


def main(arguments: list[str]) -> int:
    if reason := missing_part():
        raise SystemExit(f"bench mount: {reason}")
    only = _option(arguments, "--only", "")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        reader = Reader(compile_reader(folder), float(_option(arguments, "--seconds", "0.5")))
        write_files(folder / "origin")
        mounted, pids = stack.enter_context(mount(folder, int(_option(arguments, "--workers", "") or DEFAULT_WORKERS)))
        compare(folder / "origin", mounted)
        ours = tree(folder, "forebay", mounted, chunk_files(folder / "member"))
        ext4 = tree(folder, "ext4", folder / "origin", [])
        measures = [*warm_measures(reader, ours, ext4), *cold_measures(reader, ours, ext4, pids)]
        chosen = [measure for measure in measures if only in ("", measure.name.removeprefix("mount."))]
        return run("mount", chosen, rounds(arguments))


def warm_measures(reader: Reader, ours: Tree, ext4: Tree) -> Iterator[Measure]:
    kinds = [("small", 4, "small"), ("stat", 4, "small"), ("walk", 1, "root")]
    kinds += [("seq", 1, "large"), ("rand4", 1, "large"), ("rand128", 1, "large")]
    for mode, threads, files in kinds:
        sides = [warm(reader, mode, threads, side.lists[files]) for side in (ours, ext4)]
        yield Measure(f"mount.{mode}", "1/s", sides[0], sides[1], goal=0.95, rival_name="ext4")


def cold_measures(reader: Reader, ours: Tree, ext4: Tree, pids: Sequence[int]) -> Iterator[Measure]:
    for name, mode, threads, files in [("small", "small", 4, "small"), ("seq", "seq", 1, "large")]:
        sides = [cold(reader, mode, threads, side, files, pids) for side in (ours, ext4)]
        yield Measure(f"mount.cold.{name}", "MB/s", sides[0], sides[1], goal=0.75, rival_name="ext4")


def warm(reader: Reader, mode: str, threads: int, paths: pathlib.Path) -> Callable[[], Sample]:
    first_pass = {"stat": "stat", "walk": "walk"}.get(mode, "seq")

    def side() -> Sample:
        reader.run(first_pass, threads, paths, 0)  # whatever the others have pushed out comes back
        operations, _, seconds = reader.run(mode, threads, paths, reader.seconds)
        return Sample(operations / seconds)

    return side


def cold(reader: Reader, mode: str, threads: int, side: Tree, files: str, pids: Sequence[int]) -> Callable[[], Sample]:
    def one() -> Sample:
        reader.run("evict", 1, side.cold, 0)
        cpu = Cpu(pids)
        operations, size, seconds = reader.run(mode, threads, side.lists[files], 0)
        shown = {"worker cpu us/operation": cpu.processes_s() / operations * 1e6}
        return Sample(size / seconds / 1e6, shown)

    return one


@contextlib.contextmanager
def work_folder() -> Iterator[pathlib.Path]:
    """On the disk that $FOREBAY_BENCH_DIR names, else /var/tmp: never a tmpfs, which has no cold pages."""
    folder = pathlib.Path(
        tempfile.mkdtemp(prefix="forebay-bench-mount-", dir=os.environ.get("FOREBAY_BENCH_DIR", "/var/tmp"))
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compile_reader(folder: pathlib.Path) -> pathlib.Path:
    source, program = ROOT / "bench/mount_reader.c", folder / "reader"
    subprocess.run(["gcc", "-O2", "-Wall", "-pthread", "-o", str(program), str(source)], check=True, timeout=60)
    return program


def write_files(folder: pathlib.Path) -> None:
    chance = random.Random(SEED)
    for number in range(COUNT):
        path = folder / name_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(SIZE))
    with open(folder / "large", "wb") as file:
        file.writelines(chance.randbytes(1 << 22) for _ in range(LARGE >> 22))
    os.sync()


def name_of(number: int) -> str:
    return f"photos/{number % FOLDERS:03d}/{number:06d}.jpg"


@contextlib.contextmanager
def mount(folder: pathlib.Path, workers: int) -> Iterator[tuple[pathlib.Path, list[int]]]:
    """The directory where the files' commit is mounted, and the workers that answer its reads."""
    target = folder / "mnt"
    with member(folder) as commit, asyncio.Runner() as runner:
        records = Records(str(folder / "records"))
        mounts = Mounts(records, lambda path: Serving(path, workers, 10.0, 2048), READ_AHEAD_KB)
        try:
            wanted = Wanted("bench", "bench", commit, str(target), str(folder / "member/node.sock"))
            runner.run(mounts.mount(wanted))
            yield target, worker_pids()
        finally:
            runner.run(mounts.close())


@contextlib.contextmanager
def member(folder: pathlib.Path) -> Iterator[CommitId]:
    command = [sys.executable, "-m", "tests.rigs.nodemember", str(folder / "origin"), str(folder / "member")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield CommitId(process.stdout.readline().strip())
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def worker_pids() -> list[int]:
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "forebay_cache.mount.worker" in line]


def compare(origin: pathlib.Path, mounted: pathlib.Path) -> None:
    """Every byte; it also brings every chunk into the store."""
    subprocess.run(["diff", "-rq", str(origin), str(mounted)], check=True, timeout=300)


def chunk_files(member_root: pathlib.Path) -> list[pathlib.Path]:
    found = [path for path in (member_root / "store").rglob("*-*") if path.is_file()]
    partial = [path for path in found if path.suffix == ".partial"]
    if partial or not found:
        raise SystemExit(f"{len(partial)} of {len(found)} chunks are not complete after everything was read")
    return found


def tree(folder: pathlib.Path, name: str, root: pathlib.Path, below: Sequence[pathlib.Path]) -> Tree:
    numbers = list(range(COUNT))
    random.Random(SEED).shuffle(numbers)
    small, large = [root / name_of(number) for number in numbers], [root / "large"]
    lists = {"small": small, "large": large, "root": [root], "cold": [*small, *large, *below]}
    written = {}
    for kind, paths in lists.items():
        written[kind] = folder / f"{name}.{kind}"
        written[kind].write_text("".join(f"{path}\n" for path in paths))
    return Tree(written, written["cold"])


def _option(arguments: Sequence[str], name: str, default: str) -> str:
    return arguments[arguments.index(name) + 1] if name in arguments else default
