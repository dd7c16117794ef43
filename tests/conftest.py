"""Real parts that many tests share; each is started once, and only when a test asks for it."""

import pathlib
import tempfile
from collections.abc import Iterator

import pytest
from tests.rigs import controlplane, rgw

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[controlplane.ControlPlane]:
    """A real API server with our CRDs. A test takes a namespace of its own from it."""
    programs = controlplane.program_folder()
    if isinstance(programs, str):
        pytest.skip(programs)
    with (
        tempfile.TemporaryDirectory(prefix="forebay-controlplane-") as folder,
        controlplane.control_plane(pathlib.Path(folder), programs) as plane,
    ):
        plane.install(ROOT / "crds")
        yield plane


@pytest.fixture(scope="session")
def gateway() -> Iterator[rgw.Gateway]:
    """A real S3 store. A test makes buckets of its own in it: `gateway.bucket()`."""
    if reason := rgw.missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="forebay-rgw-") as folder, rgw.gateway(pathlib.Path(folder)) as store:
        yield store
