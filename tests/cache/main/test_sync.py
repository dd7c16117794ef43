"""The process of a sync, spoken to by hand: a job in, reports out as JSON lines, and no secret in what goes wrong."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from tests.rigs.bucket import Bucket, refused
from tests.rigs.house import SECRETS, dataset_of, environment

from forebay_cache.contract.config import DatasetState
from forebay_cache.member.syncs import SyncJob


def run(folder: pathlib.Path, given: bytes) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "forebay_cache.main", "sync"]
    done = subprocess.run(
        command, input=given, env=environment(folder), cwd=folder, capture_output=True, timeout=100, check=False
    )
    assert not [secret for secret in SECRETS if secret.encode() in done.stdout + done.stderr]
    return done


def reports(folder: pathlib.Path, dataset: DatasetState, catalog: str = "catalog") -> list[dict[str, Any]]:
    job = SyncJob(id="1", dataset=dataset, parent=None, catalog_path=str(folder / catalog), started_ms=5)
    done = run(folder, job.model_dump_json().encode() + b"\n")
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_sync_ends_with_its_commit(store: Bucket, tmp_path: pathlib.Path) -> None:
    *first, last = reports(tmp_path, dataset_of(store, "open"))
    assert {report["state"] for report in first} == {"Running"}
    assert (last["state"], last["commit"]["files"]) == ("Succeeded", len(store.objects))


@pytest.mark.parametrize(
    ("broken", "reason", "says"),
    [
        ("credentials", "OriginDenied", "check the credentials"),
        ("bucket", "OriginMissing", "NoSuchBucket"),
        ("listing", "OriginUnavailable", "listing"),
        ("origin", "OriginUnavailable", "http://127.0.0.1"),
        ("prefix", "Failed", "at most 4096"),
        ("disk", "Failed", "Not a directory"),
    ],
)
def test_a_sync_that_fails_says_why(store: Bucket, tmp_path: pathlib.Path, broken: str, reason: str, says: str) -> None:
    dataset = dataset_of(store, "open")
    if broken == "credentials":
        store.breaks_all = refused(403, "AccessDenied")
    elif broken == "bucket":
        store.breaks_all = refused(404, "NoSuchBucket")
    elif broken == "listing":
        store.breaks_all = refused(500, "InternalError")
    elif broken == "origin":
        store.close()
    elif broken == "prefix":
        store.objects["k" * 1024] = b"a key that a path in front makes too long"
        (source,) = dataset.sources
        longer = source.model_copy(update={"path": "p" * 3500 + "/"})
        dataset = dataset.model_copy(update={"sources": (longer,)})
    (tmp_path / "not-a-folder").write_text("")
    last = reports(tmp_path, dataset, "not-a-folder/catalog" if broken == "disk" else "catalog")[-1]
    assert (last["state"], last["reason"]) == ("Failed", reason), last
    assert says in last["message"]
    assert last["finished_ms"]


@pytest.mark.parametrize(
    "given",
    [b"", b"nonsense\n", b"\xff\n", b"{}\n", b'{"dataset": {"credentials": "%s"}}\n' % SECRETS[0].encode()],
    ids=["nothing", "nonsense", "bytes", "no job", "half a job"],
)
def test_what_is_no_job_is_one_line(tmp_path: pathlib.Path, given: bytes) -> None:
    done = run(tmp_path, given)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("forebay sync: standard input is no job of a sync: ")
