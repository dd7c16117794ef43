"""Each check runs on the origin in memory, on a directory, and on a real S3 store."""

import pathlib
from collections.abc import AsyncIterator

import pytest
from tests.rigs.places import FolderPlace, MemoryPlace, Place, S3Place


@pytest.fixture(params=["memory", "folder", pytest.param("s3", marks=pytest.mark.rgw)])
async def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> AsyncIterator[Place]:
    """An empty one that nothing else uses."""
    found: Place
    if request.param == "memory":
        found = MemoryPlace()
    elif request.param == "folder":
        found = FolderPlace(tmp_path)
    else:
        found = S3Place(request.getfixturevalue("gateway"))
    yield found
    await found.origin.aclose()
