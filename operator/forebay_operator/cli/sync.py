"""forebay sync DATASET [--wait]"""

import argparse
import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from forebay_operator.cli.advice import blocked, sync_advice
from forebay_operator.cli.base import MANAGER, Parts, connect, dataset_argument
from forebay_operator.cli.find import find_cluster, find_dataset, find_member, head_of
from forebay_operator.cli.output import plural, short, size, write_json
from forebay_operator.cli.progress import Line
from forebay_operator.kube.base import Kube
from forebay_operator.model import NotReady, Object, OperatorError
from forebay_operator.names import SYNC_REQUEST

POLL_S = 0.2
SERVED_S = 30.0
BLOCKED_LOOKS = 15
"""What status says may be of before a change that was made just now."""
EXAMPLES = "forebay sync photos --wait             returns once readers see what the origin has now"


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)
    parser.add_argument("--wait", action="store_true", help="wait until the sync has ended; fails when it does")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="longest wait (default: 3600)")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    async with connect(args, parts) as kube:
        before = await find_dataset(kube, args)
        request = uuid.uuid4().hex
        metadata = {name: before["metadata"][name] for name in ("name", "namespace")}
        body = {"apiVersion": before["apiVersion"], "kind": "Dataset"}
        annotated = {**body, "metadata": {**metadata, "annotations": {SYNC_REQUEST: request}}}
        await kube.apply(annotated, manager=f"{MANAGER}-sync", force=True)
        if not args.wait:
            asked_for(args, parts, metadata["name"], request)
            return
        after = await ended(kube, args, request, parts)
        if head(after) != head(before):
            await served(kube, after, parts)
    report(args, parts, before, after)


def asked_for(args: argparse.Namespace, parts: Parts, name: str, request: str) -> None:
    if args.output == "json":
        write_json(parts.stdout, {"dataset": name, "requested": request})
        return
    parts.stdout.write(f"sync of Dataset {name} asked for; `forebay status` shows it\n")


async def ended(kube: Kube, args: argparse.Namespace, request: str, parts: Parts) -> Object:
    """The Dataset once the sync that answers `request` has ended. Raises NotReady where none can start."""
    looks_blocked = 0
    try:
        async with asyncio.timeout(args.timeout):
            with Line(parts.stderr) as line:
                while not answered(dataset := await find_dataset(kube, args), request):
                    line.show(progress(sync_of(dataset), request))
                    looks_blocked = looks_blocked + 1 if blocked(dataset) else 0
                    if looks_blocked > BLOCKED_LOOKS:
                        raise NotReady(f"the sync cannot start: {blocked(dataset)}; it starts by itself then")
                    await parts.sleep(POLL_S)
                return dataset
    except TimeoutError as exc:
        raise NotReady(f"the sync has not ended within {args.timeout:g} s; it goes on: see `forebay status`") from exc


async def served(kube: Kube, dataset: Object, parts: Parts) -> None:
    """Returns once a member serves the new head, so that what is asked next sees it: within SERVED_S, else NotReady."""
    members, wanted = parts.members(), (dataset["metadata"]["uid"], head_of(dataset))
    try:
        async with asyncio.timeout(SERVED_S):
            member = await find_member(kube, members, await find_cluster(kube, dataset))
            while wanted not in [(one.uid, one.head) for one in (await member.report()).datasets]:
                await parts.sleep(POLL_S)
    except TimeoutError as exc:
        raise NotReady(
            f"the commit is made, and no member serves it after {SERVED_S:g} s: see `forebay status`"
        ) from exc
    finally:
        await members.aclose()


def answered(dataset: Object, request: str) -> bool:
    sync = sync_of(dataset)
    return sync.get("requested") == request and sync.get("state") in ("Succeeded", "Failed")


def progress(sync: Mapping[str, Any], request: str) -> str:
    running = sync.get("requested") == request or sync.get("state") == "Running"
    return f"listing: {plural(sync.get('listed', 0), 'object')}" if running else "waiting for the sync to start"


def report(args: argparse.Namespace, parts: Parts, before: Object, after: Object) -> None:
    sync, old, new = sync_of(after), head(before), head(after)
    if args.output == "json":
        write_json(parts.stdout, {"sync": sync, "head": new, "changed": new.get("commit") != old.get("commit")})
    if sync["state"] == "Failed":
        raise OperatorError(f"the sync failed: {sync.get('message') or 'no reason was given'}{sync_advice(after)}")
    if args.output == "table":
        same = new.get("commit") == old.get("commit")
        what = "nothing is new" if same else f"{plural(new['files'], 'file')}, {size(new['bytes'])}"
        parts.stdout.write(f"commit {short(new.get('commit'))}: {what}\n")


def sync_of(dataset: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (dataset.get("status") or {}).get("sync") or {}
    return found


def head(dataset: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (dataset.get("status") or {}).get("head") or {}
    return found
