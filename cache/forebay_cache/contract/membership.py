"""The membership: who the members of a cluster are, and which of them owns each placement slot. JSON.

The operator writes it, a new epoch for every change of it, and an epoch exists only once the API server has taken it by
compare-and-swap. Members take the newer one from the operator or from each other. Members, agents and clients look owners up
in it; nobody but the operator computes a table, because a table depends on the one before it.
"""

import base64
import binascii
import hashlib
import sys
import zlib
from array import array
from typing import Literal

from pydantic import Field, field_validator

from forebay_cache.contract.config import Document

FORMAT = 1
SLOTS = 1 << 16
NOBODY = 0xFFFF
"""Stands for "no member" in a table."""
MEMBERS_LIMIT = 4096
"""Sixteen slots a member: beyond that, shares are too coarse."""

_STRIDE = 40503
"""2^16 divided by the golden ratio, odd: consecutive chunks lie far apart, and 65,536 of them meet every slot once."""
_TABLE_BYTES = 2 * SLOTS


def slot_of(segment: bytes, number: int) -> int:
    """Slot of chunk `number` of a segment. The segment id is itself a hash, so two of its bytes are one."""
    return (segment[0] << 8 | segment[1]) + number * _STRIDE & 0xFFFF


class Addresses(Document):
    """Where a member answers, each as host:port; empty: not served."""

    data: str = ""
    peer: str = ""
    admin: str = ""


class MemberEntry(Document):
    """One member. A member is its store: an empty store under an old name is another member."""

    id: str = Field(min_length=1)
    """UUID of the store."""
    name: str
    """Name of its pod: for messages and labels."""
    addresses: Addresses = Addresses()
    capacity_bytes: int = Field(ge=0)
    state: Literal["Joining", "Serving", "Leaving"]
    """Joining: owns slots, and asks their previous owners for what it lacks. Leaving: owns none, and still answers."""
    since_epoch: int = Field(default=0, ge=0)
    """First epoch in which the member is in this state."""


class Membership(Document):
    """One epoch. A table is SLOTS indexes of `members` or NOBODY, as `encode_table` writes it."""

    format: int = FORMAT
    """How the tables are written. A reader refuses a format that it does not know."""
    epoch: int = Field(ge=1)
    cluster_uid: str
    members: tuple[MemberEntry, ...] = Field(min_length=1, max_length=MEMBERS_LIMIT)
    """By id, each once."""
    owners: str
    previous: str
    """Who owned a slot before, until the hand-over to its owner is done."""
    table_hash: str
    """`hash_tables` of both."""

    @field_validator("members")
    @classmethod
    def _sorted(cls, members: tuple[MemberEntry, ...]) -> tuple[MemberEntry, ...]:
        ids = [member.id for member in members]
        if ids != sorted(set(ids)):
            raise ValueError("members must be sorted by id, each once")
        return members


def encode_table(table: "array[int]") -> str:
    """Base64 of zlib of the low bytes, then the high bytes: 20 KiB for 3 members, 110 KiB for 1,000."""
    raw = _raw(table)
    return base64.b64encode(zlib.compress(raw[::2] + raw[1::2])).decode("ascii")


def decode_table(text: str) -> "array[int]":
    """The table that `encode_table` wrote. Raises ValueError; never unpacks more than a table's size."""
    unpack = zlib.decompressobj()
    try:
        planes = unpack.decompress(base64.b64decode(text, validate=True), _TABLE_BYTES)
    except (binascii.Error, zlib.error) as exc:
        raise ValueError(f"a placement table cannot be unpacked: {exc}") from exc
    if len(planes) != _TABLE_BYTES or unpack.decompress(unpack.unconsumed_tail, 1) or not unpack.eof:
        raise ValueError(f"a placement table has other than {SLOTS} slots")
    raw = bytearray(_TABLE_BYTES)
    raw[::2], raw[1::2] = planes[:SLOTS], planes[SLOTS:]
    table = array("H", bytes(raw))
    if sys.byteorder == "big":
        table.byteswap()
    return table


def hash_tables(owners: "array[int]", previous: "array[int]") -> str:
    """SHA-256 of both tables as little-endian numbers, in hex: two builds of zlib may pack the same table differently."""
    return hashlib.sha256(_raw(owners) + _raw(previous)).hexdigest()


def _raw(table: "array[int]") -> bytes:
    if sys.byteorder == "little":
        return table.tobytes()
    swapped = array("H", table)
    swapped.byteswap()
    return swapped.tobytes()
