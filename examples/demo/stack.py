"""What the demo runs: a store, a distance to it, and Forebay in between. Each lasts as long as its `with` block."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

EXAMPLES = pathlib.Path(__file__).parents[1]
FOREBAY = (sys.executable, "-c", "from forebay_operator.main import run; run()")
DATASET = "photos"
START_DEADLINE_S = 120.0


class DemoFailed(Exception):
    """The demo cannot go on; the message says what happened and where to look."""


@dataclass(frozen=True, slots=True)
class House:
    """A running `forebay up`."""

    state: pathlib.Path

    def call(self, *words: str) -> str:
        """What a `forebay` command printed. Raises DemoFailed with its message."""
        command = [*FOREBAY, words[0], "--state", str(self.state), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_DEADLINE_S, check=False)
        if done.returncode:
            raise DemoFailed(f"forebay {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def dataset(self) -> dict[str, Any]:
        """The Dataset as the API has it."""
        listed = json.loads(self.call("status", "-o", "json"))["datasets"]
        return next((row["object"] for row in listed if row["dataset"] == DATASET), {})


def missing_for_mounts() -> str:
    """Why there is no mount here; "" where there is."""
    if os.geteuid() != 0:
        return "not root"
    absent = [path for path in ("/dev/fuse", "/dev/loop-control") if not os.path.exists(path)]
    kinds = pathlib.Path("/proc/filesystems").read_text().split()
    absent += [kind for kind in ("erofs",) if kind not in kinds and shutil.which("modprobe") is None]
    return f"this machine lacks {', '.join(absent)}" if absent else ""


def directory_manifest(folder: pathlib.Path, source: pathlib.Path) -> pathlib.Path:
    """The example's Dataset over a directory, for a machine without an object store."""
    documents = list(yaml.safe_load_all((EXAMPLES / "dataset.yaml").read_text()))
    dataset = next(one for one in documents if one["kind"] == "Dataset")
    dataset["spec"]["sources"] = [{"name": DATASET, "directory": {"path": str(source)}}]
    path = folder / "dataset.yaml"
    path.write_text(yaml.safe_dump(dataset))
    return path


@contextlib.contextmanager
def house(state: pathlib.Path, manifests: Sequence[pathlib.Path]) -> Iterator[House]:
    """`forebay up` as a person runs it; ended as a person ends it, by an interrupt."""
    files = [word for manifest in manifests for word in ("-f", str(manifest))]
    with open(state.parent / "up.log", "wb") as log:
        process = subprocess.Popen(
            [*FOREBAY, "up", "--state", str(state), *files], stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield House(state)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_readable(running: House, tell: Callable[[str], None]) -> dict[str, Any]:
    """The Dataset once it has a head. Raises DemoFailed."""
    until = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < until:
        with contextlib.suppress(DemoFailed):
            dataset = running.dataset()
            status = dataset.get("status") or {}
            conditions = {one["type"]: one for one in status.get("conditions", ())}
            if conditions.get("Ready", {}).get("status") == "True":
                return dataset
            tell(conditions.get("Synced", {}).get("message") or "starting")
        time.sleep(0.3)
    raise DemoFailed(f"the Dataset did not become readable; see {running.state.parent / 'up.log'}")


def litter(work: pathlib.Path) -> list[str]:
    """What is left of the demo on this machine: mounts, loop devices, processes."""
    found = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(work) in line]
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=False).stdout
    found += [line for line in loops.splitlines() if str(work) in line]
    for process in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and int(process.name) != os.getpid():
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [line] if str(work) in line else []
    return found
