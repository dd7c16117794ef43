"""Each check runs on the store in memory and on the one on disk, and ends with a clean audit."""

import pathlib
from collections.abc import Iterator

import pytest
from tests.rigs.chunks import Opener

from forebay_cache.model.ids import MemberId
from forebay_cache.store.base import Store
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_cache.store.memory import MemoryStore


@pytest.fixture(params=["memory", "disk"])
def open_store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Opener]:
    """Opens an empty store with the limits of the test's choice; once a test."""
    opened: list[Store] = []

    def opener(limits: Limits) -> Store:
        assert not opened
        if request.param == "memory":
            opened.append(MemoryStore(limits, MemberId("memory")))
        else:
            opened.append(DiskStore.open(str(tmp_path / "store"), limits, cluster_uid="c", boot_id="b"))
        return opened[0]

    yield opener
    for store in opened:
        assert store.check() == []
        store.close()


@pytest.fixture
def store(open_store: Opener) -> Store:
    return open_store(Limits(256 << 20))
