"""The pack: rules, routes, runbooks and tests that ship with the operator, as a repository has them."""

from pathlib import Path

from forebay_operator.monitoring.source.base import Tree
from forebay_operator.monitoring.source.folder import read_folder

HERE = Path(__file__).parent


def shipped() -> Tree:
    return read_folder(HERE / "pack")


def starter() -> Tree:
    """What `forebay mac init` writes."""
    return read_folder(HERE / "starter")
