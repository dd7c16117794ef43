"""The read path on one screen: local store, else the flight of the chunk, which asks other members, then the origin.

`pieces` never holds bytes: it hands out descriptors and offsets, and the caller moves the bytes with sendfile or pread.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, closing, suppress

from forebay_cache.catalog.base import Catalog, Entry, Parts
from forebay_cache.model.errors import ChunkCorrupt, ForebayError, OriginError, PartGone, StoreError
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, Extent, chunk_length
from forebay_cache.model.ranges import Span, spans
from forebay_cache.origin.base import Match, Origin
from forebay_cache.read.ancestors import Ancestors
from forebay_cache.read.background import Background
from forebay_cache.read.base import Lost, Piece
from forebay_cache.read.counters import ReadCounters
from forebay_cache.read.fetch import copy_body, open_body
from forebay_cache.read.flight import Flight
from forebay_cache.read.flights import Flights
from forebay_cache.read.gone import GoneParts
from forebay_cache.read.jobs import Job, jobs, narrow
from forebay_cache.read.peers import Peers
from forebay_cache.read.readahead import ReadAhead
from forebay_cache.read.scratch import ScratchFill
from forebay_cache.read.tables import Tables
from forebay_cache.read.writes import Writer
from forebay_cache.store.base import Fill, Lease, Store

log = logging.getLogger("forebay.read")
PROGRESS_TIMEOUT_S = 60.0
"""Longest wait for the next byte of a span; the origin's own deadlines are shorter."""
PASSING_LIMIT = 32
"""Chunks that pass through memory at once because the store cannot take them: 256 MiB. As many pass because they are another
member's."""
SAY_AGAIN_S = 60.0
"""Between two records of a store that fails: each read would say the same."""
REST_CHUNKS, REST_AT_ONCE = 3, 8
"""Chunks that the background fills up at once, and parts of each: few, so that readers find the origin free."""


