"""How two members come to trust each other on a new connection, and agree on a version. Pure; nonces are given.

The listener sends HELLO, the caller PROOF, the listener WELCOME. Both prove by HMAC-SHA256 over all that was said before that
they have the cluster's key; it never crosses the wire, and a recorded greeting proves nothing later. The caller names whom
it means to reach: an address may be another member's by now. What follows is not encrypted.
"""

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from forebay_cache.model.errors import MemberBadFrame
from forebay_cache.model.ids import MemberId

OLDEST, NEWEST = 1, 2
"""Versions of the frames that this program speaks. 2 knows catalog files."""
NONCE_SIZE = PROOF_SIZE = 32
NAME_LIMIT = 64
_MAGIC = b"forebayP"
_HELLO = struct.Struct("<8sHH32s")
_PROOF = struct.Struct("<8sH32s64s64s")
_WELCOME = struct.Struct("<8sH")
HELLO_SIZE = _HELLO.size
CALL_SIZE = _PROOF.size + PROOF_SIZE
WELCOME_SIZE = _WELCOME.size + PROOF_SIZE


class Verdict(IntEnum):
    WELCOME = 0
    NO_VERSION = 1
    NO_PROOF = 2
    OTHER_MEMBER = 3


_VERDICTS = frozenset(map(int, Verdict))


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller said of itself. `text` is all but the proof."""

    version: int
    caller: MemberId
    callee: MemberId
    text: bytes
    proof: bytes


def put_hello(nonce: bytes) -> bytes:
    return _HELLO.pack(_MAGIC, OLDEST, NEWEST, nonce)


def choose_version(hello: bytes | bytearray) -> int:
    """The newest version that both speak; 0: there is none. Raises MemberBadFrame for what is no HELLO."""
    magic, oldest, newest, _ = _HELLO.unpack(hello)
    if magic != _MAGIC:
        raise MemberBadFrame("whoever answers there is no member")
    version: int = min(newest, NEWEST)
    return version if version >= max(oldest, OLDEST) else 0


def put_call(key: bytes, hello: bytes, version: int, nonce: bytes, names: tuple[MemberId, MemberId]) -> bytes:
    """`names`: caller and callee."""
    text = _PROOF.pack(_MAGIC, version, nonce, *(_name(name) for name in names))
    return text + _prove(key, b"caller", hello, text)


def take_call(data: bytes) -> Call:
    """Raises MemberBadFrame."""
    magic, version, _, caller, callee = _PROOF.unpack_from(data)
    if magic != _MAGIC:
        raise MemberBadFrame("whoever calls is no member")
    try:
        names = [MemberId(name.rstrip(b"\0").decode("ascii")) for name in (caller, callee)]
    except UnicodeDecodeError as exc:
        raise MemberBadFrame("a caller's name is not ASCII") from exc
    return Call(version, names[0], names[1], data[: _PROOF.size], data[_PROOF.size :])


def judge(keys: Sequence[bytes], me: MemberId, hello: bytes, call: Call) -> tuple[Verdict, bytes]:
    """-> what to say, and the key that the caller has (b"": none of ours)."""
    key = next((one for one in keys if hmac.compare_digest(_prove(one, b"caller", hello, call.text), call.proof)), b"")
    if not key:
        return Verdict.NO_PROOF, b""
    if not OLDEST <= call.version <= NEWEST:
        return Verdict.NO_VERSION, key
    return (Verdict.WELCOME if call.callee == me else Verdict.OTHER_MEMBER), key


def put_welcome(verdict: Verdict, key: bytes, hello: bytes, call: Call) -> bytes:
    text = _WELCOME.pack(_MAGIC, verdict)
    proof = _prove(key, b"callee", hello, call.text + text) if key else bytes(PROOF_SIZE)
    return text + proof


def take_welcome(data: bytes, key: bytes, hello: bytes, call: bytes) -> Verdict:
    """`call`: what the caller sent. Raises MemberBadFrame for what is no WELCOME of a member with that key."""
    magic, verdict = _WELCOME.unpack_from(data)
    if magic != _MAGIC or verdict not in _VERDICTS:
        raise MemberBadFrame("whoever answers there is no member")
    if verdict == Verdict.NO_PROOF:
        return Verdict.NO_PROOF
    proof = _prove(key, b"callee", hello, call[: _PROOF.size] + data[: _WELCOME.size])
    if not hmac.compare_digest(proof, data[_WELCOME.size :]):
        raise MemberBadFrame("whoever answers there does not have the cluster's key")
    return Verdict(verdict)


def _prove(key: bytes, role: bytes, hello: bytes, text: bytes) -> bytes:
    return hmac.digest(key, b"forebay peer " + role + b"\0" + hello + text, "sha256")


def _name(member: MemberId) -> bytes:
    name = member.encode("ascii")
    if len(name) > NAME_LIMIT:
        raise ValueError(f"a member's name of {len(name)} bytes; {NAME_LIMIT} are allowed")
    return name
