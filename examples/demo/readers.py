"""The passes of the demo: who reads, through what, and how the page cache is dropped."""

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from examples.demo.stack import DemoFailed
from examples.demo.train import Pass, Result

PROCESSES = 8


@dataclass(frozen=True, slots=True)
class Reader:
    """A training program: a module that takes the arguments of `train`, and what its environment has besides."""

    module: str
    environment: Mapping[str, str]


PLAIN = Reader("examples.demo.train", {})
TORCH = Reader("examples.demo.train_torch", {})


def torch() -> tuple[bool, str]:
    """-> (whether PyTorch reads too, one line that says which or why not)"""
    if importlib.util.find_spec("torch") is None:
        return False, "Left out: the pass with a PyTorch DataLoader, because PyTorch is not installed in .venv."
    probe = [sys.executable, "-c", "import torch.utils.data; print(torch.__version__)"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return False, f"Left out: the pass with a PyTorch DataLoader, because PyTorch cannot be imported: {why}"
    return True, f"A fourth pass reads with a DataLoader of PyTorch {done.stdout.strip()}, {PROCESSES} workers."


def run(reader: Reader, what: Pass, tell: Callable[[int, int], None]) -> Result:
    """One pass, by a program of its own that ends with this one. `tell` gets bytes as they are read, and as they are
    verified. Raises DemoFailed."""
    numbers = {"seed": what.seed, "width": what.width, **asdict(what.shape)}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in numbers.items()]
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", reader.module, what.place, *options]
    environment = {**os.environ, **reader.environment}
    with (
        tempfile.TemporaryFile("w+", errors="replace") as said,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            last = _followed(process, tell)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.wait():
            said.seek(0)
            raise DemoFailed(f"the training program failed: {said.read()[-500:].strip()}")
    return Result(**json.loads(last))


def _followed(process: subprocess.Popen[str], tell: Callable[[int, int], None]) -> str:
    """Its last line."""
    assert process.stdout
    last = "{}"
    for last in process.stdout:
        said = json.loads(last)
        tell(said.get("read", 0), said.get("verified", 0))
    return last


def drop_page_cache(folders: Sequence[pathlib.Path]) -> None:
    """Everybody's where we may, else that of the files in `folders`, which is all that is read here."""
    os.sync()
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")
        return
    for folder, _, files in (entry for place in folders for entry in os.walk(place)):
        for name in files:
            with contextlib.suppress(OSError):
                _forget(os.path.join(folder, name))


def _forget(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
