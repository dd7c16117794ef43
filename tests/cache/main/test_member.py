"""The member as `forebay up` and a pod start it: how it begins, serves, ends, dies and comes back."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest
from tests.cache.main.conftest import NAMES
from tests.rigs.bucket import Bucket
from tests.rigs.house import (
    CLUSTER,
    LARGE,
    SECRETS,
    Member,
    content,
    dataset_of,
    head,
    member,
    read_answer,
    same,
    wait_until,
)
from tests.rigs.scripted import Reply

from forebay_cache.contract.config import CacheRules, DatasetState
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_operator.desired import workload


def synced(one: Member, store: Bucket) -> DatasetState:
    dataset = dataset_of(store, "open", anonymous=True)
    one.serve(dataset)
    assert one.sync(dataset).state == "Succeeded"
    return dataset


def refused_to_start(one: Member) -> str:
    """What it said, which is one line for people."""
    before = one.mark() if one.log.exists() else 0
    assert one.spawn().wait(60) == 1
    (line,) = one.log.read_text()[before:].splitlines()
    assert line.startswith("forebay member: ")
    return line


def without_certificate(one: Member, path: str) -> int:
    context = ssl.create_default_context(cafile=one.inside(workload.TLS_DIR) / "ca.crt")
    context.check_hostname = False
    line = http.client.HTTPSConnection("127.0.0.1", one.config.admin_port, timeout=60, context=context)
    with contextlib.closing(line):
        line.request("GET", path)
        return line.getresponse().status


# its beginning


def test_it_is_alive_before_it_is_ready_and_ready_with_its_first_state(one: Member) -> None:
    one.start()
    assert one.ask("GET", "/readyz") == (503, b"waiting for the first cluster state from the operator\n")
    assert one.get("/open/k").code == "NoSuchBucket"
    one.serve()
    assert one.answers("/readyz")
    assert one.stop() == 0


def test_probes_and_metrics_need_no_certificate_and_all_else_does(one: Member) -> None:
    one.start()
    assert [without_certificate(one, path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 503, 200]
    assert without_certificate(one, "/v1/report") == 403


def test_a_mounted_state_is_served_before_anyone_pushes(one: Member, store: Bucket) -> None:
    one.start()
    synced(one, store)
    state = one.state.model_dump_json()
    assert one.stop() == 0
    os.unlink(one.store.parent / "state.json")
    (one.inside(workload.STATE_DIR) / "state.json").write_text(state)
    one.start()
    assert one.answers("/readyz")
    assert same(one.get(f"/open/{NAMES[0]}").body, NAMES[0])


def test_a_state_that_cannot_be_read_is_told_once_and_the_other_copy_is_served(one: Member, store: Bucket) -> None:
    one.start()
    synced(one, store)
    assert one.stop() == 0
    mounted = one.inside(workload.STATE_DIR) / "state.json"
    mounted.write_text(one.state.model_dump_json()[:-40])
    before = one.mark()
    one.start()
    assert one.answers("/readyz")
    told = [record for record in one.told(before) if record["level"] == "warning"]
    assert [(record["event"], record["file"]) for record in told] == [("state not read", str(mounted))]
    assert_no_secret(one.log.read_text())


def test_what_a_dataset_may_have_changes_while_it_serves(one: Member, store: Bucket) -> None:
    """No restart: a limit that is too small lets nothing more in, and without it the next read stays."""
    one.start()
    synced(one, store)
    (dataset,) = one.state.datasets

    def serve(**cache: int) -> None:
        one.serve(dataset.model_copy(update={"cache": CacheRules.model_validate(cache)}))
        wait_until(lambda: one.report()["rules_version"] == one.state.version, "the rules hold")

    def chunks_after(name: str) -> int:
        assert same(one.get(f"/open/{name}").body, name)
        (report,) = one.report()["datasets"]
        assert (report["charged_bytes"] > 0) == bool(report["cached_chunks"])
        return int(report["cached_chunks"])

    serve(priority=150)
    assert chunks_after(NAMES[0]) == 2
    serve(max_bytes=1, priority=200)
    assert chunks_after(NAMES[1]) == chunks_after(NAMES[0]) == 2
    assert b"forebay_dataset_max_bytes{" in one.ask("GET", "/metrics")[1]
    serve()
    assert chunks_after(NAMES[1]) == 4


BROKEN = {
    "missing": (lambda path: path.unlink(), "No such file"),
    "no JSON": (lambda path: path.write_text("capacity_bytes: 1"), "JSON"),
    "empty": (lambda path: path.write_text(""), "JSON"),
    "no document": (lambda path: path.write_text("[]"), "document"),
    "a field is missing": (lambda path: rewrite(path, store_path=None), "store_path"),
    "a field is wrong": (
        lambda path: rewrite(path, capacity_bytes=-1),
        "capacity_bytes: Input should be greater than 0",
    ),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff\xfe{}"), "JSON"),
}


def rewrite(path: pathlib.Path, **change: object) -> None:
    document = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_configuration_is_one_line_that_names_file_and_field(one: Member, what: str) -> None:
    breaks, says = BROKEN[what]
    breaks(one.document)
    line = refused_to_start(one)
    assert str(one.document) in line
    assert says in line


@pytest.mark.parametrize("which", ["data_port", "admin_port"])
def test_a_port_in_use_is_named(one: Member, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", getattr(one.config, which)))
        taken.listen()
        line = refused_to_start(one)
    assert which in line
    assert f"127.0.0.1:{getattr(one.config, which)}" in line
    assert "in use" in line
    one.start()


def test_missing_certificates_are_named(one: Member) -> None:
    (one.inside(workload.TLS_DIR) / "tls.key").unlink()
    assert str(one.inside(workload.TLS_DIR)) in refused_to_start(one)


def test_a_store_has_one_member(one: Member) -> None:
    one.start()
    first = one.process
    line = refused_to_start(one)
    assert f"process {first.pid if first else 0}" in line
    one.process = first
    assert one.answers("/healthz")


def test_the_store_of_another_cluster_is_refused(one: Member) -> None:
    one.start()
    assert one.stop() == 0
    rewrite(one.document, cluster_uid="another")
    line = refused_to_start(one)
    assert CLUSTER in line
    assert "another" in line


@pytest.mark.root
@pytest.mark.parametrize("folder", ["store", "catalog"])
def test_a_read_only_disk_is_named(one: Member, folder: str) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("a read-only mount needs root and unshare")
    place = one.store.parent / folder
    place.mkdir()
    mount = f"mount --bind {place} {place} && mount -o remount,bind,ro {place}"
    process = one.spawn(["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"])
    assert process.wait(60) == 1
    (line,) = one.log.read_text().splitlines()
    assert "Read-only file system" in line
    assert folder in line


def test_an_origin_that_is_not_there_at_start_costs_misses_only(one: Member, store: Bucket) -> None:
    one.start()
    synced(one, store)
    assert same(one.get(f"/open/{NAMES[0]}").body, NAMES[0])
    assert one.stop() == 0
    store.close()
    one.start()
    assert one.answers("/readyz")
    assert same(one.get(f"/open/{NAMES[0]}").body, NAMES[0])
    assert one.get("/open?list-type=2").status == 200
    assert one.get(f"/open/{NAMES[1]}").code == "OriginUnavailable"


def test_without_credentials_it_starts_and_says_what_is_missing(one: Member, store: Bucket) -> None:
    """The bucket refuses whoever does not sign; the member has neither keys of its own nor given ones."""
    store.breaks_all = lambda request, reply: reply if "authorization" in request.headers else denied()
    one.start()
    dataset = dataset_of(store, "open", anonymous=True)
    (source,) = dataset.sources
    bare = dataset.model_copy(update={"sources": (source.model_copy(update={"credentials": None}),)})
    one.serve(bare)
    report = one.sync(bare)
    assert (report.state, report.reason) == ("Failed", "OriginDenied")
    assert "check the credentials" in report.message
    assert one.answers("/readyz")
    one.serve(dataset)
    assert one.sync(dataset).state == "Succeeded"
    one.serve(bare.model_copy(update={"head": one.state.datasets[0].head}))
    before = one.mark()
    found = one.get(f"/open/{NAMES[0]}")
    assert (found.status, found.code) == (424, "OriginAccessDenied")
    assert "check the credentials" in found.message
    (record,) = one.told(before)
    assert (record["event"], record["level"], record["code"]) == ("request refused", "warning", found.code)
    assert one.answers("/readyz")
    assert one.get("/open?list-type=2").status == 200


def denied() -> Reply:
    return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})


# its end


def test_an_answer_under_way_is_finished_before_it_ends(one: Member, store: Bucket) -> None:
    one.start()
    synced(one, store)
    one.get(f"/open/{NAMES[0]}")
    with one.connect() as line, line.makefile("rb") as stream:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        line.sendall(head(f"/open/{NAMES[0]}", "Host: h"))
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        assert one.process
        one.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(one), "it stops listening")
        while stream.readline() != b"\r\n":
            pass
        assert same(stream.read(), NAMES[0])
    assert one.process.wait(60) == 0
    one.told()


def listens(one: Member) -> bool:
    with contextlib.suppress(OSError), one.connect():
        return True
    return False


@pytest.mark.parametrize("signals", [1, 2])
def test_an_origin_that_hangs_does_not_hold_up_the_end(one: Member, store: Bucket, signals: int) -> None:
    one.start()
    synced(one, store)
    store.breaks_all = lambda request, reply: Reply(reply.status, reply.body, reply.headers, 1 << 20, stall=True)
    with one.connect() as line, line.makefile("rb") as stream:
        line.sendall(head(f"/open/{NAMES[0]}", "Host: h"))
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        assert one.process
        for _ in range(signals):
            one.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(one), "it stops listening")
        with contextlib.suppress(ConnectionError):
            assert len(stream.read()) < LARGE
    assert one.process.wait(60) == 0
    assert "Traceback" not in one.log.read_text()
    assert_store_is_right(one)


def assert_store_is_right(one: Member) -> None:
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    store = DiskStore.open(str(one.store), Limits(1 << 30), cluster_uid=CLUSTER, boot_id=boot)
    try:
        assert store.check() == []
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_load_it_comes_back_with_what_it_had(one: Member, store: Bucket, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    one.start()
    synced(one, store)
    whole = NAMES[0]
    one.get(f"/open/{whole}")
    with under_load(one, rng):
        wait_until(lambda: store.gets(NAMES[3]) > 0, "misses are under way")
        assert one.stop(signal.SIGKILL) == -signal.SIGKILL
    store.close()
    one.start()
    assert one.answers("/readyz")
    assert same(one.get(f"/open/{whole}").body, whole)
    for name in NAMES:
        found = one.get(f"/open/{name}")
        assert found.status == 503 or content(name).startswith(found.body)
    store.open()
    for name in NAMES:
        assert same(one.get(f"/open/{name}").body, name)
    assert one.stop() == 0
    assert_store_is_right(one)


@contextlib.contextmanager
def under_load(one: Member, rng: random.Random) -> Iterator[None]:
    """Clients that read ranges of everything until it is dead, and check every byte."""
    wrong: list[str] = []

    def read(seed: int) -> None:
        own = random.Random(seed)
        with contextlib.suppress(OSError, AssertionError), one.connect() as line, line.makefile("rb") as stream:
            while True:
                name, start = own.choice(NAMES), own.randrange(LARGE - 1)
                stop = min(LARGE, start + own.randrange(1, 1 << 20))
                line.sendall(head(f"/open/{name}", "Host: h", f"Range: bytes={start}-{stop - 1}"))
                found = read_answer(stream)
                if len(found.body) == stop - start and found.body != content(name)[start:stop]:
                    wrong.append(f"{name} [{start}, {stop})")

    threads = [threading.Thread(target=read, args=(rng.random(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        one.end()
        for thread in threads:
            thread.join()
    assert not wrong


# what it says


def test_its_log_is_json_and_no_secret_is_in_it_nor_in_any_argument_list(one: Member, store: Bucket) -> None:
    one.start()
    dataset = synced(one, store)
    store.breaks_all = lambda _, reply: Reply(reply.status, reply.body, reply.headers, silent=True)
    status, _ = one.ask("POST", f"/v1/datasets/{dataset.uid}/sync", b"{}")
    assert status == 200
    wait_until(lambda: len(family(one.pid)) == 2, "a sync runs")
    for pid in family(one.pid):
        for name in ("cmdline", "environ"):
            assert_no_secret(pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace"))
    assert one.ask("PUT", "/v1/state", b'{"datasets": [{"secret": "%s"}]}' % SECRETS[0].encode())[0] == 400
    one.get(f"/open/{NAMES[0]}?X-Amz-Signature={SECRETS[1]}&X-Amz-Credential=a")
    one.get(f"/open/{NAMES[0]}", f"Authorization: AWS4-HMAC-SHA256 Signature={SECRETS[1]}")
    child = next(pid for pid in family(one.pid) if pid != one.pid)
    assert one.stop() == 0
    assert not os.path.exists(f"/proc/{child}")
    assert one.told()
    assert_no_secret(one.log.read_text())
    assert stat_mode(one.store.parent / "state.json") == 0o600


def test_a_sync_dies_with_its_member(one: Member, store: Bucket) -> None:
    one.start()
    dataset = dataset_of(store, "open")
    one.serve(dataset)
    store.breaks_all = lambda _, reply: Reply(reply.status, reply.body, reply.headers, silent=True)
    one.ask("POST", f"/v1/datasets/{dataset.uid}/sync", b"{}")
    wait_until(lambda: len(store.requests) > 0, "the sync asks")
    (child,) = (pid for pid in family(one.pid) if pid != one.pid)
    one.stop(signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), "its sync dies")


def test_a_killed_sync_is_told_and_the_next_one_goes_on(one: Member, store: Bucket) -> None:
    one.start()
    dataset = dataset_of(store, "open", anonymous=True)
    one.serve(dataset)
    store.breaks_all = lambda _, reply: Reply(reply.status, reply.body, reply.headers, silent=True)
    before = one.mark()
    path = f"/v1/datasets/{dataset.uid}/sync"
    one.ask("POST", path, b"{}")
    wait_until(lambda: len(store.requests) > 0, "the sync asks")
    os.kill(next(pid for pid in family(one.pid) if pid != one.pid), signal.SIGKILL)
    wait_until(lambda: json.loads(one.ask("GET", path)[1])["state"] == "Failed", "the member notices")
    assert json.loads(one.ask("GET", path)[1])["reason"] == "Killed"
    (record,) = one.told(before)
    assert (record["event"], record["level"], record["reason"]) == ("sync ended", "warning", "Killed")
    store.breaks_all = None
    assert one.sync(dataset).state == "Succeeded"


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def stat_mode(path: pathlib.Path) -> int:
    return path.stat().st_mode & 0o777


def assert_no_secret(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text]


def test_two_members_do_not_meet(one: Member, store: Bucket, tmp_path: pathlib.Path) -> None:
    """Each has its own identity and keeps it."""
    with member(tmp_path / "other") as other:
        ids = []
        for made in (one, other, one):
            if made.process is None or made.process.poll() is not None:
                made.start()
            ids.append(made.report()["member"])
            if made is one:
                assert made.stop() == 0
        assert ids[0] == ids[2] != ids[1]
