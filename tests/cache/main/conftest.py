"""A member as a process, over a bucket that can be broken."""

import pathlib
import tempfile
from collections.abc import Iterator

import pytest
from tests.rigs.bucket import Bucket, bucket
from tests.rigs.house import Member, content, member

NAMES = tuple(f"{number}.large" for number in range(4))


@pytest.fixture
def store() -> Iterator[Bucket]:
    with bucket() as made:
        made.objects = {name: content(name) for name in NAMES}
        yield made


@pytest.fixture
def one() -> Iterator[Member]:
    """Not started. On a disk, and short: a socket is made in it."""
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name, member(pathlib.Path(name)) as made:
        yield made
