"""forebay commits DATASET"""

import argparse

from forebay_operator.cli.base import Parts, connect, dataset_argument
from forebay_operator.cli.find import find_cluster, find_dataset, find_member
from forebay_operator.cli.output import short, size, stamp, write_json, write_rows

EXAMPLES = "forebay commits photos"


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)


async def run(args: argparse.Namespace, parts: Parts) -> None:
    members = parts.members()
    try:
        async with connect(args, parts) as kube:
            dataset = await find_dataset(kube, args)
            member = await find_member(kube, members, await find_cluster(kube, dataset))
            commits = (await member.commits(dataset["metadata"]["uid"])).commits
    finally:
        await members.aclose()
    head = ((dataset.get("status") or {}).get("head") or {}).get("commit")
    pinned = (dataset["spec"].get("version") or {}).get("commit")
    if args.output == "json":
        marks = [{"head": c.id == head, "pinned": c.id == pinned} for c in commits]
        write_json(parts.stdout, [c.model_dump() | mark for c, mark in zip(commits, marks, strict=True)])
        return
    rows = [
        {
            "commit": short(c.id),
            "made": stamp(c.created_ms),
            "files": f"{c.files:,}",
            "size": size(c.bytes),
            "parent": short(c.parent),
            "note": ", ".join(["head"] * (c.id == head) + ["pinned: readers see this"] * (c.id == pinned)),
        }
        for c in commits
    ]
    write_rows(parts.stdout, rows, empty="no commit yet: the first sync has not ended")
