"""`make demo`: a Dataset from a real object store to a program that only knows `open` and `read`, on this machine."""

import argparse
import contextlib
import json
import pathlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from examples.demo import bars, direct, litter, readers, stack
from examples.demo.asked import Asked, AtMember, AtRegion, Counter
from examples.demo.generator import Shape
from examples.demo.report import STRAIGHT, Row, show
from examples.demo.train import Pass, Result
from rich.console import Console

BASE = pathlib.Path("/var/tmp")
EPOCHS = ("1 cold", "2 from the store", "3 page cache")
WITH_TORCH = "4 DataLoader"
NEXT = """\
Everything is stopped; nothing is mounted or running. Where to go next, with your own bucket:
  . .venv/bin/activate              # puts `forebay` on the path
  nano examples/dataset.yaml        # endpoint, bucket and keys
  forebay up -f examples/           # and in a second terminal: forebay status, forebay mount photos /mnt/photos
README.md goes on from there."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on."""

    console: Console
    work: pathlib.Path
    shape: Shape
    origin: stack.Origin


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read the Dataset: who reads, and where. `cached`: folders whose page cache it goes through."""

    reader: readers.Reader
    place: str
    width: int
    cached: Sequence[pathlib.Path]


def main() -> int:
    options, console = _arguments(), Console(highlight=False)
    base = pathlib.Path(options.dir).absolute()
    if options.clear:
        for path in litter.clear(base):
            console.print(f"cleared away: {path}")
        return 0
    litter.end_in_order()
    try:
        return run(console, base, Shape(options.photos, 60, 2, options.archive_mb << 20))
    except stack.DemoFailed as exc:
        console.print(f"demo: {exc}", style="red", markup=False, soft_wrap=True)
        return 1
    except litter.Interrupted as exc:
        console.print(f"demo: {exc}; nothing is mounted or running")
        return exc.code


def run(console: Console, base: pathlib.Path, shape: Shape) -> int:
    if len(bytes(base)) > litter.LONGEST_BASE:
        raise stack.DemoFailed(f"{base} is too long: unix sockets lie below it; at most {litter.LONGEST_BASE} bytes")
    room = shutil.disk_usage(base).free if base.is_dir() else 0
    if room < 3 * shape.size:
        need = f"{3 * shape.size / 1e9:.1f} GB of disk, and {base} has {room / 1e9:.1f}"
        raise stack.DemoFailed(f"it needs {need}: make demo ARGS='--dir DIR' uses another, '--photos 500' needs less")
    with litter.own_directory(base) as work:
        rows = play(console, work, shape)
        left = litter.found(work)
    show(console, rows)
    for line in left:
        console.print(f"left behind: {line}", style="red", markup=False)
    wrong = sum(row.read.wrong for row in rows)
    if wrong:
        console.print(f"{wrong} files were not what they should be", style="red")
    if not left and not wrong:
        console.print(NEXT, markup=False, soft_wrap=True)
    return 1 if left or wrong else 0


def play(console: Console, work: pathlib.Path, shape: Shape) -> list[Row]:
    with contextlib.ExitStack() as parts:
        origin = parts.enter_context(stack.origin(console, work, shape))
        stage = Stage(console, work, shape, origin)
        straight = _straight(stage)
        manifests = [stack.EXAMPLES / "cachecluster.yaml", origin.manifest]
        running = parts.enter_context(stack.house(console, work, manifests))
        with bars.waiting(console, "forebay up") as tell:
            head = stack.wait_until_readable(running, tell)["status"]["head"]
            tell(f"forebay up: {head['files']:,} files to read")
        return [straight, *_by_forebay(stage, running)]


def _straight(stage: Stage) -> Row:
    """The same reads without Forebay, for comparison."""
    region = stage.origin.region
    if region:
        environment = direct.environment(region.endpoint, stack.KEYS)
        way = Way(readers.Reader("examples.demo.direct", environment), stack.BUCKET, direct.CONCURRENCY, ())
        return _counted(stage, way, STRAIGHT, AtRegion(region))
    way = Way(readers.PLAIN, str(stage.origin.folder), readers.PROCESSES, ())
    readers.drop_page_cache([stage.origin.folder])
    read = _pass(stage, way, STRAIGHT)
    return Row(STRAIGHT, read, Asked(read.files, read.bytes))


def _by_forebay(stage: Stage, running: stack.House) -> list[Row]:
    target, region = stage.work / "photos", stage.origin.region
    counter = AtRegion(region) if region else AtMember(running.metrics())
    lacking = running.mount(target)
    if lacking:
        stage.console.print(f"Left out: the mount, because {lacking}.", markup=False, soft_wrap=True)
        stage.console.print(f"Reading over S3 instead: obstore, {direct.CONCURRENCY} requests at once.")
        return _three(stage, _by_s3(running), counter)
    try:
        return _by_mount(stage, Way(readers.PLAIN, str(target), readers.PROCESSES, (running.state, target)), counter)
    finally:
        running.call("umount", str(target))


def _by_mount(stage: Stage, way: Way, counter: Counter) -> list[Row]:
    stage.console.print(f"Mounted. Reading with plain open and read in {way.width} processes.")
    rows = _three(stage, way, counter)
    with bars.waiting(stage.console, "looking for PyTorch"):
        also, said = readers.torch()
    stage.console.print(said, markup=False, soft_wrap=True)
    if also:
        way = Way(readers.TORCH, way.place, way.width, way.cached)
        rows.append(_counted(stage, way, WITH_TORCH, counter))
    return rows


def _by_s3(running: stack.House) -> Way:
    """With the keys that any client would use."""
    keys = json.loads(running.call("keys", stack.DATASET, "-o", "json"))
    pair = (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    reader = readers.Reader("examples.demo.direct", direct.environment(keys["AWS_ENDPOINT_URL"], pair))
    return Way(reader, keys["BUCKET"], direct.CONCURRENCY, (running.state,))


def _three(stage: Stage, way: Way, counter: Counter) -> list[Row]:
    """The epochs; before the first two the page cache is dropped."""
    rows = []
    for name in EPOCHS:
        if name != EPOCHS[2]:
            readers.drop_page_cache([*way.cached, stage.origin.folder])
        rows.append(_counted(stage, way, name, counter))
    return rows


def _counted(stage: Stage, way: Way, name: str, counter: Counter) -> Row:
    """One pass, and what the origin was asked meanwhile."""
    before = counter.asked()
    read = _pass(stage, way, name)
    return Row(name, read, counter.asked().since(before))


def _pass(stage: Stage, way: Way, name: str) -> Result:
    seed = (STRAIGHT, *EPOCHS, WITH_TORCH).index(name)
    text = f"reading everything {name}" if name == STRAIGHT else f"epoch {name}"
    with bars.reading(stage.console, text, stage.shape.size) as tell:
        return readers.run(way.reader, Pass(way.place, stage.shape, seed, way.width), tell)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS=...", description=__doc__)
    parser.add_argument("--photos", type=_count, default=3000, help="photos of 100 KB (default: 3000)")
    parser.add_argument(
        "--archive-mb", type=_count, default=200, help="size of each of two large files in MiB (default: 200)"
    )
    parser.add_argument("--dir", default=BASE, help=f"disk to work on; everything there goes again (default: {BASE})")
    parser.add_argument("--clear", action="store_true", help="only clear away what a killed demo left")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a number above 0, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
