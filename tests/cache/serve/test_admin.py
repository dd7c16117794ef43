"""The admin API over real TCP and TLS."""

import asyncio
import datetime as dt
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from forebay_cache.contract.admin import AdminError, CommitList, DiffReport, MemberReport, SyncReport, SyncRequest
from forebay_cache.contract.config import ClusterState
from forebay_cache.contract.membership import MemberEntry, Membership
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_cache.model.errors import ConfigError, MembershipForeign, NotFound, PrefetchConflict, SyncConflict
from forebay_cache.placement.epochs import found
from forebay_cache.serve.admin import BODY_LIMIT, start_admin

COMMIT = "ab" * 32


class Backend:
    """Answers with what it was given; `fails` is raised instead."""

    def __init__(self) -> None:
        self.state: ClusterState | None = None
        self.asked: list[tuple[object, ...]] = []
        self.fails: Exception | None = None
        self.not_ready: str | None = None
        self.running: SyncReport | None = None
        self.fetching: PrefetchReport | None = None
        self.roster: Membership | None = None

    def _met(self, *call: object) -> None:
        self.asked.append(call)
        if self.fails:
            raise self.fails

    async def put_state(self, state: ClusterState) -> None:
        self._met("put_state")
        self.state = state

    async def report(self) -> MemberReport:
        self._met("report")
        numbers = dict.fromkeys(
            ("capacity_bytes", "used_bytes", "chunks", "hits", "misses", "hit_bytes", "miss_bytes"), 0
        )
        return MemberReport(member="m", cluster_uid="c", boot_id="b", state_version=3, ready=True, **numbers)

    async def put_membership(self, membership: Membership) -> None:
        self._met("put_membership", membership.epoch)
        self.roster = membership

    def membership(self) -> Membership | None:
        return self.roster

    async def start_sync(self, uid: str, request: SyncRequest) -> SyncReport:
        self._met("start_sync", uid, request.parent)
        self.running = SyncReport(id="s", state="Running", parent=request.parent, started_ms=1)
        return self.running

    async def sync(self, uid: str) -> SyncReport | None:
        self._met("sync", uid)
        return self.running

    async def start_prefetch(self, uid: str, request: PrefetchRequest) -> PrefetchReport:
        self._met("start_prefetch", uid, request.prefix)
        self.fetching = PrefetchReport(id="p", state="Running", request=request, commit=COMMIT, started_ms=1)
        return self.fetching

    async def prefetch(self, uid: str) -> PrefetchReport | None:
        return self.fetching

    async def stop_prefetch(self, uid: str) -> PrefetchReport:
        self._met("stop_prefetch", uid)
        assert self.fetching is not None
        return self.fetching.model_copy(update={"state": "Stopped"})

    async def commits(self, uid: str) -> CommitList:
        self._met("commits", uid)
        return CommitList(commits=())

    async def diff(self, uid: str, old: str, new: str) -> DiffReport:
        self._met("diff", uid, old, new)
        await asyncio.sleep(3600 if old == "slow" else 0)
        return DiffReport(old=old, new=new, added=1, removed=0, changed=0)

    def ready(self) -> str | None:
        return self.not_ready

    def metrics(self) -> bytes:
        return b"forebay_mounts 0.0\n"


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
async def ask(backend: Backend):
    server = await start_admin(backend, host="127.0.0.1", port=0, tls_dir=None, deadline_s=5.0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:

        async def call(method: str, path: str, **arguments: object) -> tuple[int, bytes]:
            async with session.request(method, path, **arguments) as answer:
                return answer.status, await answer.read()

        yield call
    await server.aclose()


async def test_state_is_taken_whole(ask, backend: Backend) -> None:
    body = ClusterState(version=7, cluster_uid="c").model_dump_json()
    assert await ask("PUT", "/v1/state", data=body) == (204, b"")
    assert backend.state == ClusterState(version=7, cluster_uid="c")


async def test_reports_syncs_commits_and_diffs(ask, backend: Backend) -> None:
    assert MemberReport.model_validate_json((await ask("GET", "/v1/report"))[1]).state_version == 3
    status, body = await ask("GET", "/v1/datasets/u/sync")
    assert (status, AdminError.model_validate_json(body).reason) == (404, "NotFound")
    status, body = await ask("POST", "/v1/datasets/u/sync", data=SyncRequest(parent=COMMIT).model_dump_json())
    assert (status, SyncReport.model_validate_json(body).state) == (200, "Running")
    assert (await ask("GET", "/v1/datasets/u/sync"))[1] == body
    assert await ask("POST", "/v1/datasets/u/sync")
    assert CommitList.model_validate_json((await ask("GET", "/v1/datasets/u/commits"))[1]).commits == ()
    found = await ask("GET", f"/v1/datasets/u/diff?old={COMMIT}&new={COMMIT}")
    assert DiffReport.model_validate_json(found[1]).added == 1
    assert ("start_sync", "u", COMMIT) in backend.asked


async def test_a_membership_is_taken_and_told(ask, backend: Backend) -> None:
    status, body = await ask("GET", "/v1/membership")
    assert (status, AdminError.model_validate_json(body).reason) == (404, "NotFound")
    first = found("c", [MemberEntry(id="a", name="main-0", capacity_bytes=1, state="Serving")])
    assert await ask("PUT", "/v1/membership", data=first.model_dump_json()) == (204, b"")
    assert Membership.model_validate_json((await ask("GET", "/v1/membership"))[1]) == first
    backend.fails = MembershipForeign("a membership of cluster x was offered to cluster c")
    status, body = await ask("PUT", "/v1/membership", data=first.model_dump_json())
    assert (status, AdminError.model_validate_json(body).reason) == (409, "Conflict")


async def test_a_prefetch_is_started_looked_at_and_stopped(ask, backend: Backend) -> None:
    path = "/v1/datasets/u/prefetch"
    status, body = await ask("GET", path)
    assert (status, AdminError.model_validate_json(body).reason) == (404, "NotFound")
    status, body = await ask("POST", path, data=PrefetchRequest(prefix="a/").model_dump_json())
    assert (status, PrefetchReport.model_validate_json(body).state) == (200, "Running")
    assert await ask("GET", path) == (200, body)
    status, body = await ask("DELETE", path)
    assert (status, PrefetchReport.model_validate_json(body).state) == (200, "Stopped")
    assert backend.asked == [("start_prefetch", "u", "a/"), ("stop_prefetch", "u")]
    backend.fails = PrefetchConflict("another one runs")
    status, body = await ask("POST", path)
    assert (status, AdminError.model_validate_json(body).message) == (409, "another one runs")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("PUT", "/v1/state", b"{", 400, "BadDocument"),
        ("PUT", "/v1/state", b'{"version": "x"}', 400, "BadDocument"),
        ("POST", "/v1/datasets/u/sync", b"[]", 400, "BadDocument"),
        ("POST", "/v1/datasets/u/prefetch", b'{"prefix": "a", "paths": ["b"]}', 400, "BadDocument"),
        ("GET", "/v1/datasets/u/diff", None, 400, "BadRequest"),
        ("GET", "/v1/datasets/u/diff?old=slow&new=x", None, 503, "DeadlineExceeded"),
        ("GET", "/nope", None, 404, "NotFound"),
        ("DELETE", "/v1/state", None, 405, "MethodNotAllowed"),
    ],
)
async def test_bad_requests_get_an_admin_error(
    ask, method: str, path: str, body: bytes | None, status: int, reason: str
) -> None:
    found, answer = await ask(method, path, data=body)
    assert (found, AdminError.model_validate_json(answer).reason) == (status, reason)


