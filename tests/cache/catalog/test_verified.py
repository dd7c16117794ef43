"""A catalog file is what its name says, or it is set aside; a disk that does not open it says nothing of it."""

import hashlib
from pathlib import Path

import pytest

from forebay_cache.catalog.verified import SMALL, VerifiedFiles
from forebay_cache.model.errors import CatalogCorrupt, NotFound, StoreFailed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("leaves", "images", "quarantine"):
        (tmp_path / folder).mkdir()
    return tmp_path


def put(root: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (root / "leaves" / name).write_bytes(data)
    return name


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 1 << 20])
def test_the_bytes_of_a_file_that_matches_its_name(root: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    files = VerifiedFiles(str(root))
    assert bytes(files.load("leaves", put(root, data))) == data


def test_one_that_does_not_is_set_aside_and_stays_damaged_until_it_is_replaced(root: Path) -> None:
    files, name = VerifiedFiles(str(root)), put(root, b"data")
    (root / "leaves" / name).write_bytes(b"dat")
    for _ in range(2):
        with pytest.raises(CatalogCorrupt, match="damaged on this member's disk"):
            files.load("leaves", name)
    assert list((root / "leaves").iterdir()) == []
    put(root, b"data")
    assert files.load("leaves", name) == b"data"


def test_one_that_is_not_here_is_not_found(root: Path) -> None:
    with pytest.raises(NotFound, match="not in this member's catalog"):
        VerifiedFiles(str(root)).load("leaves", "0" * 64)


def test_one_that_cannot_be_opened_stays_where_it_is(root: Path) -> None:
    """As when no descriptor is left: the file may be whole."""
    (root / "leaves" / "folder").mkdir()
    files = VerifiedFiles(str(root))
    with pytest.raises(StoreFailed, match="opening leaves/folder"):
        files.load("leaves", "folder")
    with pytest.raises(StoreFailed):
        files.sealed(bytes, "leaves", "folder")
    assert (root / "leaves" / "folder").is_dir()


def test_a_file_with_a_seal_is_as_good_as_its_seal(root: Path) -> None:
    (root / "images" / "a").write_bytes(b"a")

    def torn(data: bytes) -> bytes:
        raise CatalogCorrupt(f"torn at {len(data)}")

    files = VerifiedFiles(str(root))
    assert files.sealed(bytes, "images", "a") == b"a"
    with pytest.raises(CatalogCorrupt, match="set aside") as caught:
        files.sealed(torn, "images", "a")
    assert "torn at 1" in str(caught.value.__cause__)
    assert not (root / "images" / "a").exists()


def test_an_image_is_known_by_its_hash_or_where_none_was_recorded_by_its_size(root: Path) -> None:
    image = root / "images" / "c.erofs"
    image.write_bytes(b"image")
    seal = hashlib.sha256(b"image").hexdigest()
    assert VerifiedFiles(str(root)).path(seal, 5, "images", "c.erofs") == str(image)
    image.write_bytes(b"imagf")
    assert VerifiedFiles(str(root)).path("", 5, "images", "c.erofs") == str(image)
    with pytest.raises(CatalogCorrupt):
        VerifiedFiles(str(root)).path(seal, 5, "images", "c.erofs")
    image.write_bytes(b"image+")
    with pytest.raises(CatalogCorrupt):
        VerifiedFiles(str(root)).path("", 5, "images", "c.erofs")


def test_a_file_is_read_once_until_it_is_forgotten(root: Path) -> None:
    files, name = VerifiedFiles(str(root)), put(root, b"data")
    files.load("leaves", name)
    (root / "leaves" / name).write_bytes(b"dote")
    assert files.load("leaves", name) == b"dote"
    files.forget("leaves", name)
    with pytest.raises(CatalogCorrupt):
        files.load("leaves", name)
