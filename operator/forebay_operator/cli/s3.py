"""What ls, cat and get share: a session on the S3 face of a Dataset."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay_cache.client.session import Session
from forebay_operator.cli.base import Parts, connect, dataset_argument
from forebay_operator.cli.find import find_access, find_dataset


def arguments(parser: argparse.ArgumentParser) -> None:
    dataset_argument(parser)
    parser.add_argument(
        "--endpoint", metavar="URL", help="S3 face to ask, for example a port-forward (default: the cluster's)"
    )


@asynccontextmanager
async def opened(args: argparse.Namespace, parts: Parts) -> AsyncIterator[Session]:
    async with connect(args, parts) as kube:
        access = await find_access(kube, await find_dataset(kube, args))
    async with Session(args.endpoint or access.endpoint, access.bucket, access.keys, now=parts.now) as session:
        yield session