async def test_a_body_has_a_limit(ask) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range((BODY_LIMIT >> 20) + 1):
            yield bytes(1 << 20)

    found, answer = await ask("PUT", "/v1/state", data=body())
    assert (found, AdminError.model_validate_json(answer).reason) == (413, "RequestEntityTooLarge")


async def test_a_bad_document_is_named_by_field_and_never_shown(ask) -> None:
    secret = {"access_key_id": "A", "secret_access_key": "hunter2"}
    document = {
        "version": 1,
        "cluster_uid": "c",
        "datasets": [{"uid": "u", "access_keys": [secret], "sources": "hunter2"}],
    }
    _, body = await ask("PUT", "/v1/state", json=document)
    message = AdminError.model_validate_json(body).message
    assert message.startswith("datasets.0.")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("which"), 404),
        (SyncConflict("racing"), 409),
        (ConfigError("other cluster"), 400),
        (KeyError("bug"), 500),
    ],
)
async def test_errors_of_the_member_have_a_status(ask, backend: Backend, caplog, error: Exception, status: int) -> None:
    backend.fails = error
    found, body = await ask("GET", "/v1/report")
    assert found == status
    assert ("bug" in AdminError.model_validate_json(body).message) is False
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == (status == 500)


async def test_probes(ask, backend: Backend) -> None:
    assert await ask("GET", "/healthz") == (200, b"ok\n")
    assert await ask("GET", "/readyz") == (200, b"ok\n")
    backend.not_ready = "no state yet"
    assert await ask("GET", "/readyz") == (503, b"no state yet\n")
    assert await ask("GET", "/metrics") == (200, b"forebay_mounts 0.0\n")


# mutual TLS


def write_pair(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None):
    """A key and certificate, signed by `issuer` or by itself as a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("member")]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.crt").write_bytes(made.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    authority, stranger = write_pair(tmp_path, "ca"), write_pair(tmp_path, "stranger-ca")
    write_pair(tmp_path, "tls", authority)
    write_pair(tmp_path, "operator", authority)
    write_pair(tmp_path, "stranger", stranger)
    return tmp_path


def client_tls(folder: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    if name:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


async def test_only_certified_clients_get_past_the_probes(backend: Backend, certificates: Path) -> None:
    server = await start_admin(backend, host="127.0.0.1", port=0, tls_dir=str(certificates))
    url = f"https://127.0.0.1:{server.port}"

    async def status(name: str | None, path: str) -> int:
        tls = client_tls(certificates, name)
        async with (
            aiohttp.ClientSession() as session,
            session.get(url + path, ssl=tls, server_hostname="member") as answer,
        ):
            return answer.status

    assert await status("operator", "/v1/report") == 200
    assert await status(None, "/healthz") == await status(None, "/readyz") == await status(None, "/metrics") == 200
    for path in ("/v1/report", "/nope", "/healthz/", "//healthz"):
        assert await status(None, path) == 403
    for path in ("/v1/report", "/healthz"):
        with pytest.raises(aiohttp.ClientError):
            await status("stranger", path)
    await server.aclose()


async def test_missing_certificates_are_a_clear_error(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        await start_admin(backend, host="127.0.0.1", port=0, tls_dir=str(tmp_path))
