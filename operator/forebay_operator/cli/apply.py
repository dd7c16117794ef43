"""forebay apply -f FILE..."""

import argparse

from forebay_operator.cli.base import MANAGER, Parts, connect
from forebay_operator.cli.manifests import read_manifests
from forebay_operator.cli.output import bare, write_json
from forebay_operator.model import key_of

EXAMPLES = "forebay apply -f examples/dataset.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--file", action="append", required=True, help="manifest, or a directory of them; repeatable"
    )


async def run(args: argparse.Namespace, parts: Parts) -> None:
    async with connect(args, parts) as kube:
        made = [
            await kube.apply(body, manager=MANAGER, force=True) for body in read_manifests(args.file, args.namespace)
        ]
    if args.output == "json":
        write_json(parts.stdout, [bare(body) for body in made])
        return
    for body in made:
        parts.stdout.write(f"{key_of(body)} applied\n")
