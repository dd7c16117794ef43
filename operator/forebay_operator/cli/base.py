"""What every command gets: where to look, the parts that `main` picked, and where to write."""

import argparse
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from forebay_operator.kube.base import Kube
from forebay_operator.members.base import Members
from forebay_operator.model import BadManifest, Object

OK, FAILED, USAGE, NOT_FOUND, NOT_READY, IN_USE, UNSUPPORTED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130
EXIT_CODES = {
    OK: "done",
    FAILED: "failed; the message says why",
    USAGE: "the command line or a manifest is wrong",
    NOT_FOUND: "no such Dataset, commit, file or other object",
    NOT_READY: "not ready, or nobody answered in time: try again",
    IN_USE: "the state directory is in use by another `forebay up`",
    UNSUPPORTED: "this machine lacks a part or you a right (mounts need root, FUSE, loop, EROFS)",
    INTERRUPTED: "interrupted",
}
MANAGER = "forebay-cli"


@dataclass(frozen=True, slots=True)
class Where:
    """Which house a command speaks to: that of `forebay up` in `state`, or a cluster's API server."""

    state: Path
    kubeconfig: str | None
    context: str | None


@dataclass(frozen=True, slots=True)
class Parts:
    """Real parts, picked by `main`."""

    connect: Callable[[Where], AbstractAsyncContextManager[Kube]]
    members: Callable[[], Members]
    up: "Callable[[Sequence[Object], Path], AbstractAsyncContextManager[Kube]]"
    """Runs the house until left."""
    mounts_left_out: Callable[[], str]
    """Why `up` starts no agent here; empty where it does."""
    environment: Mapping[str, str]
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    stdout: IO[str]
    stderr: IO[str]


class Command(Protocol):
    """A command's module. `EXAMPLES`: command lines and what they do, for its --help."""

    EXAMPLES: str

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...
    async def run(self, args: argparse.Namespace, parts: Parts) -> int | None:
        """Exit code; None is 0."""
        ...


def default_state(environment: Mapping[str, str]) -> Path:
    """Where `forebay up` is looked for when --state is left out."""
    if environment.get("FOREBAY_STATE"):
        return Path(environment["FOREBAY_STATE"])
    if environment.get("XDG_RUNTIME_DIR"):
        return Path(environment["XDG_RUNTIME_DIR"], "forebay")
    home = environment.get("HOME")
    return Path(home, ".local/state/forebay/default") if home and os.geteuid() else Path("/run/forebay/default")


def where(args: argparse.Namespace, parts: Parts) -> Where:
    state = Path(args.state) if args.state else default_state(parts.environment)
    return Where(state, args.kubeconfig, args.context)


def absolute(path: str) -> str:
    """A path on the command line, as another process sees it."""
    return os.path.abspath(path)


def connect(args: argparse.Namespace, parts: Parts) -> AbstractAsyncContextManager[Kube]:
    """Raises BadManifest where the kubeconfig that was named is not there."""
    if args.kubeconfig and not os.path.isfile(args.kubeconfig):
        raise BadManifest(f"--kubeconfig {args.kubeconfig}: no such file")
    return parts.connect(where(args, parts))


def dataset_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="name of the Dataset, or namespace/name")


def named(args: argparse.Namespace, text: str) -> tuple[str, str]:
    """Namespace and name of NAME or NAMESPACE/NAME."""
    namespace, _, name = text.rpartition("/")
    if not name or "/" in namespace:
        raise BadManifest(f"{text!r} is neither a name nor namespace/name")
    return namespace or args.namespace, name
