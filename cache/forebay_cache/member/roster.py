"""Who the members of this cluster are, as far as this one knows: the newest epoch that anyone gave it, kept beside the store
so that a restart goes on by it."""

import asyncio
import logging

from pydantic import ValidationError

from forebay_cache.contract.membership import Membership
from forebay_cache.member.durable import save
from forebay_cache.model.errors import MembershipRefused
from forebay_cache.model.ids import MemberId
from forebay_cache.placement.adoption import adopt
from forebay_cache.placement.lookup import Placement

log = logging.getLogger("forebay.roster")


class Roster:
    """`placement` is None until the first epoch came: then this member is alone."""

    def __init__(self, cluster_uid: str, path: str) -> None:
        """Reads what was kept. Blocking. One that cannot be used is told and forgotten: the operator gives it anew."""
        self._cluster_uid, self._path = cluster_uid, path
        self._saving = asyncio.Lock()
        self.placement = self._kept()

    @property
    def epoch(self) -> int:
        """0: none."""
        return self.placement.epoch if self.placement else 0

    def peer_address(self, member: MemberId) -> tuple[str, int] | None:
        """Where a member answers others; None: nowhere, as far as is known."""
        entry = self.placement.members.get(member) if self.placement else None
        host, _, port = entry.addresses.peer.rpartition(":") if entry else ("", "", "")
        return (host.strip("[]"), int(port)) if host and port.isdecimal() else None

    async def offer(self, membership: Membership) -> None:
        """Goes by it from now on, if it is newer. Raises MembershipRefused and its kinds; StoreFull, StoreFailed, when it
        counts all the same, until a restart."""
        before = self.placement
        self.placement = adopt(before, membership, self._cluster_uid)
        if self.placement is before:
            return
        log.info("membership", extra={"epoch": membership.epoch, "members": len(membership.members)})
        async with self._saving:
            await asyncio.to_thread(save, self._path, self.placement.membership, "keeping the membership")

    def _kept(self) -> Placement | None:
        try:
            with open(self._path, "rb") as file:
                return adopt(None, Membership.model_validate_json(file.read()), self._cluster_uid)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, MembershipRefused) as exc:
            why = "not a membership" if isinstance(exc, ValidationError) else str(exc)
            log.warning("membership not read", extra={"file": self._path, "reason": why})
            return None
