"""forebay up -f FILE... [--state DIR] [--once-ready]"""

import argparse
import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from forebay_operator.cli.base import Parts, absolute, default_state
from forebay_operator.cli.manifests import read_manifests
from forebay_operator.cli.story import Story
from forebay_operator.kube.base import Kube
from forebay_operator.model import NotReady, Object
from forebay_operator.runtime.up import end_leftovers, is_locked

PLACE = "/var/tmp"  # noqa: S108 - a directory of our own is made in it; /tmp may be memory, and chunks want a disk
LOOK_S = 0.5
EXAMPLES = """\
forebay up -f examples/                            try it; Ctrl-C ends it and leaves nothing
forebay up -f examples/ --state /var/lib/forebay   keep cache and commits for the next time
forebay up -f my.yaml --once-ready                 check that manifests, keys and bucket work"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run what manifests ask for on this machine, without Kubernetes: members as\nprocesses, and as root an agent that "
        "mounts. The manifests are those kubectl\ntakes. Ctrl-C stops it and leaves nothing mounted or running."
    )
    parser.add_argument(
        "-f", "--file", action="append", required=True, help="manifest, or a directory of them; repeatable"
    )
    parser.add_argument("--once-ready", action="store_true", help="stop again once every Dataset is ready: a check")
    parser.add_argument(
        "--timeout", type=float, default=600, metavar="SECONDS", help="with --once-ready: longest wait (default: 600)"
    )


async def run(args: argparse.Namespace, parts: Parts) -> None:
    """Without --state everything lives in a directory that goes at the end."""
    manifests = read_manifests(args.file, args.namespace)
    async with state_directory(args, parts) as state:
        await keep(args, parts, manifests, state)
    parts.stderr.write("stopped; nothing is mounted or running\n")


async def keep(args: argparse.Namespace, parts: Parts, manifests: Sequence[Object], state: Path) -> None:
    stopped = stop_signals()
    with Story(parts, state) as story:
        why = parts.mounts_left_out()
        if why:
            story.note(f"mounts are left out: {why}")
        async with parts.up(manifests, state) as kube:
            await watch(kube, story, args, stopped)
            story.note("stopping")


async def watch(kube: Kube, story: Story, args: argparse.Namespace, stopped: asyncio.Event) -> None:
    """Shows what goes on until a signal, or until all is ready where that was asked."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + args.timeout
    while not stopped.is_set():
        await story.look(kube)
        if args.once_ready and story.ready:
            return
        if args.once_ready and loop.time() > deadline:
            raise NotReady(f"not ready within {args.timeout:g} s: {story.why}")
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await stopped.wait()


def stop_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second one cuts stopping short."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopped.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return stopped


@asynccontextmanager
async def state_directory(args: argparse.Namespace, parts: Parts) -> AsyncIterator[Path]:
    """The directory to run in. While it is in use the default place points to it, so that `forebay status` finds it."""
    default = default_state(parts.environment)
    left = None if args.state else left_behind(default)
    if left:
        await end_leftovers(left)
        shutil.rmtree(left, ignore_errors=True)
    state = Path(absolute(args.state) if args.state else tempfile.mkdtemp(prefix="forebay-", dir=PLACE))
    os.makedirs(state, mode=0o700, exist_ok=True)  # it holds keys
    pointed = point(default, state)
    try:
        yield state
    finally:
        if pointed:
            default.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else's things are in it
                default.parent.rmdir()
        if not args.state:
            shutil.rmtree(state, ignore_errors=True)


def left_behind(default: Path) -> Path | None:
    """The directory of an `up` without --state that was killed: its processes may run yet."""
    old = Path(os.path.realpath(default))  # os.path: where we may not look, nothing of ours is
    ours = os.path.islink(default) and os.path.isdir(old) and old.match(f"{PLACE}/forebay-*")
    return old if ours and not is_locked(old) else None


def point(default: Path, state: Path) -> bool:
    """Makes `default` a symlink to `state`, unless something that lives has the place."""
    if state.absolute() == default or (
        os.path.exists(default) and (not os.path.islink(default) or is_locked(default.resolve()))
    ):
        return False
    try:
        default.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        default.unlink(missing_ok=True)
        default.symlink_to(state)
    except OSError:  # no right to the place: --state finds it
        return False
    return True
