"""Parses a command line, runs the command, and says with which code it ended."""

import argparse
import asyncio
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import cast

from forebay_operator.cli.base import (
    EXIT_CODES,
    FAILED,
    IN_USE,
    INTERRUPTED,
    NOT_FOUND,
    NOT_READY,
    OK,
    UNSUPPORTED,
    USAGE,
    Command,
    Parts,
)

COMMANDS = {
    "up": "run a cache on this machine from manifests, until Ctrl-C",
    "apply": "create or change CacheClusters, Datasets and Secrets from manifests",
    "delete": "delete objects, by name or as manifests name them",
    "status": "show clusters, members and Datasets",
    "sync": "list a Dataset's origin now and make what is there its newest commit",
    "prefetch": "bring files of a Dataset into the cache before they are read, or evict them",
    "commits": "list the commits of a Dataset",
    "diff": "show which files differ between two commits",
    "rollback": "serve an older commit, or the newest again",
    "ls": "list files of a Dataset",
    "cat": "write a file of a Dataset to standard output",
    "get": "download files or folders of a Dataset",
    "keys": "print endpoint, bucket and keys with which any S3 client reads a Dataset",
    "mount": "mount a Dataset as a folder of this machine",
    "mac": "monitoring as code: write, judge, test and explain a monitoring repository",
    "umount": "unmount what `forebay mount` mounted",
}
CODES: Mapping[str, int] = {
    # class -> exit code, by the nearest base that is here; else NOT_READY where a retry may help, else FAILED
    "KubeNotFound": NOT_FOUND,
    "NotFound": NOT_FOUND,
    "BadManifest": USAGE,
    "KubeInvalid": USAGE,
    "BadInput": USAGE,
    "StateInUse": IN_USE,
    "Unsupported": UNSUPPORTED,
    "MonitoringLacks": UNSUPPORTED,
}
HERE = frozenset({"up"})
"""Commands that concern this machine and no cluster."""
OFFLINE = frozenset({"mac"})
"""Commands that concern files."""


def run(argv: Sequence[str], parts: Parts) -> int:
    chosen = next((word for word in argv if word in COMMANDS), None)
    command = cast("Command | None", chosen and importlib.import_module(f"forebay_operator.cli.{chosen}"))
    try:
        args = parser(chosen, command).parse_args(argv)
    except SystemExit as exc:
        return int(exc.code or OK)
    if command is None or args.command is None:
        parser(None, None).print_help(parts.stderr)
        return USAGE
    return finish(args, command, parts)


def finish(args: argparse.Namespace, command: Command, parts: Parts) -> int:
    try:
        return asyncio.run(attempt(args, command, parts))
    except KeyboardInterrupt:
        return INTERRUPTED


async def attempt(args: argparse.Namespace, command: Command, parts: Parts) -> int:
    """Runs a command. Errors that are ours, the cache's and the system's become a line and a code."""
    try:
        return await command.run(args, parts) or OK
    except BrokenPipeError:  # the reader of our output has had enough
        return OK
    except Exception as exc:
        found = first(exc)
        code = exit_code(found)
        if code is None:
            raise
        parts.stderr.write(f"forebay {args.command}: {told(found)}\n")
        return code


def told(exc: Exception) -> str:
    """An error in words; the system's without its number."""
    if isinstance(exc, OSError) and exc.strerror and getattr(exc, "retry", None) is None:
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    return str(exc)


def first(exc: Exception) -> Exception:
    """The first error of a group: what failed beside it failed because of it."""
    return first(exc.exceptions[0]) if isinstance(exc, ExceptionGroup) else exc


def exit_code(exc: BaseException) -> int | None:
    """None for what is a bug of ours and deserves a traceback."""
    retry = getattr(exc, "retry", None)  # every error of ours has it, the cache's too
    if retry is None and not isinstance(exc, OSError):
        return None
    other = NOT_READY if retry else FAILED
    return next((CODES[cls.__name__] for cls in type(exc).__mro__ if cls.__name__ in CODES), other)


def parser(chosen: str | None, command: Command | None) -> argparse.ArgumentParser:
    """All commands by name; only the chosen one with its arguments."""
    codes = "\n".join(f"  {code:<4} {text}" for code, text in EXIT_CODES.items())
    main = argparse.ArgumentParser(
        prog="forebay",
        description="Training data next to the GPUs: a cache that serves object stores at the speed of a local disk.",
        epilog=f"exit codes:\n{codes}\n\nforebay COMMAND --help says more. Start with: forebay up -f examples/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, text in COMMANDS.items():
        made = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen and command:
            made.epilog = "examples:\n" + "\n".join(f"  {line}" for line in command.EXAMPLES.splitlines())
            command.arguments(made)
            if name not in OFFLINE:
                common_arguments(made, here=name in HERE)
    return main


class Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - only this needs it

        sys.stdout.write(f"forebay {version('forebay')}\n")
        parser.exit()


def common_arguments(parser: argparse.ArgumentParser, *, here: bool) -> None:
    group = parser.add_argument_group("where to run" if here else "where to look")
    group.add_argument(
        "--state",
        metavar="DIR",
        help="keep everything in this directory; a later `up` goes on with it (default: one that goes at the end)"
        if here
        else "state directory of `forebay up` (default: $FOREBAY_STATE, or the one that runs)",
    )
    group.add_argument(
        "-n", "--namespace", default="default", help="namespace of names given without one (default: default)"
    )
    if here:
        parser.set_defaults(output="table", kubeconfig=None, context=None)
        return
    group.add_argument(
        "--kubeconfig", metavar="FILE", help="speak to a cluster instead: the API server this file names"
    )
    group.add_argument("--context", metavar="NAME", help="speak to a cluster instead: this context of the kubeconfig")
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="how to write (default: table)"
    )
