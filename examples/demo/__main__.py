"""`make demo`: a Dataset from a real object store to a program that only knows `open` and `read`, on this machine."""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
from bench.rig.region import Distance, Region, region
from botocore.config import Config
from examples.demo import direct, stack, upload
from examples.demo.generator import Shape
from examples.demo.report import Row, show
from examples.demo.train import Result
from obstore.store import S3Store
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from tests.rigs import rgw

PORT = 9000
"""Where examples/dataset.yaml expects the store."""
BUCKET = "photos"
KEYS = ("forebay", "change-me-please")
"""Those of examples/dataset.yaml's Secret."""
DISTANCE = Distance(round_trip_s=0.03, total_rate=150e6, connection_rate=50e6)
PROCESSES = 8
EPOCHS = ("cold", "from the store", "page cache")


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on."""

    console: Console
    work: pathlib.Path
    shape: Shape
    origin: Region | None  # None: a directory
    mounted: bool


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _arguments()
    console = Console()
    base = pathlib.Path(".forebay").absolute()
    base.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-", dir=base) as folder:
        work = pathlib.Path(folder)
        try:
            rows = play(console, work, Shape(options.photos, 60, 2, options.archive_mb << 20))
        except stack.DemoFailed as exc:
            console.print(f"[red]demo: {exc}")
            return 1
        left = stack.litter(work)
    show(console, rows)
    for line in left:
        console.print(f"[red]left behind: {line}")
    wrong = sum(row.wrong for row in rows)
    if not left and not wrong:
        console.print("Everything is stopped; nothing is mounted or running.")
        console.print(
            "Next: put your own bucket into examples/dataset.yaml, then `forebay up -f examples/`; see README.md."
        )
    return 1 if left or wrong else 0


def play(console: Console, work: pathlib.Path, shape: Shape) -> list[Row]:
    lacking = stack.missing_for_mounts()
    if lacking:
        console.print(f"Left out: the mount, because {lacking}; reading over S3 instead.")
    with contextlib.ExitStack() as parts:
        origin = parts.enter_context(_origin(console, work, shape))
        manifests = [stack.EXAMPLES / "cachecluster.yaml", stack.EXAMPLES / "dataset.yaml"]
        if origin is None:
            manifests[1] = stack.directory_manifest(work, work / "origin")
        stage = Stage(console, work, shape, origin, mounted=not lacking)
        rows = [_direct(stage)] if origin else []
        running = parts.enter_context(stack.house(work / "state", manifests))
        with console.status("forebay up: starting") as status:
            dataset = stack.wait_until_readable(running, lambda text: status.update(f"forebay up: {text}"))
        head = dataset["status"]["head"]
        console.print(f"Dataset {stack.DATASET}: commit {head['commit'][:12]}, {head['files']:,} files")
        return rows + (_by_mount(stage, running) if stage.mounted else _by_s3(stage, running))


@contextlib.contextmanager
def _origin(console: Console, work: pathlib.Path, shape: Shape) -> Iterator[Region | None]:
    """A real S3 store behind a distance, holding the data; None: a directory holds it."""
    lacking = rgw.missing()
    if lacking:
        console.print(f"Left out: the object store and the distance to it, because {lacking}; a directory instead.")
        with _bar(console, "making files", shape.size) as tell:
            upload.to_directory(work / "origin", shape, tell)
        yield None
        return
    with contextlib.ExitStack() as parts:
        with console.status("starting a real S3 store (Ceph RGW), some 12 seconds"):
            store = parts.enter_context(rgw.gateway(work / "rgw", access_key=KEYS[0], secret_key=KEYS[1]))
        plain = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        client = boto3.client(
            "s3",
            endpoint_url=store.endpoint,
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
            region_name="us-east-1",
            config=plain,
        )
        client.create_bucket(Bucket=BUCKET)
        with _bar(console, f"uploading {shape.photos:,} photos and {shape.archives} archives", shape.size) as tell:
            asyncio.run(upload.to_bucket(_store(store.endpoint), shape, tell))
        try:
            remote = parts.enter_context(region(store.endpoint, DISTANCE, port=PORT))
        except OSError as exc:
            raise stack.DemoFailed(f"{exc}; examples/dataset.yaml looks for the store there") from exc
        console.print(
            f"Origin: Ceph RGW, {DISTANCE.round_trip_s * 1000:.0f} ms and {DISTANCE.total_rate * 8 / 1e9:.1f} Gbit/s away"
        )
        yield remote


def _store(endpoint: str) -> S3Store:
    return S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id=KEYS[0],
        secret_access_key=KEYS[1],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": "120s"},
    )


def _direct(stage: Stage) -> Row:
    assert stage.origin
    with stage.console.status("reading everything once straight from the origin, for comparison"):
        return _counted(stage, "straight", lambda: _direct_epoch(stage))


def _direct_epoch(stage: Stage) -> Result:
    assert stage.origin
    return asyncio.run(direct.epoch(_store(stage.origin.endpoint), stage.shape, seed=0))


def _by_mount(stage: Stage, running: stack.House) -> list[Row]:
    target = stage.work / "photos"
    running.call("mount", stack.DATASET, str(target))
    try:
        rows = []
        for seed, kind in enumerate(EPOCHS, 1):
            if seed == 2:
                _drop_page_cache()
            with stage.console.status(f"epoch {seed}: {kind}"):
                rows.append(_counted(stage, f"epoch {seed}: {kind}", lambda seed=seed: _train(stage, target, seed)))
        return rows
    finally:
        running.call("umount", str(target))


def _by_s3(stage: Stage, running: stack.House) -> list[Row]:
    """Three epochs over S3, with the keys of the Secret that any client would use."""
    keys = json.loads(running.call("keys", stack.DATASET, "-o", "json"))
    store = S3Store(
        keys["BUCKET"],
        endpoint=keys["AWS_ENDPOINT_URL"],
        access_key_id=keys["AWS_ACCESS_KEY_ID"],
        secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    rows = []
    for seed, kind in enumerate(("cold", "from the store", "from the store"), 1):
        with stage.console.status(f"epoch {seed}: {kind}, over S3"):
            name = f"epoch {seed}: {kind}, over S3"
            rows.append(_counted(stage, name, lambda seed=seed: asyncio.run(direct.epoch(store, stage.shape, seed))))
    return rows


def _train(stage: Stage, folder: pathlib.Path, seed: int) -> Result:
    """The training program, as a program of its own."""
    shape = stage.shape
    command = [
        sys.executable, "-m", "examples.demo.train", str(folder), f"--seed={seed}", f"--processes={PROCESSES}",
        f"--photos={shape.photos}", f"--folders={shape.folders}", f"--archives={shape.archives}",
        f"--archive-size={shape.archive_size}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise stack.DemoFailed(f"the training program failed: {done.stderr[-500:]}")
    return Result(**json.loads(done.stdout))


def _counted(stage: Stage, name: str, run) -> Row:  # type: ignore[no-untyped-def]
    """Runs one pass and says what the origin was asked meanwhile."""
    if stage.origin:
        stage.origin.reset()
    result: Result = run()
    counters = stage.origin.counters() if stage.origin else {"requests": 0, "bytes": 0}
    return Row(name, result.files, result.bytes, result.seconds, counters["requests"], counters["bytes"], result.wrong)


def _drop_page_cache() -> None:
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")


@contextlib.contextmanager
def _bar(console: Console, text: str, total: int):  # type: ignore[no-untyped-def]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=total)
        yield lambda size: progress.update(task, advance=size)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--photos", type=int, default=3000, help="photos of 100 KB (default: 3000)")
    parser.add_argument(
        "--archive-mb", type=int, default=200, help="size of each of two large files in MB (default: 200)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
