"""Starts one process.

python -m forebay_cache.main member --config FILE     one cache server
python -m forebay_cache.main agent --config FILE      mounts, one a node
python -m forebay_cache.main csi --config FILE        what a kubelet asks, one a node
python -m forebay_cache.main sync                     one sync; started by a member, its job on standard input
python -m forebay_cache.main assemble ...             one image; started by a member that gathered a commit
"""

import argparse
import asyncio
import importlib
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress

import uvloop

from forebay_cache.model.errors import ForebayError


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # by name, so that a sync child loads no server and an agent no object store
    process = importlib.import_module(f"forebay_cache.main.{options.process}")
    try:
        uvloop.run(_until_stopped(process.run(options)))
    except ForebayError as exc:
        print(f"forebay {options.process}: {exc}", file=sys.stderr)  # noqa: T201  there may be no logs yet
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forebay_cache.main", description="A process of the Forebay cache.")
    processes = parser.add_subparsers(dest="process", required=True)
    for name, text in (
        ("member", "run one cache server"),
        ("agent", "mount Datasets on this node"),
        ("csi", "speak with the kubelet of this node"),
    ):
        process = processes.add_parser(name, help=text)
        process.add_argument("--config", required=True, help="JSON document, see forebay_cache.contract")
        process.add_argument(
            "--root", help="directory that the document's paths are below (default: $FOREBAY_ROOT or /)"
        )
        process.add_argument("--host", help="address to listen on, instead of the document's")
    processes.add_parser("sync", help="run one sync; its job comes by standard input")
    assemble = processes.add_parser("assemble", help="make the image of a commit that was gathered from other members")
    for name, text in (("catalog", "its folder"), ("commit", "its id"), ("record", "file with the commit's record")):
        assemble.add_argument(f"--{name}", required=True, help=text)
    return parser


async def _until_stopped(work: Coroutine[None, None, None]) -> None:
    """Runs `work` until it ends, or SIGTERM or SIGINT cancels it; then it cleans up."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    sys.exit(main())
