"""Every bad revision is refused with its code, file and line; from a commit, and by `forebay mac lint`."""

import dataclasses
import io
import json
import time
from pathlib import Path

import pytest
from dulwich.objects import Blob, Tree
from dulwich.objects import Commit as GitCommit
from dulwich.repo import MemoryRepo
from tests.monitoring.corpus import GOOD, Case, cases

from forebay_operator.cli import program
from forebay_operator.main import real_parts
from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.codes import CODES, reason
from forebay_operator.monitoring.engine import Setting, Verdict, judge, told
from forebay_operator.monitoring.render.resources import EXAMPLE
from forebay_operator.monitoring.shipped import shipped
from forebay_operator.monitoring.source.git import read_commit

CASES = cases()
REASONS = {reason(code) for code in CODES}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting("0.1.0", shipped(), time.monotonic)


def commit(files: dict[str, bytes]) -> MemoryRepo:
    repository = MemoryRepo()
    made = GitCommit()
    made.tree, made.message = write(repository, files), b"x"
    made.author = made.committer = b"A <a@example.com>"
    made.author_time = made.commit_time = made.author_timezone = made.commit_timezone = 0
    repository.object_store.add_object(made)
    repository.refs[b"refs/heads/main"] = made.id
    return repository


def write(repository: MemoryRepo, files: dict[str, bytes]) -> bytes:
    """A tree and everything below."""
    tree, folders = Tree(), dict[str, dict[str, bytes]]()
    for path, data in files.items():
        name, _, rest = path.partition("/")
        if rest:
            folders.setdefault(name, {})[rest] = data
            continue
        blob = Blob.from_string(data)
        repository.object_store.add_object(blob)
        tree.add(name.encode(), 0o100644, blob.id)
    for name, inner in folders.items():
        tree.add(name.encode(), 0o40000, write(repository, inner))
    repository.object_store.add_object(tree)
    return tree.id


def of_commit(files: dict[str, bytes], setting: Setting) -> Verdict:
    try:
        return judge(read_commit(commit(files), "main").tree, EXAMPLE, setting)
    except MonitoringRefused as exc:
        return Verdict(None, (), tuple(exc.findings))


def of_command(files: dict[str, bytes], folder: Path) -> list[Finding]:
    """What `forebay mac lint` says of a working folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    out = io.StringIO()
    parts = dataclasses.replace(real_parts(), stdout=out)
    assert program.run(["mac", "lint", "-C", str(folder), "--format", "json"], parts) == 1
    told = json.loads(out.getvalue())
    return [Finding(one["file"], one["line"], one["code"], one["message"]) for one in told]


def shown(finding: Finding) -> str:
    return f"{finding.file}:{finding.line} {finding.code}"


def test_the_repository_they_start_from_is_good(setting: Setting) -> None:
    found = of_commit({name: text.encode() for name, text in GOOD.items()}, setting)
    assert found.findings == ()
    assert found.accepted


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_commit_is_refused_at_its_line(case: Case, setting: Setting, tmp_path: Path) -> None:
    files = {name: text.encode() for name, text in case.files.items()}
    found = of_commit(files, setting)
    assert not found.accepted
    assert case.expect in map(shown, found.findings)
    assert told(found.findings)[0] in REASONS
    assert of_command(files, tmp_path) == list(found.findings)


def test_the_corpus_knows_every_code_that_a_file_can_earn() -> None:
    seen = {case.expect.split()[-1] for case in CASES}
    elsewhere = {"MAC001", "MAC002", "MAC003", "MAC005", "MAC101", "MAC102", "MAC103", "MAC503", "MAC801", "MAC802"}
    assert seen | elsewhere == set(CODES)
    assert len(CASES) >= 40
    assert {reason(code) for code in seen} == {"FetchFailed", "RenderFailed", "LintFailed", "TestFailed"}
