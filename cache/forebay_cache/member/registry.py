"""What this member serves: the newest ClusterState, its commits opened, its origins reachable by identity."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from forebay_cache.catalog.base import Catalog, Commit
from forebay_cache.contract.agent import ResolvedCommit
from forebay_cache.contract.config import ClusterState, DatasetState, Source
from forebay_cache.model.errors import CatalogCorrupt, ConfigError, ForebayError, NotFound, StoreError
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.base import Origin

log = logging.getLogger("forebay.member")
MakeOrigin = Callable[[Source], Origin]


@dataclass(frozen=True, slots=True)
class Served:
    """One Dataset as it is served now. `head` is None before the first sync, or while its catalog files are not here."""

    state: DatasetState
    head: Commit | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment; replaced whole, so a request sees one state from its first look to its last."""

    version: int = -1
    by_bucket: Mapping[str, Served] = field(default_factory=lambda: MappingProxyType({}))
    by_uid: Mapping[str, Served] = field(default_factory=lambda: MappingProxyType({}))


class Registry:
    """Holds the snapshot. `apply` is called with each state that arrives, on the event loop; catalog files are opened in
    threads."""

    def __init__(self, cluster_uid: str, catalog: Catalog, make_origin: MakeOrigin) -> None:
        self.snapshot = Snapshot()
        self._cluster_uid = cluster_uid
        self._catalog = catalog
        self._origins = Origins(make_origin)
        self._changing = asyncio.Lock()

    async def apply(self, state: ClusterState) -> bool:
        """Serves `state` from now on -> whether it is newer than the one before. Raises ConfigError for another
        cluster's."""
        if state.cluster_uid != self._cluster_uid:
            raise ConfigError(f"state is for cluster {state.cluster_uid}, this member belongs to {self._cluster_uid}")
        async with self._changing:
            if state.version < self.snapshot.version:
                return False
            self._origins.want([source for dataset in state.datasets for source in dataset.sources])
            await self._serve(state.version, state.datasets)
        return True

    async def reopen(self) -> None:
        """Looks again for heads that could not be served: their files may have come, or been healed."""
        async with self._changing:
            served = self.snapshot.by_uid.values()
            if any(one.head is None and one.state.head for one in served):
                await self._serve(self.snapshot.version, [one.state for one in served])

    def named(self) -> Collection[CommitId] | None:
        """Every commit that a Dataset names; None before the first state."""
        if self.snapshot.version < 0:
            return None
        states = [one.state for one in self.snapshot.by_uid.values()]
        return {CommitId(name) for state in states for name in (state.head, state.latest, *state.retained) if name}

    async def commit(self, commit: CommitId) -> Commit:
        """A commit some Dataset names as head or retained. Raises NotFound, also where its files are not here."""
        if commit not in (self.named() or ()):
            raise NotFound(f"commit {commit} is of no Dataset here, or no longer retained")
        return await asyncio.to_thread(self._catalog.commit, commit)

    def resolve(self, uid: str, commit: str = "") -> ResolvedCommit:
        """The commit that a new mount of a Dataset shows, or `commit` if the Dataset still has it. Blocking. Raises NotFound,
        CatalogCorrupt."""
        state = self.served(uid).state
        wanted = commit or state.latest or state.head
        if wanted is None:
            raise NotFound(f"Dataset {state.namespace}/{state.name} has no commit yet: its first sync has not ended")
        if wanted not in (state.latest, state.head, *state.retained):
            raise NotFound(
                f"Dataset {state.namespace}/{state.name} no longer has commit {wanted}; `forebay commits` lists"
            )
        found = self._catalog.commit(CommitId(wanted))
        return ResolvedCommit(dataset_uid=uid, commit=wanted, files=found.file_count, bytes=found.total_bytes)

    def commit_of(self, uid: str, commit: CommitId | None) -> Commit:
        """A Dataset's commit; None: the one that a new mount shows. Raises NotFound, CatalogCorrupt."""
        return self._catalog.commit(CommitId(self.resolve(uid, commit or "").commit))

    def origin(self, identity: str) -> Origin:
        """Raises NotFound for an origin that no Dataset names."""
        return self._origins.by_identity(identity)

    @property
    def origins(self) -> Mapping[str, Origin]:
        """By identity."""
        return self._origins.found

    def origins_of(self, dataset: DatasetState) -> Sequence[tuple[Source, Origin]]:
        return [(source, self._origins.of(source)) for source in dataset.sources]

    def served(self, uid: str) -> Served:
        one = self.snapshot.by_uid.get(uid)
        if one is None:
            raise NotFound(f"no Dataset with UID {uid} is served here; is it applied, and its clusterRef this cluster?")
        return one

    async def aclose(self) -> None:
        await self._origins.aclose()

    async def _serve(self, version: int, datasets: Sequence[DatasetState]) -> None:
        heads = await asyncio.to_thread(lambda: [self._head(dataset) for dataset in datasets])
        served = [Served(dataset, head) for dataset, head in zip(datasets, heads, strict=True)]
        self.snapshot = Snapshot(
            version,
            MappingProxyType({one.state.bucket: one for one in served}),
            MappingProxyType({one.state.uid: one for one in served}),
        )

    def _head(self, dataset: DatasetState) -> Commit | None:
        """Blocking."""
        if dataset.head is None:
            return None
        before = self.snapshot.by_uid.get(dataset.uid)
        same = before is not None and before.state.head == dataset.head
        if before and before.head and same:
            return before.head
        try:
            return self._catalog.commit(CommitId(dataset.head))
        except (NotFound, CatalogCorrupt, StoreError) as exc:
            # not here yet, or damaged: the report says that no head is served
            if not same:
                extra = {"dataset": dataset.name, "commit": dataset.head, "reason": str(exc)}
                log.warning("head not served", extra=extra)
            return None


class Origins:
    """Origins by source, made once for each distinct (place, credentials) and kept until `aclose`: a fill may still run
    on one whose Dataset is gone."""

    def __init__(self, make: MakeOrigin) -> None:
        self._make = make
        self._made: dict[str, Origin] = {}
        self.found: dict[str, Origin] = {}
        """By identity."""

    def want(self, sources: Sequence[Source]) -> None:
        """Makes what is missing; the newest credentials of a place win. A source that cannot be made is left out: reads
        and syncs of it say why."""
        for source in sources:
            try:
                origin = self.of(source)
            except ForebayError:
                continue
            self.found[origin.identity] = origin

    def of(self, source: Source) -> Origin:
        place = source.model_dump_json(include={"s3", "directory", "credentials"})
        if place not in self._made:
            self._made[place] = self._make(source)
        return self._made[place]

    def by_identity(self, identity: str) -> Origin:
        origin = self.found.get(identity)
        if origin is None:
            raise NotFound(f"no Dataset names origin {identity} any more; apply one whose source lists it")
        return origin

    async def aclose(self) -> None:
        for origin in self._made.values():
            await origin.aclose()
