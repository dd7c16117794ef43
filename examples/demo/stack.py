"""What the demo runs: a store, a distance to it, and Forebay in between. Each lasts as long as its `with` block."""

import asyncio
import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import yaml
from bench.rig.region import Distance, Region, region
from botocore.config import Config
from examples.demo import bars, direct, upload
from examples.demo.generator import Shape
from rich.console import Console
from tests.rigs import rgw

from forebay_operator.api.v1alpha1 import ADMIN_PORT

EXAMPLES = pathlib.Path(__file__).parents[1]
FOREBAY = (sys.executable, "-c", "from forebay_operator.main import run; run()")
DATASET = BUCKET = "photos"
PORT = 9000
"""Where examples/dataset.yaml expects the store."""
KEYS = ("forebay", "change-me-please")
"""Those of examples/dataset.yaml's Secret."""
DISTANCE = Distance(round_trip_s=0.03, total_rate=150e6, connection_rate=50e6)
DEADLINE_S = 120.0
UNSUPPORTED = 6
"""`forebay`'s exit code for what this machine cannot do."""


class DemoFailed(Exception):
    """The demo cannot go on; the message says what happened and where to look."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the data lives: an S3 store behind a `region`, or a `folder`; and the Dataset that says so."""

    manifest: pathlib.Path
    region: Region | None
    folder: pathlib.Path


