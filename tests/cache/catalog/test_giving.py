"""What another member may have of a catalog: four kinds of files, by id."""

import os
from pathlib import Path

import pytest

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.giving import CatalogGiving, place_of
from forebay_cache.model.errors import NotFound, StoreFailed
from forebay_cache.transfer.base import FileName, Folder


def put(files: CatalogFiles, name: FileName, data: bytes) -> None:
    path = Path(files.path(*place_of(name)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("folder", Folder)
def test_each_file_is_given_by_its_id(files: CatalogFiles, folder: Folder) -> None:
    name = FileName(folder, os.urandom(32))
    put(files, name, folder.name.encode())
    fd = CatalogGiving(files).open(name)
    Path(files.path(*place_of(name))).unlink()
    with open(fd, "rb") as file:
        assert file.read() == folder.name.encode()
    with pytest.raises(NotFound):
        CatalogGiving(files).open(name)


@pytest.mark.parametrize("folder", Folder)
@pytest.mark.parametrize("odd", [b"/" * 32, b"../" * 10 + b"..", bytes(32)])
def test_no_id_leads_out_of_its_folder(files: CatalogFiles, folder: Folder, odd: bytes) -> None:
    path = files.path(*place_of(FileName(folder, odd)))
    assert os.path.normpath(path) == path
    assert path.startswith(files.path(folder.name.lower()) + "/")


def test_a_disk_that_fails_says_so(files: CatalogFiles) -> None:
    name = FileName(Folder.PARTS, bytes(32))
    Path(files.path("parts", "00")).write_bytes(b"no folder")
    with pytest.raises(StoreFailed):
        CatalogGiving(files).open(name)
