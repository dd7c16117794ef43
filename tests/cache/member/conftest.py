"""What a member's parts begin with: a catalog over a directory of files, and the state that names it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.contract.config import ClusterState, DatasetState, DirectorySource, Source
from forebay_cache.member.registry import Registry
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.base import Origin
from forebay_cache.origin.memory import MemoryOrigin

UID = "cluster"


@dataclass
class House:
    files: CatalogFiles
    origin: MemoryOrigin = field(default_factory=MemoryOrigin)
    version: int = 0

    def __post_init__(self) -> None:
        self.registry = Registry(UID, self.files, self._made)

    def _made(self, source: Source) -> Origin:
        return self.origin

    async def commit(self, data: bytes, parent: str | None = None) -> CommitId:
        self.origin.put(b"a", data)
        mapping = Mapping(b"", b"", self.origin, b"")
        before = CommitId(parent) if parent else None
        return CommitId((await run_sync(self.files, [mapping], before, len(data), lambda *_: None)).id)

    def dataset(
        self, name: str, head: str | None, retained: Sequence[str] = (), latest: str | None = None
    ) -> DatasetState:
        return DatasetState(
            uid=f"uid-{name}",
            namespace="ns",
            name=name,
            bucket=name,
            sources=(Source(name="all", directory=DirectorySource(path="/x")),),
            head=head,
            retained=tuple(retained),
            latest=latest,
        )

    def state(self, *datasets: DatasetState) -> ClusterState:
        """Newer than those before."""
        self.version += 1
        return ClusterState(version=self.version, cluster_uid=UID, datasets=datasets)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(CatalogFiles(str(tmp_path / "catalog")))