@dataclass(frozen=True, slots=True)
class House:
    """A running `forebay up`."""

    state: pathlib.Path
    process: subprocess.Popen[bytes]
    log: pathlib.Path

    def call(self, *words: str) -> str:
        """What a `forebay` command printed. Raises DemoFailed with its message."""
        done = self.tried(*words)
        if done.returncode:
            raise DemoFailed(f"forebay {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def tried(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*FOREBAY, words[0], "--state", str(self.state), *words[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    def mount(self, target: pathlib.Path) -> str:
        """Mounts the Dataset -> ""; or why this machine cannot. Raises DemoFailed for anything else."""
        done = self.tried("mount", DATASET, str(target))
        if done.returncode == UNSUPPORTED:
            why = done.stderr.strip().removeprefix("forebay mount: ").removeprefix("no mounts here: ")
            return why.partition(";")[0].removesuffix(", or read over S3 instead")
        if done.returncode:
            raise DemoFailed(done.stderr.strip())
        return ""

    def dataset(self) -> dict[str, Any]:
        """The Dataset as the API has it; empty before there is one."""
        listed = json.loads(self.call("status", "-o", "json"))["datasets"]
        return next((row["object"] for row in listed if row["dataset"] == DATASET), {})

    def metrics(self) -> str:
        """URL of its member's."""
        (cluster,) = json.loads(self.call("status", "-o", "json"))["clusters"]
        return f"https://{urlsplit(cluster['endpoint']).hostname}:{ADMIN_PORT}/metrics"

    def told(self) -> str:
        """The last lines of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])


@contextlib.contextmanager
def origin(console: Console, work: pathlib.Path, shape: Shape) -> Iterator[Origin]:
    """A real S3 store behind a distance, holding the data; a directory where no store can be had."""
    with contextlib.ExitStack() as parts:
        store = _store(console, work, parts)
        if isinstance(store, str):
            console.print(f"Left out: the S3 store and the distance to it, because {store}.", soft_wrap=True)
            console.print(
                "A directory of this disk is the origin instead; how slow a remote one is cannot be seen.",
                soft_wrap=True,
            )
            yield _directory(console, work, shape)
            return
        _fill(console, store, shape)
        remote = _remote(store, parts)
        away = f"{DISTANCE.round_trip_s * 1000:.0f} ms and {DISTANCE.total_rate * 8 / 1e9:.1f} Gbit/s away"
        console.print(f"Origin: Ceph RGW, {away}, at {remote.endpoint}")
        manifest = EXAMPLES / "dataset.yaml"
        if remote.endpoint != f"http://127.0.0.1:{PORT}":
            console.print(f"Port {PORT} is taken, so a copy of {manifest.name} names that endpoint.")
            manifest = _changed(work, s3={"bucket": BUCKET, "endpoint": remote.endpoint})
        yield Origin(manifest, remote, work / "rgw")


def _store(console: Console, work: pathlib.Path, parts: contextlib.ExitStack) -> rgw.Gateway | str:
    """A running one, or why there is none."""
    if lacking := rgw.missing():
        return lacking
    with bars.waiting(console, "starting a real S3 store (Ceph RGW)"):
        try:
            return parts.enter_context(rgw.gateway(work / "rgw", access_key=KEYS[0], secret_key=KEYS[1]))
        except (RuntimeError, subprocess.SubprocessError, OSError) as exc:
            return f"it does not start here ({' '.join(str(exc).split())[:200]})"


def _fill(console: Console, store: rgw.Gateway, shape: Shape) -> None:
    plain = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    keys = {"aws_access_key_id": KEYS[0], "aws_secret_access_key": KEYS[1]}
    client = boto3.client("s3", endpoint_url=store.endpoint, region_name="us-east-1", config=plain, **keys)
    client.create_bucket(Bucket=BUCKET)
    text = f"uploading {shape.photos:,} photos and {shape.archives} archives"
    with bars.moving(console, text, shape.size) as tell:
        asyncio.run(upload.to_bucket(direct.open_store(BUCKET, store.endpoint, KEYS), shape, tell))


def _remote(store: rgw.Gateway, parts: contextlib.ExitStack) -> Region:
    try:
        return parts.enter_context(region(store.endpoint, DISTANCE, port=PORT))
    except OSError:  # somebody else's store has that port
        return parts.enter_context(region(store.endpoint, DISTANCE))


def _directory(console: Console, work: pathlib.Path, shape: Shape) -> Origin:
    with bars.moving(console, f"making {shape.photos:,} photos and {shape.archives} archives", shape.size) as tell:
        upload.to_directory(work / "origin", shape, tell)
    return Origin(_changed(work, directory={"path": str(work / "origin")}), None, work / "origin")


def _changed(work: pathlib.Path, **source: Any) -> pathlib.Path:
    """A copy of the example with another place for its data; a directory needs no keys."""
    documents = list(yaml.safe_load_all((EXAMPLES / "dataset.yaml").read_text()))
    dataset = next(one for one in documents if one["kind"] == "Dataset")
    kept = {} if "directory" in source else {"credentials": dataset["spec"]["sources"][0]["credentials"]}
    dataset["spec"]["sources"] = [{"name": DATASET, **source, **kept}]
    path = work / "dataset.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


@contextlib.contextmanager
def house(console: Console, work: pathlib.Path, manifests: Sequence[pathlib.Path]) -> Iterator[House]:
    """`forebay up` as a person runs it; ended as a person ends it, by an interrupt. It stops by itself if we are killed."""
    files = [word for manifest in manifests for word in ("-f", str(manifest))]
    log = work / "up.log"
    with open(log, "wb") as out:
        command = ["setpriv", "--pdeathsig", "INT", *FOREBAY, "up", "--state", str(work / "state"), *files]
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        yield House(work / "state", process, log)
    finally:
        process.send_signal(signal.SIGINT)
        with bars.waiting(console, "stopping"):
            _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_readable(running: House, tell: Callable[[str], None]) -> dict[str, Any]:
    """The Dataset once it has a head. Raises DemoFailed."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until and running.process.poll() is None:
        with contextlib.suppress(DemoFailed):  # it does not answer yet
            dataset = running.dataset()
            status = dataset.get("status") or {}
            conditions = {one["type"]: one for one in status.get("conditions", ())}
            if conditions.get("Ready", {}).get("status") == "True":
                return dataset
            tell(f"forebay up: {conditions.get('Synced', {}).get('message') or 'starting'}")
        time.sleep(0.3)
    raise DemoFailed(f"the Dataset did not become readable. `forebay up` said:\n{running.told()}")
