"""forebay ls DATASET [PREFIX]"""

import argparse
import json

from forebay_cache.client.session import File, Folder
from forebay_operator.cli import s3
from forebay_operator.cli.base import Parts
from forebay_operator.cli.output import size
from forebay_operator.model import KubeNotFound

EXAMPLES = """\
forebay ls photos                      what is at the top
forebay ls photos images/ -r           every file below images/"""


def arguments(parser: argparse.ArgumentParser) -> None:
    s3.arguments(parser)
    parser.add_argument(
        "prefix", metavar="PREFIX", nargs="?", default="", help="only what starts with this, like images/"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="every file below, not only the next level")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    """Written as it comes: a Dataset may hold billions of files."""
    found = 0
    async with s3.opened(args, parts) as session:
        async for entry in session.list(args.prefix, recursive=args.recursive):
            start = "[\n" if not found else ",\n"
            parts.stdout.write(start + json_line(entry) if args.output == "json" else line(entry))
            found += 1
    if args.output == "json":
        parts.stdout.write("\n]\n" if found else "[]\n")
    elif not found and args.prefix:
        raise KubeNotFound(f"nothing in {args.dataset} starts with {args.prefix!r}")


def line(entry: File | Folder) -> str:
    if isinstance(entry, Folder):
        return f"{'':20}  {'-':>9}  {printable(entry.key)}\n"
    return f"{entry.modified[:19]:20}  {size(entry.size):>9}  {printable(entry.key)}\n"


def json_line(entry: File | Folder) -> str:
    if isinstance(entry, Folder):
        return json.dumps({"folder": entry.key})
    return json.dumps({"key": entry.key, "size": entry.size, "modified": entry.modified, "etag": entry.etag})


def printable(key: str) -> str:
    """A key as a terminal may show it: control characters and bytes that are no text are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in key)
