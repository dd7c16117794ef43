"""Brings back what an agent that crashed or was restarted no longer shows, and forgets volumes that are long idle.

A path that was mounted again is seen by containers that start from then on; one that runs has its own view of the old mount.
"""

import asyncio
import logging
import os

from forebay_cache.csi.records import Volume
from forebay_cache.csi.volumes import Volumes
from forebay_cache.model.errors import ForebayError, TargetGone

log = logging.getLogger("forebay.csi")


class Healing:
    """`run` is a task of the driver's."""

    def __init__(self, volumes: Volumes, every_s: float) -> None:
        self._volumes = volumes
        self._every_s = every_s
        self._said: dict[str, str] = {}
        """Last failure by volume, so that each is logged once."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Never raises ForebayError."""
        try:
            shown = {mount.target: mount.commit for mount in await self._volumes.agent.mounts()}
        except ForebayError as exc:
            self._say("", str(exc))
            return
        self._said.pop("", None)
        async with asyncio.TaskGroup() as group:
            for volume in self._volumes.records.all():
                missing = [path for path in volume.paths if shown.get(_real(path)) != volume.resolved.commit]
                if missing or self._volumes.is_over(volume):
                    group.create_task(self._tend(volume, missing))
        self._said = {volume_id: said for volume_id, said in self._said.items() if self._volumes.records.get(volume_id)}

    async def _tend(self, volume: Volume, missing: list[str]) -> None:
        try:
            await self._volumes.alone(volume.id, lambda: self._heal(volume.id, missing))
            self._said.pop(volume.id, None)
        except ForebayError as exc:
            self._say(volume.id, str(exc))

    async def _heal(self, volume_id: str, missing: list[str]) -> None:
        """Staging paths come first in `missing`: the others are views of them."""
        volume = self._volumes.records.get(volume_id)
        for path in missing:
            if volume is None or path not in volume.paths:
                continue  # given back meanwhile
            try:
                volume = await self._volumes.mount(volume, path)
                log.info("mounted again", extra={"volume": volume_id, "target": path, "commit": volume.resolved.commit})
            except TargetGone:
                volume = volume.without(path, self._volumes.limits.now())
                log.info("its pod is gone", extra={"volume": volume_id, "target": path})
            self._volumes.records.put(volume)
        if volume is not None and self._volumes.is_over(volume):
            self._volumes.records.remove(volume_id)

    def _say(self, volume_id: str, text: str) -> None:
        if self._said.get(volume_id) != text:
            self._said[volume_id] = text
            log.warning("mounts are not looked after", extra={"volume": volume_id, "detail": text})


def _real(path: str) -> str:
    """As the agent names it. What is mounted there is not touched."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
