"""The last steps of a commit whose leaves and parts tables are written: device table, image, and at the end the record. And
the same steps again where one of these files was lost: all of them are functions of the leaves. Blocking."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog import devices
from forebay_cache.catalog.base import Device
from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.image import ImageWriter
from forebay_cache.catalog.mountable import LeftOut, write_tree
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, CommitId, SegmentId


def assemble(
    writer: CatalogWriter, commit: commits.LeafCommit, sizes: Mapping[SegmentId, int], newest_ms: int
) -> commits.Record:
    """`sizes`: bytes of each of its segments; `newest_ms`: of the newest of its files."""
    planned = devices.plan(commit.id, {segment: sizes[segment] for segment in commit.segments()})
    writer.put(devices.encode(commit.id, planned), "devices", commit.id)
    record = _image(writer, commit, planned, newest_ms)
    writer.settle()
    writer.replace(commits.encode(record), "commits", f"{record.id}.json")
    writer.settle()
    return record


def mend(files: CatalogFiles, writer: CatalogWriter, commit: CommitId) -> bool:
    """Writes the device table and the image again if either is lost -> whether one was. Raises NotFound, CatalogCorrupt
    where more is lost than these."""
    lost = True
    with suppress(NotFound, CatalogCorrupt):
        files.device_table(commit)
        files.image_path(commit)
        lost = False
    if lost:
        found = files.leaf_commit(files.record(commit))
        newest_ms = max((row[2] for row in found.rows()), default=0)
        assemble(writer, found, known_sizes(files, found, {}, None), newest_ms)
    return lost


def known_sizes(
    files: CatalogFiles, commit: commits.LeafCommit, new: Mapping[SegmentId, int], parent: CommitId | None
) -> Mapping[SegmentId, int]:
    """Of each segment: those the parent has are in its device table, so that hardly a parts table is opened."""
    known = dict(new)
    if parent:
        with suppress(NotFound, CatalogCorrupt):
            known |= {p.segment: p.size for device in files.device_table(parent) for p in device.placed}
    return {segment: known.get(segment) or files.parts(segment).size for segment in commit.segments()}


def _image(
    writer: CatalogWriter, commit: commits.LeafCommit, planned: Sequence[Device], newest_ms: int
) -> commits.Record:
    """Writes the image -> the record with what only devices and image know."""
    places = {p.segment: (device.number + 1, p.offset) for device in planned for p in device.placed}
    blocks = [device.size // BLOCK_SIZE for device in planned]
    aside, scratch = writer.aside(), writer.aside()
    with disk("writing an image"), open(aside, "x+b") as file, open(scratch, "x+b") as spill:
        # the newest file's time, not this sync's: an image is a function of its commit
        image = ImageWriter(file.fileno(), spill.fileno(), blocks, max(0, newest_ms) // 1000)
        left_out = write_tree(image, commit.rows(), places)
        size = image.close()
        seal = hashlib.file_digest(file, "sha256").hexdigest()
    writer.stage(aside, "images", f"{commit.id}.erofs")
    record = replace(_counted(commit.record, planned), image_bytes=size, image_sha256=seal)
    return _without(record, left_out, image)


def _counted(record: commits.Record, planned: Sequence[Device]) -> commits.Record:
    sizes = [placed.size for device in planned for placed in device.placed]
    return replace(record, segments=len(sizes), chunks=sum(-(-size // CHUNK_SIZE) for size in sizes))


def _without(record: commits.Record, left_out: LeftOut, image: ImageWriter) -> commits.Record:
    """The record with the keys the image leaves out, those that a directory beat among them."""
    for key in image.dropped_first:
        left_out.name(key)
    return replace(record, unmountable=left_out.count + image.dropped, unmountable_first=tuple(left_out.first))
