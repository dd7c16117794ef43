import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.mount import wire

SIZES = [3 << 20, 2 << 20, 5 << 30]


def message(opcode: int, node: int = 1, body: bytes = b"", unique: int = 7) -> bytes:
    return wire.IN.pack(wire.IN.size + len(body), opcode, unique, node, 0, 0, 0, 0, 0) + body


def status(reply: bytes | None) -> int:
    assert reply is not None
    length, number, unique = wire.OUT.unpack_from(reply)
    assert (length, unique) == (len(reply), 7)
    return -number


def ask(opcode: int, node: int = 1, body: bytes = b"") -> bytes | None:
    return wire.DeviceTree(SIZES).answer(wire.parse(message(opcode, node, body)))


@pytest.mark.parametrize(
    ("name", "node"), [(b"0\0", 2), (b"2\0", 4), (b"3\0", 0), (b"00\0", 0), (b"-1\0", 0), (b"\xb2\0", 0), (b"x\0", 0)]
)
def test_look_up_finds_devices_by_their_number(name: bytes, node: int) -> None:
    reply = ask(wire.LOOKUP, 1, name)
    assert status(reply) == (0 if node else errno.ENOENT)
    assert reply is not None
    assert not node or struct.unpack_from("<Q", reply, 16)[0] == node


@pytest.mark.parametrize(("node", "size"), [(1, 0), (2, SIZES[0]), (4, SIZES[2])])
def test_attributes_tell_sizes(node: int, size: int) -> None:
    reply = ask(wire.GETATTR, node)
    assert status(reply) == 0
    assert reply is not None
    assert struct.unpack_from("<QQ", reply, 32) == (node, size)


@pytest.mark.parametrize("node", [0, 5, 1 << 63])
def test_nodes_that_are_not_there(node: int) -> None:
    assert status(ask(wire.GETATTR, node)) == errno.ENOENT
    assert status(ask(wire.OPEN, node, bytes(8))) == errno.ENOENT


@pytest.mark.parametrize(("flags", "expected"), [(0, 0), (1, errno.EROFS), (2, errno.EROFS)])
def test_devices_open_for_reading_only(flags: int, expected: int) -> None:
    assert status(ask(wire.OPEN, 2, struct.pack("<II", flags, 0))) == expected


def test_forget_and_interrupt_have_no_answer() -> None:
    assert [ask(opcode) for opcode in (wire.FORGET, wire.BATCH_FORGET, wire.INTERRUPT)] == [None] * 3


def test_what_is_not_known_is_refused() -> None:
    assert status(ask(9999)) == errno.ENOSYS


def init(major: int = 7, minor: int = 45, flags: int = 0xFFFFFFFF, more: int = 0xFFFFFFFF) -> wire.Request:
    return wire.parse(message(wire.INIT, 0, struct.pack("<IIIII44x", major, minor, 1 << 20, flags, more)))


def test_init_agrees_on_large_asynchronous_direct_reads() -> None:
    agreement = wire.agree(init())
    assert agreement.resend
    assert len(agreement.reply) == 16 + 64
    _, minor, _, flags, background, _, _, _, pages = struct.unpack_from("<IIIIHHIIH", agreement.reply, 16)
    assert (minor, background, pages) == (41, 1024, 256)
    assert flags & (1 << 15)
    assert flags & (1 << 22)


def test_init_of_a_kernel_without_resend() -> None:
    assert not wire.agree(init(more=0)).resend


@pytest.mark.parametrize(
    "request_",
    [init(major=8), init(minor=20), init(flags=0), wire.parse(message(wire.LOOKUP)), wire.parse(message(26))],
)
def test_init_refuses_what_cannot_work(request_: wire.Request) -> None:
    with pytest.raises(ValueError, match="FUSE"):
        wire.agree(request_)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    try:
        wire.parse(data)
    except ValueError:
        return


@given(opcode=st.integers(0, 60), node=st.integers(0, 2**64 - 1), body=st.binary(max_size=100))
def test_every_request_gets_a_whole_reply_or_none(opcode: int, node: int, body: bytes) -> None:
    reply = ask(opcode, node, body)
    if reply is None:
        assert opcode in (wire.FORGET, wire.BATCH_FORGET, wire.INTERRUPT)
    else:
        assert wire.OUT.unpack_from(reply)[0] == len(reply)
