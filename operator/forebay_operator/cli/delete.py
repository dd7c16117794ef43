"""forebay delete KIND NAME... | -f FILE..."""

import argparse
from collections.abc import Sequence

from forebay_operator.cli.base import Parts, connect, named
from forebay_operator.cli.manifests import ALLOWED, read_manifests
from forebay_operator.cli.output import write_json
from forebay_operator.kube.base import Kube
from forebay_operator.model import BadManifest, Key, KubeNotFound, key_of

EXAMPLES = """\
forebay delete dataset photos          its commits and cached bytes go; the origin stays as it is
forebay delete -f examples/"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help="dataset, cachecluster or secret")
    parser.add_argument("names", nargs="*", metavar="NAME", help="name, or namespace/name")
    parser.add_argument("-f", "--file", action="append", help="delete what a manifest names; repeatable")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    keys = chosen(args)
    async with connect(args, parts) as kube:
        for key in keys:
            await gone(kube, key)
            if args.output == "table":
                parts.stdout.write(f"{key} deleted\n")
    if args.output == "json":
        deleted = [{"kind": k.kind.kind, "namespace": k.namespace, "name": k.name} for k in keys]
        write_json(parts.stdout, deleted)


async def gone(kube: Kube, key: Key) -> None:
    """Raises KubeNotFound that names the namespace as well: a server's own words may leave it out."""
    try:
        await kube.delete(key)
    except KubeNotFound as exc:
        raise KubeNotFound(f"{key} not found") from exc


def chosen(args: argparse.Namespace) -> Sequence[Key]:
    """Datasets first: their cluster must not go before them."""
    if args.file and not args.kind:
        keys = [key_of(body) for body in read_manifests(args.file, args.namespace)]
        return sorted(keys, key=lambda key: key.kind.kind, reverse=True)
    kinds = {name: kind for kind in ALLOWED for name in (kind.kind.lower(), kind.plural)}
    if args.file or not args.names or args.kind.lower() not in kinds:
        raise BadManifest(f"say KIND NAME with KIND one of {', '.join(sorted(kinds))}, or -f FILE")
    return [Key(kinds[args.kind.lower()], *named(args, name)) for name in args.names]
