"""forebay rollback DATASET COMMIT | --latest"""

import argparse

from forebay_operator.cli.base import MANAGER, Parts, connect, dataset_argument
from forebay_operator.cli.find import find_dataset, full_commit
from forebay_operator.cli.output import bare, short, write_json
from forebay_operator.model import BadManifest

EXAMPLES = """\
forebay rollback photos 3f2a           readers see this commit; syncs go on beside it
forebay rollback photos --latest       and the newest again"""


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)
    parser.add_argument("commit", metavar="COMMIT", nargs="?", help="the commit to serve, or its first letters")
    parser.add_argument("--latest", action="store_true", help="serve the newest again")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    if bool(args.commit) == args.latest:
        raise BadManifest("say COMMIT, or --latest")
    async with connect(args, parts) as kube:
        dataset = await find_dataset(kube, args)
        commit = full_commit(args.commit, dataset) if args.commit else None
        version = {"mode": "Pinned", "commit": commit} if commit else {"mode": "Latest"}
        metadata = {name: dataset["metadata"][name] for name in ("name", "namespace")}
        body = {
            "apiVersion": dataset["apiVersion"],
            "kind": "Dataset",
            "metadata": metadata,
            "spec": {"version": version},
        }
        made = await kube.apply(body, manager=f"{MANAGER}-rollback", force=True)
    if args.output == "json":
        write_json(parts.stdout, bare(made))
        return
    parts.stdout.write(f"Dataset {metadata['name']} serves {short(commit) if commit else 'the newest commit'}\n")
