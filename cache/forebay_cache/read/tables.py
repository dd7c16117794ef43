"""Parts tables for those who must not hold up the event loop: one that is opened first is read and held against its hash."""

import asyncio
from concurrent.futures import Executor

from forebay_cache.catalog.base import Catalog, Parts
from forebay_cache.model.ids import SegmentId


class Tables:
    """`pool` opens them."""

    def __init__(self, catalog: Catalog, pool: Executor) -> None:
        self._catalog = catalog
        self._pool = pool

    def opened(self, segment: SegmentId) -> Parts | None:
        """None where it is not open yet."""
        return self._catalog.opened(segment)

    async def of(self, segment: SegmentId) -> Parts:
        """Raises NotFound, CatalogCorrupt, StoreFailed."""
        found = self._catalog.opened(segment)
        if found is None:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._pool, self._catalog.parts, segment)
        return found
