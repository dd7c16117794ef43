"""forebay prefetch DATASET [--prefix P | --paths-from FILE] [--evict] [--rate 200Mi] [--stop | --no-wait]"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from forebay_cache.contract.prefetch import PATHS_LIMIT, PrefetchReport, PrefetchRequest
from forebay_operator.api.fields import whole_bytes
from forebay_operator.cli.base import FAILED, OK, Parts, connect, dataset_argument
from forebay_operator.cli.find import find_cluster, find_dataset, find_members, full_commit
from forebay_operator.cli.output import plural, size, write_json, write_rows
from forebay_operator.cli.progress import bytes_bar
from forebay_operator.members.base import Member
from forebay_operator.model import BadManifest, MemberUnavailable, NotReady, Object

POLL_S = 0.5
SILENT_S = 60.0
"""A member that does not answer for so long is given up; what it fetches goes on."""
EXAMPLES = """forebay prefetch photos                     brings all of it into the cache, and shows how far
forebay prefetch photos --prefix train/     only what lies below train/
forebay prefetch photos --evict             takes it out of the cache"""
Reports = Mapping[str, PrefetchReport]
"""By member."""


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--prefix", default="", help="only files below this path")
    which.add_argument(
        "--paths-from", metavar="FILE", help="only the files that FILE lists, one path a line; - is stdin"
    )
    parser.add_argument("--commit", help="of this commit (default: what a new mount shows)")
    parser.add_argument("--evict", action="store_true", help="take out of the cache instead of bringing in")
    parser.add_argument("--rate", metavar="SIZE", help="fetch at most so many bytes a second in all, such as 200Mi")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--no-wait", action="store_true", help="start it, and return")
    how.add_argument("--status", action="store_true", help="show the newest one, and return")
    how.add_argument("--stop", action="store_true", help="stop the one that runs; what was fetched stays")


async def run(args: argparse.Namespace, parts: Parts) -> int:
    async with house(args, parts) as (dataset, members):
        uid = dataset["metadata"]["uid"]
        if args.stop:
            reports = await each(members, lambda member: member.stop_prefetch(uid))
        elif args.status:
            reports = await newest(members, uid)
        else:
            wanted = await asyncio.to_thread(request, args, dataset, len(members))
            reports = await each(members, lambda member: member.start_prefetch(uid, wanted))
            if not args.no_wait:
                reports = await ended(members, uid, reports, parts)
    show(args, parts, reports)
    return FAILED if any(report.state == "Failed" for report in reports.values()) else OK


@asynccontextmanager
async def house(args: argparse.Namespace, parts: Parts) -> AsyncIterator[tuple[Object, Mapping[str, Member]]]:
    members = parts.members()
    try:
        async with connect(args, parts) as kube:
            dataset = await find_dataset(kube, args)
            yield dataset, await find_members(kube, members, await find_cluster(kube, dataset))
    finally:
        await members.aclose()


def request(args: argparse.Namespace, dataset: Object, members: int) -> PrefetchRequest:
    """What each member is asked for: its part of the rate, and the same choice; each knows which chunks are its own."""
    return PrefetchRequest(
        action="Evict" if args.evict else "Load",
        commit=full_commit(args.commit, dataset) if args.commit else None,
        prefix=args.prefix,
        paths=paths(args.paths_from) if args.paths_from else None,
        bytes_per_second=rate(args.rate, members) if args.rate else None,
    )


def paths(file: str) -> tuple[str, ...]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadManifest(f"--paths-from {file}: {exc}") from exc
    found = tuple(line for line in text.split("\n") if line)
    if not 0 < len(found) <= PATHS_LIMIT:
        raise BadManifest(f"--paths-from {file}: {len(found)} paths; from 1 to {PATHS_LIMIT} go, or choose a --prefix")
    return found


def rate(text: str, members: int) -> int:
    try:
        found = whole_bytes(text) // members
    except ValueError as exc:
        raise BadManifest(f"--rate: {exc}") from exc
    if found < 64 << 10:
        raise BadManifest(f"--rate {text}: at least 64Ki for each of {plural(members, 'member')}")
    return found


async def each(members: Mapping[str, Member], ask: Callable[[Member], Awaitable[PrefetchReport]]) -> Reports:
    answers = await asyncio.gather(*(ask(member) for member in members.values()))
    return dict(zip(members, answers, strict=True))


async def newest(members: Mapping[str, Member], uid: str) -> Reports:
    answers = await asyncio.gather(*(member.prefetch(uid) for member in members.values()))
    return {name: report for name, report in zip(members, answers, strict=True) if report}


async def ended(members: Mapping[str, Member], uid: str, reports: Reports, parts: Parts) -> Reports:
    """Shows how far they are until all have ended. Raises NotReady when a member falls silent."""
    silent_since: float | None = None
    with bytes_bar(parts.stderr) as bar:
        task = bar.add_task("prefetch", total=None)
        while any(report.state == "Running" for report in reports.values()):
            total, done = (sum(getattr(r, name) for r in reports.values()) for name in ("bytes", "bytes_done"))
            bar.update(task, total=total or None, completed=done)
            await parts.sleep(POLL_S)
            try:
                reports = await newest(members, uid)
                silent_since = None
            except MemberUnavailable as exc:
                silent_since = parts.now() if silent_since is None else silent_since
                if parts.now() - silent_since > SILENT_S:
                    raise NotReady(f"{exc}; the prefetch goes on where it can: forebay prefetch --status") from exc
    return reports


def show(args: argparse.Namespace, parts: Parts, reports: Reports) -> None:
    if args.output == "json":
        write_json(parts.stdout, [{"member": name, **report.model_dump()} for name, report in reports.items()])
        return
    write_rows(parts.stdout, [row(name, report) for name, report in reports.items()], empty="no prefetch ever ran")
    for name, report in reports.items():
        for line in complaints(report):
            parts.stdout.write(f"{name}: {line}\n")


def row(name: str, report: PrefetchReport) -> Mapping[str, str]:
    return {
        "member": name,
        "state": report.state,
        "files": f"{report.files_done:,} of {report.files:,}",
        "size": f"{size(report.bytes_done)} of {size(report.bytes)}",
        "fetched": size(report.fetched),
        "rate": f"{size(int(report.rate))}/s" if report.rate else "-",
        "left": f"{report.eta_s:.0f} s" if report.eta_s is not None else "-",
        "failed": f"{report.failed:,}",
    }


def complaints(report: PrefetchReport) -> Sequence[str]:
    shown = [f"{failure.path}: {failure.message}" for failure in report.failures]
    more = report.failed - len(shown)
    said = [report.message] if report.message else []
    return [*said, *shown, *([f"and {more:,} more files"] if more else [])]
