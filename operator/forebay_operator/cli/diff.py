"""forebay diff DATASET [OLD] [NEW]"""

import argparse

from forebay_operator.cli.base import Parts, connect, dataset_argument
from forebay_operator.cli.find import find_cluster, find_dataset, find_member, full_commit, head_of
from forebay_operator.cli.output import plural, short, write_json
from forebay_operator.model import KubeNotFound, Object

EXAMPLES = """\
forebay diff photos                    the newest commit against the one before it
forebay diff photos 3f2a 91bc          two commits by their first letters"""


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)
    parser.add_argument(
        "old", metavar="OLD", nargs="?", help="a commit, or its first letters (default: the head's parent)"
    )
    parser.add_argument("new", metavar="NEW", nargs="?", help="a commit, or its first letters (default: the head)")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    members = parts.members()
    try:
        async with connect(args, parts) as kube:
            dataset = await find_dataset(kube, args)
            new = full_commit(args.new, dataset) if args.new else head_of(dataset)
            old = full_commit(args.old, dataset) if args.old else parent_of(new, dataset)
            member = await find_member(kube, members, await find_cluster(kube, dataset))
            report = await member.diff(dataset["metadata"]["uid"], old, new)
    finally:
        await members.aclose()
    if args.output == "json":
        write_json(parts.stdout, report.model_dump())
        return
    for mark, paths in (("+", report.added_paths), ("-", report.removed_paths), ("~", report.changed_paths)):
        for path in paths:
            parts.stdout.write(f"{mark} {path}\n")
    more = report.added + report.removed + report.changed
    more -= len(report.added_paths) + len(report.removed_paths) + len(report.changed_paths)
    tail = f" ({plural(more, 'path')} not listed)" if more else ""
    counts = f"{report.added:,} added, {report.removed:,} removed, {report.changed:,} changed"
    parts.stdout.write(f"{short(old)}..{short(new)}: {counts}{tail}\n")


def parent_of(commit: str, dataset: Object) -> str:
    kept = {c["id"]: c.get("parent") for c in (dataset.get("status") or {}).get("commits") or ()}
    parent = kept.get(commit)
    if not parent:
        only = "it is the only one yet" if kept.keys() <= {commit} else "name OLD and NEW, see `forebay commits`"
        raise KubeNotFound(f"commit {short(commit)} has no parent that is kept, so nothing to compare it with: {only}")
    return str(parent)
