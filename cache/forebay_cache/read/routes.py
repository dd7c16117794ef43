"""Who is asked for what the local store lacks, and what an answer leads to. Pure.

Two rules make loops impossible: only a chunk's owner is asked to bring it, and an owner asks the previous owner for what its
store has, nothing more.
"""

from dataclasses import dataclass

from forebay_cache.model.errors import ForebayError, OriginThrottled, PartGone
from forebay_cache.model.ids import ChunkId, MemberId
from forebay_cache.placement.lookup import Placement
from forebay_cache.transfer.base import Busy, Other, Reason, Refused

BUSY_TRIES = 30
"""Times that a busy member is asked again, some 5 s in all, before the origin is."""
LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Here:
    """This member brings the chunk. `previous`: who may have it in its store still."""

    previous: MemberId | None = None


@dataclass(frozen=True, slots=True)
class There:
    """The chunk's owner brings it; its bytes pass through here and are not kept."""

    owner: MemberId


def route(placement: Placement | None, me: MemberId, chunk: ChunkId) -> Here | There:
    """Without a placement this member is alone."""
    if placement is None:
        return Here()
    owner = placement.owner(chunk)
    if owner != me:
        return There(owner)
    previous = placement.previous_owner(chunk)
    return Here(previous if previous != me else None)


@dataclass(frozen=True, slots=True)
class Again:
    """Ask the same member after a pause."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Origin:
    """This member asks the origin itself, for this reader only."""


def after(answer: Other, tries: int) -> Again | Origin | ForebayError:
    """What follows when an owner, asked so many times, gives no bytes. An error is what the reader is told: what the origin
    said of the object is true for everyone, and an origin that asks for fewer requests gets no second asker."""
    match answer:
        case Busy(retry_after_s=pause_s) if tries < BUSY_TRIES:
            return Again(min(pause_s, LONGEST_PAUSE_S))
        case Refused(reason=Reason.GONE, message=message):
            return PartGone(message)
        case Refused(reason=Reason.THROTTLED, message=message):
            return OriginThrottled(message)
    return Origin()
