"""forebay cat DATASET PATH..."""

import argparse
from typing import IO, cast

from forebay_operator.cli import s3
from forebay_operator.cli.base import Parts

EXAMPLES = "forebay cat photos images/0001.jpg > 0001.jpg"


def arguments(parser: argparse.ArgumentParser) -> None:
    s3.arguments(parser)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="file of the Dataset")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    out = cast("IO[bytes]", getattr(parts.stdout, "buffer", None))
    async with s3.opened(args, parts) as session:
        for path in args.paths:
            async for piece in session.read(path):
                out.write(piece)
    out.flush()
