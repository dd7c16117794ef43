"""Deletes the catalog files that nothing needs any more, now and then.

Who still needs a commit is known to others (the operator names heads and retained commits, a sync proposes one, an agent mounts
one), and what they say arrives late. So a commit goes only when it was wanted by nobody for GRACE_S while this process looked
on: a restart begins to count anew.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial

from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.garbage import collect
from forebay_cache.model.errors import ForebayError
from forebay_cache.model.ids import CommitId

GRACE_S = 3600.0
"""Listings that began with a superseded commit may still go on."""
EVERY_S, AGAIN_S = 600.0, 60.0
"""Between two cleanings; and after one that a running sync kept from its work."""
log = logging.getLogger("forebay.catalog")


class Wants:
    """Which commits have to stay. `now` is monotonic."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._missed: dict[CommitId, float] = {}
        """Since when nobody wants them."""

    def stays(self, named: Collection[CommitId], commit: CommitId) -> bool:
        if commit in named:
            self._missed.pop(commit, None)
            return True
        return self._now() - self._missed.setdefault(commit, self._now()) < GRACE_S

    def forget(self, here: Collection[CommitId]) -> None:
        """Only these are here."""
        self._missed = {commit: since for commit, since in self._missed.items() if commit in here}


class Cleaning:
    """`named()`: the commits that somebody wants now; None while that is not known."""

    def __init__(
        self, files: CatalogFiles, named: Callable[[], Collection[CommitId] | None], now: Callable[[], float]
    ) -> None:
        self._files = files
        self._named = named
        self._wants = Wants(now)
        self._complaint = ""

    async def run(self) -> None:
        """Until cancelled; a cleaning under way then ends by itself, in its thread."""
        while True:
            done = await self.clean()
            await asyncio.sleep(EVERY_S if done else AGAIN_S)

    async def clean(self) -> bool:
        """False: not now, try again soon."""
        named = self._named()
        if named is None:
            return False
        try:
            count = await asyncio.to_thread(self._collect, named)
        except ForebayError as exc:
            if str(exc) != self._complaint:
                self._complaint = str(exc)
                log.warning("catalog not cleaned", extra={"reason": self._complaint})
            return True
        self._complaint = ""
        if count:
            log.info("catalog cleaned", extra={"files": count})
        return count is not None

    def _collect(self, named: Collection[CommitId]) -> int | None:
        count = collect(self._files, partial(self._wants.stays, named))
        with disk("listing commits"):
            self._wants.forget(self._files.commit_ids())
        return count
