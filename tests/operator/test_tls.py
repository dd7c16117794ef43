"""Minted certificates against a real TLS handshake."""

import datetime as dt
from pathlib import Path

import pytest

from forebay_cache.contract.admin import CommitList, DiffReport, MemberReport, SyncReport, SyncRequest
from forebay_cache.contract.config import ClusterState
from forebay_cache.contract.membership import MemberEntry, Membership
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_cache.model.errors import NotFound, PrefetchConflict
from forebay_cache.placement.epochs import found
from forebay_cache.serve.admin import start_admin
from forebay_operator import tls
from forebay_operator.members.base import SERVER_NAME
from forebay_operator.members.http import HttpMembers
from forebay_operator.model import MemberError, MemberUnavailable

NOW = dt.datetime.now(dt.UTC)
REPORT = MemberReport(
    member="m", cluster_uid="c", boot_id="b", state_version=3, ready=True, capacity_bytes=1, used_bytes=0,
    chunks=0, hits=0, misses=0, hit_bytes=0, miss_bytes=0,
)  # fmt: skip


class Backend:
    """A member that knows one Dataset."""

    state: ClusterState | None = None
    roster: Membership | None = None

    async def put_state(self, state: ClusterState) -> None:
        self.state = state

    async def report(self) -> MemberReport:
        return REPORT

    async def put_membership(self, membership: Membership) -> None:
        self.roster = membership

    def membership(self) -> Membership | None:
        return self.roster

    async def start_sync(self, uid: str, request: SyncRequest) -> SyncReport:
        raise NotFound(f"no Dataset with UID {uid}")

    async def sync(self, uid: str) -> SyncReport | None:
        return None

    async def start_prefetch(self, uid: str, request: PrefetchRequest) -> PrefetchReport:
        raise PrefetchConflict("another one runs")

    async def prefetch(self, uid: str) -> PrefetchReport | None:
        return None

    async def stop_prefetch(self, uid: str) -> PrefetchReport:
        return PrefetchReport(id="p", state="Stopped", request=PrefetchRequest(), commit="c" * 64, started_ms=1)

    async def commits(self, uid: str) -> CommitList:
        return CommitList(commits=())

    async def diff(self, uid: str, old: str, new: str) -> DiffReport:
        return DiffReport(old=old, new=new, added=1, removed=0, changed=0)

    def ready(self) -> str | None:
        return None

    def metrics(self) -> bytes:
        return b""


def folder(path: Path, leaf: tls.Tls) -> str:
    path.mkdir()
    for name, pem in (("ca.crt", leaf.ca), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
        (path / name).write_bytes(pem)
    return str(path)


async def test_operator_and_member_trust_each_other_and_nobody_else(tmp_path: Path) -> None:
    authority = tls.mint_authority("main", NOW)
    member = tls.mint_leaf(authority, SERVER_NAME, NOW, server=True)
    operator = tls.mint_leaf(authority, "operator.forebay", NOW, server=False)
    stranger = tls.mint_leaf(tls.mint_authority("other", NOW), "operator.forebay", NOW, server=False)
    backend = Backend()
    server = await start_admin(backend, host="127.0.0.1", port=0, tls_dir=folder(tmp_path / "member", member))
    members = HttpMembers()
    try:
        client = members.at("127.0.0.1", server.port, operator)
        assert await client.report() == REPORT
        await client.put_state(ClusterState(version=7, cluster_uid="c"))
        assert backend.state is not None
        assert backend.state.version == 7
        assert await client.sync("d") is None
        assert (await client.diff("d", "a" * 64, "b" * 64)).added == 1
        with pytest.raises(MemberError, match="no Dataset with UID d"):
            await client.start_sync("d", SyncRequest())
        assert await client.membership() is None
        first = found("c", [MemberEntry(id="a", name="main-0", capacity_bytes=1, state="Serving")])
        await client.put_membership(first)
        assert await client.membership() == first
        assert await client.prefetch("d") is None
        assert (await client.stop_prefetch("d")).state == "Stopped"
        with pytest.raises(MemberError, match="another one runs"):
            await client.start_prefetch("d", PrefetchRequest())
        with pytest.raises(MemberUnavailable):
            await members.at("127.0.0.1", server.port, stranger).report()
        mixed = tls.Tls(authority.ca, stranger.certificate, stranger.key)
        with pytest.raises(MemberError):
            await members.at("127.0.0.1", server.port, mixed).report()
    finally:
        await members.aclose()
        await server.aclose()


async def test_a_member_that_is_not_there_is_unavailable() -> None:
    authority = tls.mint_authority("main", NOW)
    members = HttpMembers()
    with pytest.raises(MemberUnavailable, match=r"127\.0\.0\.1:1"):
        await members.at("127.0.0.1", 1, tls.mint_leaf(authority, "operator.forebay", NOW, server=False)).report()
    await members.aclose()


def test_secrets_read_back_what_was_minted() -> None:
    minted = tls.mint_authority("main", NOW)
    assert tls.read_tls(tls.secret_data(minted)) == minted
    assert tls.read_tls({"ca.crt": "x"}) is None
    assert tls.mint_access_key() != tls.mint_access_key()
