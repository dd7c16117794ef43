"""Who has the key gets in, by both sides; who has not, does not."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.model.errors import MemberBadFrame
from forebay_cache.model.ids import MemberId
from forebay_cache.transfer.greeting import (
    CALL_SIZE,
    HELLO_SIZE,
    NEWEST,
    WELCOME_SIZE,
    Verdict,
    choose_version,
    judge,
    put_call,
    put_hello,
    put_welcome,
    take_call,
    take_welcome,
)

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ME, YOU = MemberId("me"), MemberId("you")
HELLO = put_hello(bytes(32))


def greet(ours: bytes, theirs: list[bytes], *, version: int = NEWEST, meant: MemberId = YOU) -> Verdict:
    call = put_call(ours, HELLO, version, b"n" * 32, (ME, meant))
    assert len(HELLO) == HELLO_SIZE
    assert len(call) == CALL_SIZE
    taken = take_call(call)
    assert (taken.caller, taken.callee, taken.version) == (ME, meant, version)
    verdict, key = judge(theirs, YOU, HELLO, taken)
    welcome = put_welcome(verdict, key, HELLO, taken)
    assert len(welcome) == WELCOME_SIZE
    return take_welcome(welcome, ours, HELLO, call)


def test_who_has_the_key_is_welcome() -> None:
    assert greet(KEY, [KEY]) is Verdict.WELCOME


def test_an_older_key_is_welcome_while_it_is_known() -> None:
    assert greet(KEY, [OTHER_KEY, KEY]) is Verdict.WELCOME


def test_who_has_another_key_is_not() -> None:
    assert greet(KEY, [OTHER_KEY]) is Verdict.NO_PROOF


def test_an_address_that_is_another_members_says_so() -> None:
    assert greet(KEY, [KEY], meant=MemberId("third")) is Verdict.OTHER_MEMBER


def test_a_version_that_nobody_speaks_is_refused() -> None:
    assert greet(KEY, [KEY], version=NEWEST + 1) is Verdict.NO_VERSION


@pytest.mark.parametrize(("oldest", "newest", "chosen"), [(1, 1, 1), (1, 9, NEWEST), (NEWEST + 1, 9, 0), (0, 0, 0)])
def test_the_newest_version_that_both_speak_is_chosen(oldest: int, newest: int, chosen: int) -> None:
    assert choose_version(struct.pack("<8sHH32s", b"forebayP", oldest, newest, bytes(32))) == chosen


def test_a_greeting_cannot_be_replayed() -> None:
    call = take_call(put_call(KEY, HELLO, NEWEST, b"n" * 32, (ME, YOU)))
    assert judge([KEY], YOU, put_hello(b"x" * 32), call)[0] is Verdict.NO_PROOF


def test_a_listener_without_the_key_is_found_out() -> None:
    call = put_call(KEY, HELLO, NEWEST, b"n" * 32, (ME, YOU))
    with pytest.raises(MemberBadFrame, match="key"):
        take_welcome(put_welcome(Verdict.WELCOME, OTHER_KEY, HELLO, take_call(call)), KEY, HELLO, call)


@given(st.integers(0, CALL_SIZE - 1), st.integers(0, 7))
def test_nothing_of_a_call_can_be_changed(at: int, bit: int) -> None:
    call = bytearray(put_call(KEY, HELLO, NEWEST, b"n" * 32, (ME, YOU)))
    call[at] ^= 1 << bit
    try:
        taken = take_call(bytes(call))
    except MemberBadFrame:
        return
    assert judge([KEY], YOU, HELLO, taken)[0] is Verdict.NO_PROOF


@given(st.binary(min_size=HELLO_SIZE, max_size=HELLO_SIZE))
def test_noise_is_no_hello(data: bytes) -> None:
    with pytest.raises(MemberBadFrame):
        choose_version(data)


@given(st.binary(min_size=WELCOME_SIZE, max_size=WELCOME_SIZE))
def test_noise_is_no_welcome(data: bytes) -> None:
    with pytest.raises(MemberBadFrame):
        take_welcome(data, KEY, HELLO, bytes(CALL_SIZE))


def test_a_name_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="64"):
        put_call(KEY, HELLO, NEWEST, bytes(32), (MemberId("x" * 65), YOU))
