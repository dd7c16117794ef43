"""The admin API's client against members that answer badly, late, or not at all. TLS itself: tests/operator/test_tls.py."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from forebay_operator import tls
from forebay_operator.members.base import SERVER_NAME
from forebay_operator.members.http import ANSWER_LIMIT, HttpMember, HttpMembers
from forebay_operator.model import MemberError, MemberUnavailable, Tls

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORITY = tls.mint_authority("main", dt.datetime.now(dt.UTC))
OPERATOR = tls.mint_leaf(AUTHORITY, "operator.forebay", dt.datetime.now(dt.UTC), server=False)


@pytest.fixture
def member(tmp_path: Path) -> Callable[..., object]:
    leaf = tls.mint_leaf(AUTHORITY, SERVER_NAME, dt.datetime.now(dt.UTC), server=True)
    (tmp_path / "pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")

    @asynccontextmanager
    async def made(answer: Answer, deadline_s: float = 5.0) -> AsyncIterator[HttpMember]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        members = HttpMembers(deadline_s)
        try:
            yield members.at("127.0.0.1", runner.addresses[0][1], OPERATOR)
        finally:
            await members.aclose()
            await runner.cleanup()

    return made


def says(status: int, text: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    return answer


@pytest.mark.parametrize(
    ("status", "text", "retry", "said"),
    [
        (404, '{"reason": "NotFound", "message": "no Dataset d"}', False, "no Dataset d"),
        (400, '{"reason": "Bad", "message": "field x"}', False, "field x"),
        (409, "not JSON", False, "HTTP 409"),
        (503, '{"reason": "NotReady", "message": "wait"}', True, "wait"),
        (502, "<html>", True, "HTTP 502"),
        (302, "elsewhere", False, "HTTP 302"),
        (200, "not JSON", False, "no MemberReport"),
        (200, '{"member": 3}', False, "no MemberReport"),
    ],
)
async def test_a_refusal_is_the_members_and_says_whether_to_try_again(
    member: Callable[..., object], status: int, text: str, said: str, *, retry: bool
) -> None:
    async with member(says(status, text)) as client:  # type: ignore[attr-defined]
        with pytest.raises(MemberError, match=said) as raised:
            await client.report()
    assert raised.value.retry is retry


async def test_a_sync_that_never_ran_is_none_and_every_other_404_an_error(member: Callable[..., object]) -> None:
    async with member(says(404, '{"reason": "NotFound", "message": "never"}')) as client:  # type: ignore[attr-defined]
        assert await client.sync("d") is None
        with pytest.raises(MemberError, match="never"):
            await client.commits("d")


async def test_a_member_that_hangs_is_given_up_at_the_deadline(member: Callable[..., object]) -> None:
    asked = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with member(hang, 0.2) as client:  # type: ignore[attr-defined]
        with pytest.raises(MemberUnavailable, match="no answer in time"):
            await client.report()
        assert asked.is_set()


async def test_an_answer_without_end_is_not_read_to_its_end(member: Callable[..., object]) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * (1 << 20))

    async with member(flood) as client:  # type: ignore[attr-defined]
        with pytest.raises(MemberError, match=str(ANSWER_LIMIT)):
            await client.report()


async def test_a_certificate_that_cannot_be_read_names_the_way_out() -> None:
    members = HttpMembers()
    for bad in (Tls(b"x", b"y", b"z"), Tls(OPERATOR.ca, b"y", b"z"), Tls(b"\xff", b"", b"")):
        with pytest.raises(MemberError, match="delete its Secret"):
            members.at("127.0.0.1", 1, bad)
    await members.aclose()
