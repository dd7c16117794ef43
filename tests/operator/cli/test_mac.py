import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.operator.monitoring.conftest import Git, git, make_git

from forebay_operator.cli import program
from forebay_operator.main import real_parts

__all__ = ["git", "make_git"]
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not here (Debian package `prometheus`)"
)


@dataclass
class Said:
    code: int
    out: str
    err: str


def mac(*words: str) -> Said:
    out, err = io.StringIO(), io.StringIO()
    parts = real_parts()
    known = {name: getattr(parts, name) for name in parts.__dataclass_fields__}
    code = program.run(["mac", *words], type(parts)(**{**known, "stdout": out, "stderr": err, "now": time.monotonic}))
    return Said(code, out.getvalue(), err.getvalue())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "monitoring"
    assert mac("init", str(folder)).code == 0
    return folder


def break_it(repository: Path) -> None:
    path = repository / "templates/rules/origins.yaml.j2"
    path.write_text(path.read_text().replace("severity: ticket", "severity: tickets"))


def test_what_init_writes_is_accepted(repository: Path) -> None:
    said = mac("lint", "-C", str(repository))
    assert said.code == 0
    assert said.out.startswith("accepted: 16 alerts")


def test_init_leaves_what_is_there_alone(repository: Path) -> None:
    said = mac("init", str(repository))
    assert said.code == 2
    assert "is not empty" in said.err


def test_findings_end_with_one_and_name_their_line(repository: Path) -> None:
    break_it(repository)
    said = mac("lint", "-C", str(repository))
    assert said.code == 1
    assert "templates/rules/origins.yaml.j2:11: MAC403 ForebayOriginSlow: severity 'tickets'" in said.out
    assert said.out.endswith("refused: 1 finding\n")


def test_json_and_sarif_say_the_same(repository: Path, tmp_path: Path) -> None:
    break_it(repository)
    (finding,) = json.loads(mac("lint", "-C", str(repository), "--format", "json").out)
    assert (finding["code"], finding["line"], finding["reason"]) == ("MAC403", 11, "LintFailed")
    said = mac("lint", "-C", str(repository), "--format", "sarif", "--to", str(tmp_path / "x.sarif"))
    assert said.code == 1
    assert said.out == "refused: 1 finding\n"
    (result,) = json.loads((tmp_path / "x.sarif").read_text())["runs"][0]["results"]
    assert result["ruleId"] == "MAC403"


@needs_promtool
def test_unit_tests_run_and_are_kept(repository: Path, tmp_path: Path) -> None:
    words = ("test", "-C", str(repository), "--cache", str(tmp_path / "kept"), "--junit", str(tmp_path / "x.xml"))
    assert mac(*words).out.endswith("1 test file, 0 failed, 0 unchanged since they were run\n")
    assert mac(*words, "--coverage").out.endswith("1 test file, 0 failed, 1 unchanged since they were run\n")
    assert "ForebayOriginSlow: 1 firing, 1 silent" in mac(*words, "--coverage").out
    path = repository / "tests/rules/origins.test.yaml"
    path.write_text(path.read_text().replace("1000B/s", "2000B/s"))
    said = mac(*words)
    assert said.code == 1
    assert "tests/rules/origins.test.yaml:16: MAC503 ForebayOriginSlow: at 1h" in said.out
    root = ET.fromstring((tmp_path / "x.xml").read_text())
    assert [one.get("name") for one in root.iter("testcase") if one.find("failure") is not None] == [
        "ForebayOriginSlow"
    ]


def test_without_promtool_the_words_say_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = mac("test", "-C", str(repository))
    assert said.code == 6
    assert "need promtool" in said.err


def test_render_writes_what_would_be_applied(repository: Path, tmp_path: Path) -> None:
    words = ("render", "-C", str(repository), "--fixtures", str(repository / "fixtures.yaml"))
    assert "alert: ForebayClusterDown" in mac(*words).out
    said = mac(*words, "--out", str(tmp_path / "out"))
    assert "sha256:" in said.out
    assert (tmp_path / "out/rules/origins.yaml").exists()
    assert (tmp_path / "out/routes/alertmanager.yaml").exists()


def test_explain_says_what_an_alert_and_a_code_mean(repository: Path) -> None:
    said = mac("explain", "ForebayOriginSlow", "-C", str(repository)).out
    for part in ("templates/rules/origins.yaml.j2:5", "heard by: tickets", "tests: 1 firing, 1 silent", "**Do.** Ask"):
        assert part in said
    assert "cache_cluster:members:ready = max by" in mac("explain", "ForebayClusterDown", "-C", str(repository)).out
    assert "no page for an instance" in mac("explain", "mac407").out
    assert mac("explain", "Nothing", "-C", str(repository)).code == 3


def test_a_revision_is_read_from_objects_and_its_signer_checked(git: Git, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(git.key("alice"))
    mac("init", str(git.folder))
    git.commit({}, "alice")
    (git.folder / "forebay.yaml").unlink()
    words = ("lint", "-C", str(git.folder), "--revision", "HEAD", "--trusted", str(tmp_path / "keys.txt"))
    assert mac(*words).code == 0
    git.commit({})
    said = mac(*words)
    assert said.code == 1
    assert "MAC101" in said.out or "MAC004" in said.out


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("frobnicate",), 2), (("lint", "--trusted", "x"), 2), (("lint", "-C", "/nowhere"), 1)],
)
def test_wrong_use(words: tuple[str, ...], code: int) -> None:
    assert mac(*words).code == code
