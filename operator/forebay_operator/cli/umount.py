"""forebay umount DIR"""

import argparse

from forebay_operator.cli.agent import Agent, agent_socket
from forebay_operator.cli.base import Parts, absolute, where
from forebay_operator.cli.output import write_json

EXAMPLES = "forebay umount /mnt/photos"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="where `forebay mount` mounted")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    target = absolute(args.directory)
    async with Agent(agent_socket(where(args, parts), parts)) as agent:
        await agent.unmount(target)
    if args.output == "json":
        write_json(parts.stdout, {"target": target})
        return
    parts.stdout.write(f"nothing is mounted at {target} any more\n")
