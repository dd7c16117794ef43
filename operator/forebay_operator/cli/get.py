"""forebay get DATASET PATH... [--to DIR]

Files arrive under a name of their own and take their place by rename once their size is right, so a name that is there is
whole. A read that breaks off goes on where it stopped, of the same version.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from forebay_cache.client.session import File, Folder, Session
from forebay_operator.cli import s3
from forebay_operator.cli.base import Parts, absolute
from forebay_operator.cli.output import plural, size, write_json
from forebay_operator.cli.progress import bytes_bar
from forebay_operator.model import BadManifest, KubeNotFound, OperatorError

TRIES = 4
QUEUED = 1000
EXAMPLES = """\
forebay get photos images/ --to /data      everything below images/
forebay get photos / --to /data            everything"""


def arguments(parser: argparse.ArgumentParser) -> None:
    s3.arguments(parser)
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="file, or folder with a slash at its end; '/' is everything"
    )
    parser.add_argument("--to", default=".", metavar="DIR", help="where to put them, with their paths (default: here)")
    parser.add_argument("-j", "--parallel", type=int, default=8, metavar="N", help="downloads at once (default: 8)")


@dataclass(slots=True)
class Tally:
    files: int = 0
    bytes: int = 0


async def run(args: argparse.Namespace, parts: Parts) -> None:
    if not 1 <= args.parallel <= 256:
        raise BadManifest("--parallel is a number from 1 to 256")
    tally = Tally()
    with bytes_bar(parts.stderr) as bar:
        async with s3.opened(args, parts) as session:
            await download(session, args, bar, tally)
    if args.output == "json":
        write_json(parts.stdout, {"files": tally.files, "bytes": tally.bytes, "to": absolute(args.to)})
        return
    parts.stdout.write(f"{plural(tally.files, 'file')}, {size(tally.bytes)} in {args.to}\n")


async def download(session: Session, args: argparse.Namespace, bar: Progress, tally: Tally) -> None:
    queue: asyncio.Queue[File | None] = asyncio.Queue(QUEUED)
    everything = bar.add_task("all", total=0)

    async def work() -> None:
        while (file := await queue.get()) is not None:
            await fetch(session, file, place(args.to, file.key), bar, everything)
            tally.files, tally.bytes = tally.files + 1, tally.bytes + file.size

    async def feed() -> None:
        total = 0
        async for file in wanted(session, args.paths):
            total += file.size
            bar.update(everything, total=total)
            await queue.put(file)
        for _ in range(args.parallel):
            await queue.put(None)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            for _ in range(args.parallel):
                group.create_task(work())
    except BaseExceptionGroup as exc:
        raise exc.exceptions[0] from exc


async def wanted(session: Session, paths: Sequence[str]) -> AsyncIterator[File]:
    for path in paths:
        if not path.endswith("/"):
            yield await one(session, path)
            continue
        found = False
        async for entry in session.list("" if path == "/" else path, recursive=True):
            if not isinstance(entry, Folder):
                found = True
                yield entry
        if not found:
            raise KubeNotFound(f"nothing starts with {path!r}; `forebay ls DATASET` shows what there is")


async def one(session: Session, path: str) -> File:
    """Raises KubeNotFound with the next step: an answer to HEAD has no words of its own."""
    try:
        return await session.head(path)
    except Exception as exc:
        if type(exc).__name__ != "NotFound":  # the cache's errors are known here by name, as in program.CODES
            raise
        folder = [entry async for entry in session.list(path) if entry == Folder(f"{path}/")]
        step = f"{path}/ is a folder: end it with a slash" if folder else "`forebay ls DATASET` shows what there is"
        raise KubeNotFound(f"no file {path!r}: {step}") from exc


def place(folder: str, key: str) -> Path:
    """Where a key goes. Raises BadManifest for one that would leave the folder, or that no file can have."""
    if key.startswith("/") or key.endswith("/") or any(p in ("", ".", "..") for p in key.split("/")) or "\0" in key:
        raise BadManifest(f"{key!r} cannot be a file name: read it with `forebay cat`")
    return Path(folder, key)


async def fetch(session: Session, file: File, target: Path, bar: Progress, everything: TaskID) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name[:200]}.{os.getpid()}.partial")
    own = bar.add_task(target.name[-40:], total=file.size) if file.size > 64 << 20 else None
    try:
        with partial.open("wb") as out:
            for attempt in range(1, TRIES + 1):
                try:
                    async for piece in session.read(file.key, out.tell(), etag=file.etag):
                        out.write(piece)
                        for task in (everything, *([own] if own is not None else ())):
                            bar.advance(task, len(piece))
                    break
                except Exception as exc:
                    if not getattr(exc, "retry", False) or attempt == TRIES:
                        raise
                    await asyncio.sleep(0.2 * 2**attempt)
            if out.tell() != file.size:
                raise OperatorError(f"{file.key}: {out.tell()} bytes came of {file.size}: try again")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        if own is not None:
            bar.remove_task(own)
