"""A member whose disk lies, fills up or fails: no wrong byte is ever served, reads go on by the origin, and it is said once."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.conftest import GOOD
from tests.rigs.bucket import Bucket, bucket
from tests.rigs.house import Member, content, dataset_of, member, same

from forebay_cache.contract.config import DatasetState
from forebay_cache.store.layout import FILE_SIZE

NAMES = ("one.large", "two.large")
SMALL_DISK = 80 << 20


@pytest.fixture
def store() -> Iterator[Bucket]:
    with bucket() as made:
        made.objects = {"good.txt": GOOD, **{name: content(name) for name in NAMES}}
        yield made


@pytest.fixture
def one(store: Bucket) -> Iterator[Member]:
    """A member that has everything of its Dataset in its store."""
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name, member(pathlib.Path(name)) as made:
        made.start()
        synced(made, store)
        all_right(made)
        yield made
        assert made.stop() == 0


def synced(made: Member, store: Bucket) -> DatasetState:
    dataset = dataset_of(store, "open", anonymous=True)
    made.serve(dataset)
    assert made.sync(dataset).state == "Succeeded"
    return dataset


def all_right(made: Member) -> None:
    assert made.get("/open/good.txt").body == GOOD
    for name in NAMES:
        assert same(made.get(f"/open/{name}").body, name)


def warnings(made: Member, after: int) -> list[dict[str, Any]]:
    return [record for record in made.told(after) if record["level"] != "info"]


def another_boot(made: Member) -> None:
    """Makes what is on the disk that of an earlier boot: store/README.md, rules 7 and 8."""
    path = made.store / "identity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "an-earlier-one"}))


def flip(path: pathlib.Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def large_chunks(made: Member) -> list[pathlib.Path]:
    """First chunks of the large objects: they use all of their 8 MiB."""
    found = (path for path in (made.store / "chunks").rglob("*-0") if path.is_file())
    return sorted(path for path in found if path.stat().st_blocks * 512 > FILE_SIZE - (64 << 10))


@pytest.mark.parametrize("at", [5 << 20, (8 << 20) + 100, (8 << 20) + (8 << 10) + 3], ids=["byte", "sum", "footer"])
def test_a_flipped_bit_is_quarantined_and_filled_anew_and_never_served(one: Member, store: Bucket, at: int) -> None:
    assert one.stop() == 0
    another_boot(one)
    damaged = large_chunks(one)[0]
    flip(damaged, at)
    before, asked = one.mark(), len(store.requests)
    one.start()
    all_right(one)
    (moved,) = (one.store / "quarantine").iterdir()
    assert moved.name == damaged.name
    (record,) = warnings(one, before)
    assert (record["event"], record["level"]) == ("chunk quarantined", "warning")
    assert damaged.name in record["chunk"]
    assert len(store.requests) > asked
    refilled = len(store.requests)
    all_right(one)
    assert len(store.requests) == refilled


def test_a_bad_block_and_no_origin_is_an_error_and_not_the_bad_block(one: Member, store: Bucket) -> None:
    assert one.stop() == 0
    another_boot(one)
    for damaged in large_chunks(one):
        flip(damaged, 5 << 20)
    one.start()
    store.close()
    for name in NAMES:
        found = one.get(f"/open/{name}")
        assert (found.status, found.code) in [(503, "OriginUnavailable"), (200, "")]
        assert content(name).startswith(found.body) or found.status == 503
        assert len(found.body) < len(content(name))
    assert one.get("/open/good.txt").body == GOOD
    store.open()
    all_right(one)


def test_a_chunk_that_cannot_be_opened_is_read_from_the_origin(one: Member, store: Bucket) -> None:
    """A loop of links stands for a bad sector in a directory: open() fails, and stays so."""
    assert one.stop() == 0
    one.start()
    broken = large_chunks(one)[0]
    broken.unlink()
    broken.symlink_to(broken)
    before = one.mark()
    for _ in range(3):
        all_right(one)
    (record,) = warnings(one, before)
    assert record["event"] == "the store failed; reading past it"
    broken.unlink()


@pytest.mark.parametrize("folder", ["leaves", "commits"])
def test_a_damaged_catalog_serves_no_head_and_says_so_once(one: Member, folder: str) -> None:
    assert one.stop() == 0
    (path,) = (one.catalog / folder).iterdir()
    flip(path, path.stat().st_size // 2)
    before = one.mark()
    one.start()
    found = one.get("/open/good.txt")
    assert (found.status, found.code) == (503, "DatasetNotReady")
    told = warnings(one, before)
    aside, not_served, refused = told
    assert (aside["event"], aside["file"]) == ("catalog file damaged, set aside", f"{folder}/{path.name}")
    assert (not_served["event"], refused["event"]) == ("head not served", "request refused")
    assert "`forebay sync` heals it" in not_served["reason"]
    assert one.answers("/readyz")
    assert one.sync(one.state.datasets[0]).state == "Succeeded"
    all_right(one)


def test_a_lost_catalog_file_is_no_missing_key(one: Member) -> None:
    assert one.stop() == 0
    for path in [path for path in (one.catalog / "parts").rglob("*") if path.is_file()]:
        path.unlink()
    before = one.mark()
    one.start()
    found = one.get("/open/one.large", "Range: bytes=0-9")
    assert (found.status, found.code) == (503, "ServiceUnavailable")
    (record,) = warnings(one, before)
    assert "catalog file" in record["error"]
    assert one.get("/open?list-type=2").status == 200


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_is_read_past_and_used_again_when_there_is_room(
    store: Bucket, tmp_path: pathlib.Path, kind: str
) -> None:
    with on_a_small_disk(tmp_path, kind) as made:
        dataset = synced(made, store)
        disk = pathlib.Path(f"/proc/{made.pid}/root{made.store.parent}")
        eat(disk / "others")
        before = made.mark()
        for _ in range(3):
            all_right(made)
        (record,) = warnings(made, before)
        assert record["event"] == "the store failed; reading past it"
        assert "no room" in record["error"] or "no space" in record["error"]
        assert made.answers("/readyz")
        head_is_kept(made, store, dataset)
        (disk / "others").unlink()
        all_right(made)
        asked = len(store.requests)
        all_right(made)
        assert len(store.requests) == asked
        assert made.stop() == 0


def head_is_kept(made: Member, store: Bucket, dataset: DatasetState) -> None:
    """A sync that finds no room says so, a state that cannot be kept is refused, and what was served still is."""
    store.objects["later.txt"] = b"later"
    head = made.state.datasets[0].head
    report = made.sync(dataset.model_copy(update={"head": head}))
    assert (report.state, report.reason) == ("Failed", "CatalogFull")
    assert "no space" in report.message
    before = made.mark()
    status, text = made.ask("PUT", "/v1/state", made.state.model_dump_json().encode())
    assert (status, json.loads(text)["reason"]) == (503, "StoreFull")
    assert "no space" in json.loads(text)["message"]
    assert warnings(made, before) == []
    del store.objects["later.txt"]
    all_right(made)


@contextlib.contextmanager
def on_a_small_disk(folder: pathlib.Path, kind: str) -> Iterator[Member]:
    """Mounted in a mount namespace of the member's own, so that nothing stays whatever happens."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("mounting a small disk needs root and unshare")
    image = folder / "image"
    with member(folder / "root", capacity_bytes=1 << 30) as made:
        data = made.store.parent
        mount = f"mount -t tmpfs -o size={SMALL_DISK} none {data}"
        if kind == "ext4":
            if not shutil.which("mkfs.ext4"):
                pytest.skip("a small ext4 needs mkfs.ext4 (e2fsprogs)")
            subprocess.run(["truncate", "-s", str(SMALL_DISK), image], check=True)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
            mount = f"mount -o loop {image} {data}"
        made.start(["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"])
        yield made


def eat(path: pathlib.Path) -> None:
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
