"""What many catalog tests begin with."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.commit import LeafCommit, LeafName, Record
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.leaf import Draft, Leaf


@pytest.fixture
def files(tmp_path: Path) -> CatalogFiles:
    return CatalogFiles(str(tmp_path / "catalog"))


MakeCommit = Callable[[Sequence[Entry]], LeafCommit]


@pytest.fixture
def make_commit() -> MakeCommit:
    """Sorted entries -> a commit in memory, cut into leaves as a sync would."""

    def make(entries: Sequence[Entry]) -> LeafCommit:
        names: list[LeafName] = []
        leaves: list[Leaf] = []
        draft = Draft()

        def close() -> None:
            name, data = draft.encode()
            names.append(LeafName(name, draft.first.hex()))
            leaves.append(Leaf(name, data))

        for entry in entries:
            draft.add(entry)
            if draft.cut_behind(entry.key):
                close()
                draft = Draft()
        if draft.count:
            close()
        record = Record(tuple(names), (), None, 0, len(entries), sum(entry.size for entry in entries))
        return LeafCommit(record, leaves)

    return make
