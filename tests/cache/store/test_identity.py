import json
import os
import pathlib
import uuid

import pytest

from forebay_cache.model.errors import ConfigError, StoreFailed
from forebay_cache.store.edge import passed
from forebay_cache.store.identity import Claim, Identity, lock_store, read, settle, write

ID = uuid.UUID(int=5)


def settled(old: Identity | None, *, cluster: str = "c", boot: str = "b", capacity: int = 100) -> Identity:
    return settle(old, Claim(cluster, capacity, boot), lambda: ID)


def test_a_new_store_gets_an_id_and_its_first_boot() -> None:
    new = settled(None)
    assert (new.member, new.cluster_uid, new.boots) == (str(ID), "c", 1)


def test_the_id_stays_and_changes_of_boot_are_counted() -> None:
    one = settled(None)
    assert settled(one) == one
    two = settled(one, boot="other")
    assert (two.member, two.boots) == (one.member, 2)
    assert settled(two, boot="b").boots == 3  # back on the first machine: the disk was elsewhere in between


def test_the_capacity_may_change() -> None:
    assert settled(settled(None), capacity=7).capacity_bytes == 7


def test_another_clusters_store_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"belongs to cluster c, not to d.*empty directory"):
        settled(settled(None), cluster="d")


def test_what_was_written_is_read(tmp_path: pathlib.Path) -> None:
    assert read(str(tmp_path)) is None
    for identity in (settled(None), settled(settled(None), boot="x")):
        write(str(tmp_path), identity, passed)
        assert read(str(tmp_path)) == identity
    assert os.listdir(tmp_path) == ["identity.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_an_identity_that_cannot_be_understood_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(ConfigError, match="store_path"):
        read(str(tmp_path))


def test_fields_of_a_newer_program_are_ignored(tmp_path: pathlib.Path) -> None:
    write(str(tmp_path), settled(None), passed)
    path = tmp_path / "identity.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"newer": 1}))
    assert read(str(tmp_path)) == settled(None)


def test_one_process_at_a_time(tmp_path: pathlib.Path) -> None:
    held = lock_store(str(tmp_path))
    with pytest.raises(StoreFailed, match=f"open in process {os.getpid()}"):
        lock_store(str(tmp_path))
    os.close(held)
    os.close(lock_store(str(tmp_path)))
