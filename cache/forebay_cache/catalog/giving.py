"""Gives catalog files to other members, who ask for them by folder and id."""

import os

from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.model.errors import NotFound
from forebay_cache.transfer.base import FileName, Folder


class CatalogGiving:
    """Implements transfer.base.FileSource. A file that is deleted meanwhile stays whole for who has it open."""

    def __init__(self, files: CatalogFiles) -> None:
        self._files = files

    def open(self, name: FileName) -> int:
        path = place_of(name)
        with disk(f"opening {os.path.join(*path)}"):
            try:
                return os.open(self._files.path(*path), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as exc:
                raise NotFound(f"catalog file {os.path.join(*path)} is not in this member's catalog") from exc


def place_of(name: FileName) -> tuple[str, ...]:
    """The path of a file below the catalog's root."""
    folder, stem = name.folder.name.lower(), name.id.hex()
    match name.folder:
        case Folder.COMMITS:
            return folder, f"{stem}.json"
        case Folder.LEAVES:
            return folder, stem
        case Folder.PARTS | Folder.ANCESTORS:
            return folder, stem[:2], stem
