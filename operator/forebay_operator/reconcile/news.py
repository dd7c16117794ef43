"""What users must hear of in `kubectl describe`: the difference between two statuses, in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay_operator.api import conditions as words
from forebay_operator.api import v1alpha1 as api

Status = api.CacheClusterStatus | api.DatasetStatus
TOLD = (
    *(words.CLUSTER_FOUND, words.BUCKET_UNIQUE, words.CREDENTIALS_VALID, words.ORIGIN_REACHABLE, words.SYNCED),
    *(words.PIN_KEPT, words.KEYS_MOUNTABLE, words.APPLIED, words.READY),
)
"""Conditions that matter when they are not True; causes first, for each reason is told once."""
ON_THE_WAY = frozenset(("NeverSynced", "Running", "NoMembers"))
"""Reasons why not that are how everything begins, or what was asked for."""
ONLY_AFTER_TRUE = frozenset(("MembersUnready",))
"""Bad news where it was better before; else on the way."""


@dataclass(frozen=True, slots=True)
class News:
    """`reason` is a stable word; news of the same reason and `about` is one series."""

    reason: str
    message: str
    warning: bool = True
    about: str = ""


def news(before: Status, after: Status) -> Sequence[News]:
    """Nothing where nothing changed: times and counters are no news."""
    told: dict[tuple[str, str], News] = {}
    for one in (*_conditions(before, after), *_restarts(before, after)):
        told.setdefault((one.reason, one.about), one)
    return list(told.values())


def _conditions(before: Status, after: Status) -> Sequence[News]:
    was, now = ({one.type: one for one in status.conditions} for status in (before, after))
    found = []
    for name in TOLD:
        old, new = was.get(name), now.get(name)
        if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
            continue
        if new.status == words.FALSE and not _expected(new.reason, old.status if old else ""):
            found.append(News(new.reason, new.message))
        elif name == words.READY and new.status == words.TRUE and (old is None or old.status != words.TRUE):
            found.append(News(new.reason, new.message, warning=False))
    return found


def _expected(reason: str, status: str) -> bool:
    return reason in ON_THE_WAY or (reason in ONLY_AFTER_TRUE and status != words.TRUE)


def _restarts(before: Status, after: Status) -> Sequence[News]:
    if not (isinstance(before, api.CacheClusterStatus) and isinstance(after, api.CacheClusterStatus)):
        return ()
    was: Mapping[str, int] = {one.name: one.restarts for one in before.members}
    return [
        News("MemberRestarted", f"{one.name} was started again, {one.restarts} times so far", about=one.name)
        for one in after.members
        if one.restarts > was.get(one.name, one.restarts)
    ]
