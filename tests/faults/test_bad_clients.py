"""Clients that are slow, rude, many or gone take nothing from the others, and leave nothing behind."""

import contextlib
import os
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from tests.faults.conftest import GOOD, House
from tests.rigs.house import DEADLINE_S, LARGE, brief, content, head, read_answer, same, wait_until

from forebay_cache.serve.base import Limits
from forebay_cache.serve.refusals import A_SECOND

GET_GOOD = head("/open/good.txt", "Host: h")
GET_LARGE = head("/open/falters.large", "Host: h")


@pytest.fixture(autouse=True)
def nothing_is_kept(house: House) -> Iterator[None]:
    """Descriptors of clients go with them."""
    house.member.get("/open/falters.large")
    before = descriptors(house.member.pid)
    yield
    wait_until(lambda: descriptors(house.member.pid) <= before + 4, "its descriptors are closed")
    house.good()


def descriptors(pid: int) -> int:
    return len([name for name in os.listdir(f"/proc/{pid}/fd") if is_socket(pid, name)])


def is_socket(pid: int, name: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    except OSError:
        return False


def test_a_body_that_falters_is_gone_on_with(house: House) -> None:
    found = house.member.get("/open/falters.large")
    assert found.status == 200
    assert same(found.body, "falters.large")


def test_a_body_that_ends_early_is_cut_short_and_never_padded(house: House) -> None:
    before = house.member.mark()
    with house.member.connect() as line, line.makefile("rb") as stream:
        line.sendall(head("/open/breaks-off.large", "Host: h"))
        found = read_answer(stream)
        assert found.headers["content-length"] == str(LARGE)
        assert 0 < len(found.body) <= 3 << 20
        assert content("breaks-off.large").startswith(found.body)
        assert stream.read() == b""
    (record,) = house.member.told(before)
    assert (record["event"], record["level"]) == ("answer cut short", "warning")
    assert "'breaks-off.large'" in record["reason"]
    came = re.search(r"broke off after (\d+) of 8388608 bytes", record["reason"])  # the last read before it may be lost
    assert came
    assert len(found.body) <= int(came[1]) <= 3 << 20


def test_an_origin_that_is_not_there_fails_misses_alone_and_its_return_heals(house: House) -> None:
    house.bucket.close()
    try:
        before = house.member.mark()
        found = house.member.get("/open/unreachable.large", "Range: bytes=5-9")
        assert (found.status, found.code) == (503, "OriginUnavailable")
        assert found.headers["retry-after"] == "2"
        assert all(word in found.message for word in ("'unreachable.large'", house.bucket.endpoint)), found.message
        (record,) = house.member.told(before)
        assert (record["event"], record["level"]) == ("request refused", "warning")
        house.good()
        assert same(house.member.get("/open/falters.large").body, "falters.large")
        assert house.member.answers("/readyz")
        (origin,) = house.member.report()["origins"]
        assert not origin["reachable"]
    finally:
        house.bucket.open()
    assert same(house.member.get("/open/unreachable.large").body, "unreachable.large")
    assert house.member.report()["origins"][0]["reachable"]


def test_a_flood_of_nonsense_does_not_fill_the_log(house: House) -> None:
    before, started = house.member.mark(), time.monotonic()
    with house.member.connect() as line, line.makefile("rb") as stream:
        sender = threading.Thread(target=line.sendall, args=(head("/open/nope", "Host: h") * 2000,))
        sender.start()
        assert all(read_answer(stream).code == "NoSuchKey" for _ in range(2000))
        sender.join()
    seconds = int(time.monotonic() - started) + 2
    assert A_SECOND <= len(house.member.told(before)) <= A_SECOND * seconds


def test_pipelined_requests_good_and_bad_are_answered_in_order(house: House) -> None:
    targets = {"/open/good.txt": 200, "/open/nope": 404, "/nowhere/k": 404, "/closed/good.txt": 403, "/open/%zz": 400}
    order = [*targets] * 100
    with house.member.connect() as line, line.makefile("rb") as stream:
        asked = b"".join(head(target, "Host: h") for target in order)
        sender = threading.Thread(target=line.sendall, args=(asked,))
        sender.start()
        for target in order:
            assert read_answer(stream).status == targets[target]
        sender.join()


@pytest.mark.parametrize(
    ("asked", "expected"), [(GET_GOOD, GOOD), (GET_LARGE, content("falters.large"))], ids=["small", "large"]
)
def test_a_client_that_closes_its_side_still_gets_its_answer(house: House, asked: bytes, expected: bytes) -> None:
    with house.member.connect() as line, line.makefile("rb") as stream:
        line.sendall(asked)
        line.shutdown(socket.SHUT_WR)
        found = read_answer(stream)
        assert (found.status, brief(found.body)) == (200, brief(expected))


def test_clients_that_stall_in_every_place_hold_nobody_up(house: House) -> None:
    """They are ended by their limits, which tests/cache/serve checks with short ones."""
    with contextlib.ExitStack() as stalled:
        for part in (b"", GET_GOOD[:10], GET_GOOD[:-2], GET_LARGE, GET_LARGE * 3, GET_GOOD + GET_LARGE):
            for _ in range(20):
                line = stalled.enter_context(house.member.connect())
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                line.sendall(part)
        for _ in range(50):
            house.serves()


def test_clients_that_reset_in_the_middle_leave_nothing(house: House) -> None:
    for asked in (GET_LARGE, GET_GOOD[:10], GET_LARGE * 3, head("/open/nope", "Host: h")) * 25:
        line = house.member.connect()
        line.sendall(asked)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()


def test_connections_over_the_limit_are_told_so_and_the_others_go_on(house: House) -> None:
    most = Limits().connections
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < most + 500:
        pytest.skip(f"needs {most + 500} descriptors; this machine allows {hard}")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as kept:
            lines = [kept.enter_context(house.member.connect()) for _ in range(most)]
            wait_until(lambda: descriptors(house.member.pid) >= most, "all are accepted")
            before = house.member.mark()
            with house.member.connect() as one, one.makefile("rb") as stream:
                found = read_answer(stream)
            assert (found.status, found.code, found.headers["retry-after"]) == (503, "SlowDown", "1")
            assert str(most) in found.message
            (record,) = house.member.told(before)
            assert (record["event"], record["level"]) == ("request refused", "warning")
            for line in (lines[0], lines[-1]):
                line.settimeout(DEADLINE_S)
                line.sendall(GET_GOOD)
                with line.makefile("rb") as stream:
                    assert read_answer(stream).body == GOOD
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: house.member.get("/open/good.txt").status == 200, "there is room again")
