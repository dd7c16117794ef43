"""Merges segments of a commit that is being written: the walk behind `tiers.chosen`.

The files of the chosen segments are packed anew, in order of key; then the leaves that name them are written again. Leaves are
cut by their keys, so the cuts stay where they are, and the nth file that moves is the nth part of the new segments: no table
of moves is needed. Nothing that an older commit needs is touched. Blocking.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from forebay_cache.catalog import ancestors, leaf, parts
from forebay_cache.catalog.base import Ancestor
from forebay_cache.catalog.commit import LeafCommit, LeafName
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.packing import Place, fit
from forebay_cache.catalog.tiers import Weight, chosen
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CHUNK_SIZE, Extent, SegmentId


@dataclass(frozen=True, slots=True)
class Merged:
    """The leaves of the commit as it is now, and the bytes of the new segments."""

    leaves: tuple[LeafName, ...]
    sizes: Mapping[SegmentId, int]


def merge(
    files: CatalogFiles,
    writer: CatalogWriter,
    commit: LeafCommit,
    sizes: Mapping[SegmentId, int],
    places: Mapping[str, Place],
) -> Merged | None:
    """None: nothing is worth it. `sizes`: bytes of each segment; `places`: where new segments of an origin belong."""
    victims = _victims(files, _weights(commit, sizes), places)
    if not victims:
        return None
    packers = {place: _Packer(files, writer, place) for place in dict.fromkeys(victims.values())}
    for one in commit.leaves:
        for segment, offset in _moving(one, victims):
            packers[victims[segment]].move(segment, offset)
    for packer in packers.values():
        packer.close()
    writer.settle()  # so that the new tables can be read
    moved = {place: packer.moved() for place, packer in packers.items()}
    leaves = _rewritten(writer, commit, {segment: moved[place] for segment, place in victims.items()})
    return Merged(tuple(leaves), {made: size for packer in packers.values() for made, size in packer.made})


def _moving(one: leaf.Leaf, victims: Container[SegmentId]) -> Iterator[tuple[SegmentId, int]]:
    """Segment and offset of each file that moves."""
    if any(segment in victims for segment in one.segments):
        for _, _, _, segment, offset in one.rows():
            if segment in victims:
                yield segment, offset


def _rewritten(
    writer: CatalogWriter, commit: LeafCommit, moves: Mapping[SegmentId, Iterator[Extent]]
) -> Iterator[LeafName]:
    """The commit's leaves, those written again that name a merged segment. `moves`: of each of these where its files went, an
    iterator shared by those that were packed together."""
    for name, one in zip(commit.record.leaves, commit.leaves, strict=True):
        if moves.keys().isdisjoint(one.segments):
            yield name
            continue
        draft = leaf.Draft()
        for entry in one.entries():
            going = moves.get(entry.extent.segment)
            draft.add(replace(entry, extent=next(going)) if going else entry)
        made, data = draft.encode()
        writer.put(data, "leaves", made)
        if writer.full:
            writer.settle()
        yield replace(name, id=made)


def _weights(commit: LeafCommit, sizes: Mapping[SegmentId, int]) -> Iterator[Weight]:
    """Of packed segments: a large object is a segment of its own, and stays that."""
    live: dict[SegmentId, int] = {}
    large: set[SegmentId] = set()
    for one in commit.leaves:
        for segment, size, largest in one.weights():
            live[segment] = live.get(segment, 0) + size
            if largest > CHUNK_SIZE:
                large.add(segment)
    for segment, size in live.items():
        if size and segment not in large:
            yield Weight(segment, sizes[segment], size)


def _victims(files: CatalogFiles, weights: Iterable[Weight], places: Mapping[str, Place]) -> Mapping[SegmentId, Place]:
    """The segments to be merged, those of each origin with each other, and the place of what they become."""
    of_place: dict[Place, list[Weight]] = {}
    for one in weights:
        if one.small or one.dying:
            with suppress(NotFound, CatalogCorrupt):  # without its table a segment cannot be moved
                place = places.get(files.parts(one.segment).origin)
                of_place.setdefault(place, []).append(one) if place else None
    return {segment: place for place, found in of_place.items() for segment in chosen(found)}


class _Packer:
    """Packs the files of one place that move, in order of key."""

    def __init__(self, files: CatalogFiles, writer: CatalogWriter, place: Place) -> None:
        self.made: list[tuple[SegmentId, int]] = []
        self._files = files
        self._writer = writer
        self._place = place
        self._draft = parts.Draft(place.origin, place.salt)
        self._ancestors = ancestors.Draft()

    def move(self, segment: SegmentId, offset: int) -> None:
        part = self._files.parts(segment).at(offset)
        at = fit(self._draft.size, part.size)
        if at < 0:
            self.close()
            at = 0
        self._draft.add(at, part.size, part.key, part.etag, part.version)
        here = Ancestor(segment, part.index, part.offset)
        self._ancestors.add((here, *self._files.ancestors(segment, part.index)))

    def close(self) -> None:
        """The segment that is open is full."""
        if not self._draft.size:
            return
        segment, table = self._draft.encode()
        self.made.append((segment, self._draft.size))
        self._writer.put_parts(segment, table)
        self._writer.replace(self._ancestors.encode(), "ancestors", segment.hex()[:2], segment.hex())
        if self._writer.full:
            self._writer.settle()
        self._draft = parts.Draft(self._place.origin, self._place.salt)
        self._ancestors = ancestors.Draft()

    def moved(self) -> Iterator[Extent]:
        """Where the files went, in the order in which they came."""
        for segment, _ in self.made:
            table = self._files.parts(segment)
            for index in range(len(table)):
                part = table.part(index)
                yield Extent(segment, part.offset, part.size)
