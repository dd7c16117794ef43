"""forebay mount DATASET DIR [--commit COMMIT]"""

import argparse

from forebay_cache.contract.agent import MountRequest
from forebay_operator.cli.agent import Agent, agent_socket
from forebay_operator.cli.base import Parts, absolute, connect, dataset_argument, where
from forebay_operator.cli.find import find_cluster, find_dataset, full_commit, head_of, node_socket, serving_pod
from forebay_operator.cli.output import short, write_json

EXAMPLES = """\
forebay mount photos /mnt/photos                   as plain files, read-only
forebay mount photos /mnt/before --commit 3f2a     an older commit beside it"""


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)
    parser.add_argument("directory", metavar="DIR", help="empty directory; made if it does not exist")
    parser.add_argument(
        "--commit", help="an older commit, or its first letters (default: the head; the mount stays with it)"
    )


async def run(args: argparse.Namespace, parts: Parts) -> None:
    async with connect(args, parts) as kube:
        dataset = await find_dataset(kube, args)
        commit = full_commit(args.commit, dataset) if args.commit else head_of(dataset)
        cluster = await find_cluster(kube, dataset)
        request = MountRequest(
            cluster_uid=cluster["metadata"]["uid"],
            dataset_uid=dataset["metadata"]["uid"],
            commit=commit,
            target=absolute(args.directory),
            member_socket=node_socket(await serving_pod(kube, cluster)),
        )
    async with Agent(agent_socket(where(args, parts), parts)) as agent:
        mount = await agent.mount(request)
    if args.output == "json":
        write_json(parts.stdout, mount.model_dump())
        return
    parts.stdout.write(f"Dataset {dataset['metadata']['name']}, commit {short(commit)}, is mounted at {mount.target}\n")