class ChunkReader:
    """Implements read.base.Reader and Loader. Bound to one event loop. `origin(identity)` raises NotFound for an origin that no
    Dataset names any more. `pool` runs the store's blocking calls. `peers`: other members; None: this one is alone."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        origin: Callable[[str], Origin],
        pool: Executor,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._tables = Tables(catalog, pool)
        self._origin = origin
        self._now = now
        self._silent_until = -SAY_AGAIN_S
        self._writer = Writer(pool, now)
        self._ancestors = Ancestors(store, catalog, pool, self._writer)
        self.counters = ReadCounters()
        self._gone = GoneParts(now)
        self._flights = Flights(store.reserve, self._run, pool)
        self._passing = Flights(lambda chunk, _: ScratchFill(str(chunk)), self._run, pool)
        self._memory = asyncio.Semaphore(PASSING_LIMIT)
        self.peers: Peers | None = None
        self._foreign = Flights(lambda chunk, _: ScratchFill(str(chunk)), self._run, pool)
        self._foreign_memory = asyncio.Semaphore(PASSING_LIMIT)
        self._ahead = ReadAhead()
        self._reading_ahead = Background(self._fetch_whole, workers=8, queued=64)
        self._filling_up = Background(self._fetch_rest, workers=REST_CHUNKS, queued=256)

    def lease(self, span: Span) -> Lease | None:
        try:
            lease = self._store.lease(span.chunk, span.start, span.stop)
        except ChunkCorrupt:
            return None  # quarantined and told by the store; a fill brings it back
        except StoreError as exc:
            self._pass_by(exc)
            return None
        if lease is None:
            return None
        self.counters.hits += 1
        self.counters.hit_bytes += span.length
        self._store.touch(span.chunk, span.length)
        if not span.start and (parts := self._tables.opened(span.chunk.segment)):
            self._read_ahead(parts, span.chunk)
        return lease

    def accessed(self, chunk: ChunkId, requests: int, size: int) -> None:
        """Counts hits that a face answered from a lease it still held."""
        self.counters.hits += requests
        self.counters.hit_bytes += size
        self._store.touch(chunk, size)

    async def pieces(self, extent: Extent) -> AsyncIterator[Piece]:
        for span in spans(extent):
            lease = self.lease(span)
            if lease:
                with closing(lease):
                    yield Piece(lease.fd, span.start, span.length, lease.sums_at)
                continue
            self.counters.misses += 1
            self.counters.miss_bytes += span.length
            self._read_ahead(await self._tables.of(span.chunk.segment), span.chunk)
            missed = self.brought(span) if self._owns(span.chunk) else self._of_another(span)
            async with aclosing(missed):
                async for piece in missed:
                    yield piece

    async def headers(self, entry: Entry) -> Mapping[str, str]:
        if not entry.size:
            return {}  # an empty file has no part, hence no record
        parts = await self._tables.of(entry.extent.segment)
        part = parts.at(entry.extent.offset)
        known = self._catalog.headers(parts.segment, part.index)
        if known is not None:
            return known
        head = await self._origin(parts.origin).head(part.key, Match(part.etag, part.version, part.size))
        self._catalog.record_headers(parts.segment, part.index, head.headers)
        return head.headers

    def holds(self, span: Span) -> bool:
        lease = self._store.lease(span.chunk, span.start, span.stop)
        if lease:
            lease.close()
        return lease is not None

    async def load(self, wanted: Sequence[Span]) -> Sequence[Lost]:
        """A few requests at a time; evicts where needed."""
        chunk = wanted[0].chunk
        parts = await self._tables.of(chunk.segment)
        absent = (job for span in wanted for job in jobs(parts, chunk, span.start, span.stop))
        rest, lost = iter(dict.fromkeys(absent)), list[Lost]()
        length = chunk_length(parts.size, chunk.number)
        async with self._flights.join(chunk, length) as flight, asyncio.TaskGroup() as lanes:
            for _ in range(REST_AT_ONCE):
                lanes.create_task(_load_each(rest, flight, lost))
        return lost

    def refill(self, chunk: ChunkId) -> None:
        """Fetches a chunk in the background, where there is room, if it is this member's. Raises NotFound, CatalogCorrupt."""
        if not self._owns(chunk):
            return
        length = chunk_length(self._catalog.parts(chunk.segment).size, chunk.number)
        self._filling_up.offer(Span(chunk, 0, length))

    async def aclose(self) -> None:
        """Ends what runs in the background and lands every flight. Readers must be gone."""
        await self._reading_ahead.aclose()
        await self._filling_up.aclose()
        await self._flights.aclose()
        await self._passing.aclose()
        await self._foreign.aclose()

    def _owns(self, chunk: ChunkId) -> bool:
        return self.peers is None or self.peers.owns(chunk)

    async def _of_another(self, span: Span) -> AsyncGenerator[Piece, None]:
        """The span's bytes by their owner, or by the origin where that does not answer; they pass through memory."""
        async with self._foreign_memory, aclosing(self._by(self._foreign, span)) as pieces:
            async for piece in pieces:
                yield piece

    async def brought(self, span: Span) -> AsyncGenerator[Piece, None]:
        """The span's bytes by a flight into the store; what the store cannot or shall not take passes through memory."""
        at = span.start
        try:
            if await self._admits(span.chunk, span.length):
                async with aclosing(self._by(self._flights, span)) as stored:
                    async for piece in stored:
                        yield piece
                        at = piece.offset + piece.length
                return
        except StoreError as exc:
            self._pass_by(exc)
        async with self._memory, aclosing(self._by(self._passing, Span(span.chunk, at, span.stop))) as passing:
            async for piece in passing:
                yield piece

    async def _admits(self, chunk: ChunkId, size: int) -> bool:
        """Whether the store wants the chunk; counts the read of `size` bytes."""
        parts = await self._tables.of(chunk.segment)
        return self._store.admits(chunk, size, chunk_length(parts.size, chunk.number))

    def _pass_by(self, error: StoreError) -> None:
        if self._now() >= self._silent_until:
            self._silent_until = self._now() + SAY_AGAIN_S
            log.warning("the store failed; reading past it", extra={"error": str(error)})

    async def _by(self, flights: Flights, span: Span) -> AsyncGenerator[Piece, None]:
        parts = await self._tables.of(span.chunk.segment)
        wanted = jobs(parts, span.chunk, span.start, span.stop)
        if flights is not self._flights:
            wanted = [narrow(job, span.start, span.stop) for job in wanted]
        length = chunk_length(parts.size, span.chunk.number)
        async with flights.join(span.chunk, length) as flight:
            flight.want(wanted)
            try:
                with closing(flight.fill.lease()) as lease:
                    ready = flight.ready(wanted, span.start, span.stop, PROGRESS_TIMEOUT_S)
                    async with aclosing(ready) as runs:
                        async for start, stop in runs:
                            yield Piece(lease.fd, start, stop - start, lease.sums_at)
            except BaseException:
                flight.abandon(wanted)
                raise
            flight.release(wanted)
        if flights is self._flights and len(wanted) < len(parts) and self._store.has_room(length):
            self._filling_up.offer(Span(span.chunk, 0, length))

    async def _run(self, job: Job, fill: Fill, written: Callable[[], None]) -> None:
        """What of the job is missing: copied from ancestors, else given by other members, else one GET."""
        rest = await self._rest(job, fill, written)
        if rest is None:
            return
        job = rest
        if copied := await self._ancestors.copy(job, fill):
            self.counters.copied_bytes += copied
            written()
            return
        self._gone.check(job)
        if self.peers is not None:
            await self._by_peers(self.peers, job, fill, written)
            rest = await self._rest(job, fill, written)
        if rest is not None:
            await self._get(rest, fill, written)

    async def _rest(self, job: Job, fill: Fill, written: Callable[[], None]) -> Job | None:
        """The part of the job that is missing: one that broke off goes on where it stopped. Zeros are written at once."""
        absent = fill.missing(job.start, job.stop)
        if not absent:
            return None
        job = narrow(job, absent[0][0], absent[-1][1])
        if job.first < job.last:
            return job
        await self._writer.write(fill, job.start, bytes(job.stop - job.start))
        written()
        return None

    async def _by_peers(self, peers: Peers, job: Job, fill: Fill, written: Callable[[], None]) -> None:
        async def write(at: int, data: memoryview) -> None:
            self.counters.peer_bytes += len(data)
            await self._writer.write(fill, at, data)
            written()

        try:
            await peers.bring(job, write)
        except PartGone as exc:
            self._gone.note(job, exc)
            raise

    async def _get(self, job: Job, fill: Fill, written: Callable[[], None]) -> None:
        """One GET into the fill: counted, its headers recorded, its object found gone remembered."""
        counters = self.counters.origin(job.origin)
        counters.requests += 1
        try:
            body = await open_body(self._origin(job.origin), job)
            if self._catalog.headers(job.segment, job.part.index) is None:
                self._catalog.record_headers(job.segment, job.part.index, body.head.headers)
            async with aclosing(copy_body(body, job, fill, self._writer, written)) as received:
                async for size in received:
                    counters.bytes += size  # as they come: a job whose last byte was read may be cancelled at once
        except PartGone as exc:
            self._gone.note(job, exc)
            raise
        except OriginError as exc:
            counters.errors += 1
            counters.message = str(exc)
            raise
        counters.message = ""

    def _read_ahead(self, parts: Parts, chunk: ChunkId) -> None:
        """Of large objects only: files read in any order meet neighbouring chunks of a packed segment all the time, and each
        would cost a GET for every file in it. There the rest of a chunk that is read is what comes ahead."""
        if len(parts) > 1:
            return
        size = parts.size
        for ahead in self._ahead.note(chunk, -(-size // CHUNK_SIZE)):
            self._reading_ahead.offer(Span(ahead, 0, chunk_length(size, ahead.number)))

    async def _fetch_whole(self, span: Span) -> None:
        """Read-ahead: into the store or not at all. The owner of another's chunk begins with all of it when it is asked for the
        first block."""
        if self.holds(span):
            return
        flights = self._flights if self._owns(span.chunk) else self._foreign
        if flights is self._foreign:
            span = Span(span.chunk, 0, BLOCK_SIZE)
        if flights is self._foreign or await self._admits(span.chunk, 0):
            async with aclosing(self._by(flights, span)) as pieces:
                async for _ in pieces:
                    pass

    async def _fetch_rest(self, span: Span) -> None:
        """The other parts of a chunk, a few at a time, and only while they push nothing else out."""
        parts = await self._tables.of(span.chunk.segment)
        rest = iter(jobs(parts, span.chunk, span.start, span.stop))
        async with self._flights.join(span.chunk, span.length) as flight, asyncio.TaskGroup() as lanes:
            for _ in range(REST_AT_ONCE):
                lanes.create_task(self._fetch_each(rest, flight))

    async def _fetch_each(self, rest: Iterator[Job], flight: Flight) -> None:
        for job in rest:
            if not self._store.has_room(job.stop - job.start):
                return
            with suppress(ForebayError):  # counted where it happened; whoever reads this part will ask, and be told
                await flight.bring(job)


async def _load_each(rest: Iterator[Job], flight: Flight, lost: list[Lost]) -> None:
    for job in rest:
        try:
            await flight.bring(job)
        except ForebayError as exc:
            lost.append(Lost(job.start, job.stop, exc))
