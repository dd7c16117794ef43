import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.operator.cli.conftest import NEW, OLD, Desk

from forebay_cache.client import session
from forebay_operator import model
from forebay_operator.cli import program
from forebay_operator.main import real_parts
from forebay_operator.names import SYNC_REQUEST

errors = session.errors
EXAMPLES = str(Path(__file__).parents[3] / "examples")


def say(desk: Desk, *argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return program.run(argv, desk.parts(out, err)), out.getvalue(), err.getvalue()


def test_help_waits_for_no_library() -> None:
    check = (
        "import sys, forebay_operator.main as m; sys.argv = ['forebay', '--help']\n"
        "try: m.run()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "slow = {'aiohttp', 'rich', 'yaml', 'kubernetes', 'kopf', 'cryptography'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in program.COMMANDS)
    assert "exit codes:" in done.stdout


@pytest.mark.parametrize("name", program.COMMANDS)
def test_every_command_has_help(desk: Desk, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(desk, name, "--help")[0] == 0
    shown = capsys.readouterr().out
    assert ("--state" in shown) == (name not in program.OFFLINE)
    assert ("--output" in shown) == (name not in program.HERE | program.OFFLINE)
    assert f"  forebay {name}" in shown or f"$(forebay {name}" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("argv", [(), ("frobnicate",), ("status", "--no-such"), ("diff",), ("get", "photos")])
def test_a_wrong_command_line_is_usage(desk: Desk, argv: tuple[str, ...]) -> None:
    assert say(desk, *argv)[0] == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (model.KubeNotFound("x"), 3),
        (errors.NotFound("x"), 3),
        (model.BadManifest("x"), 2),
        (model.KubeInvalid("x"), 2),
        (errors.BadInput("x"), 2),
        (model.KubeUnavailable("x"), 4),
        (model.MemberUnavailable("x"), 4),
        (errors.MemberUnreachable("x"), 4),
        (model.NotReady("x"), 4),
        (model.StateInUse("x"), 5),
        (model.Unsupported("x"), 6),
        (model.KubeForbidden("x"), 1),
        (errors.OriginDenied("x"), 1),
        (PermissionError("x"), 1),
        (ZeroDivisionError("a bug keeps its traceback"), None),
    ],
)
def test_every_kind_of_error_has_its_code(error: Exception, code: int | None) -> None:
    assert program.exit_code(error) == code


def test_nobody_running_is_said_with_the_next_step(desk: Desk) -> None:
    parts: Any = real_parts()
    out, err = io.StringIO(), io.StringIO()
    parts = dataclasses.replace(parts, environment=desk.environment, stdout=out, stderr=err)
    assert program.run(["status"], parts) == 4
    assert "start one with `forebay up -f FILES --state" in err.getvalue()


async def test_json_output_is_json_for_commands_that_report(desk: Desk) -> None:
    await desk.furnish()
    for argv in (("status",), ("commits", "photos"), ("diff", "photos"), ("keys", "photos")):
        json.loads((await desk.run(*argv, "-o", "json")).out)


def test_a_foreign_file_error_reads_like_ours() -> None:
    assert program.told(FileNotFoundError(2, "No such file or directory", "/x/y")) == "/x/y: No such file or directory"
    assert program.told(model.NotReady("not yet")) == "not yet"


def test_the_version_is_told(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(desk, "--version")[0] == 0
    assert capsys.readouterr().out.startswith("forebay 0.")


def test_a_kubeconfig_that_is_not_there_is_usage(desk: Desk, tmp_path: Path) -> None:
    code, _, told = say(desk, "status", "--kubeconfig", str(tmp_path / "none"))
    assert (code, told) == (2, f"forebay status: --kubeconfig {tmp_path}/none: no such file\n")


@pytest.mark.kube
async def test_objects_come_and_go_on_a_real_api_server(real_desk: Desk, tmp_path: Path) -> None:
    done = await real_desk.run("apply", "-f", EXAMPLES)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"Dataset {real_desk.namespace}/photos applied"
    assert "managedFields" not in (await real_desk.run("apply", "-f", EXAMPLES, "-o", "json")).out
    broken = tmp_path / "broken.yaml"
    broken.write_text(Path(EXAMPLES, "cachecluster.yaml").read_text().replace("4Gi", "lots"))
    refused = await real_desk.run("apply", "-f", str(broken))
    assert refused.code == 2
    assert "spec.storage.capacity" in refused.err
    assert (await real_desk.run("ls", "photos")).code == 4
    assert (await real_desk.run("delete", "-f", EXAMPLES)).code == 0
    gone = await real_desk.run("delete", "dataset", "photos")
    assert (gone.code, gone.err) == (3, f"forebay delete: Dataset {real_desk.namespace}/photos not found\n")


@pytest.mark.kube
async def test_commands_read_and_change_a_real_api_server(real_desk: Desk) -> None:
    await real_desk.furnish()
    key = model.Key(model.DATASET, real_desk.namespace, "photos")
    shown = json.loads((await real_desk.run("status", "-o", "json")).out)
    assert (shown["datasets"][0]["files"], shown["members"][0]["ready"]) == (1200, True)
    assert "AWS_ACCESS_KEY_ID=AKIAREADER" in (await real_desk.run("keys", "photos")).out
    assert NEW[:12] in (await real_desk.run("commits", "photos")).out
    assert "3 added, 1 removed, 0 changed" in (await real_desk.run("diff", "photos")).out
    assert (await real_desk.run("sync", "photos")).code == 0
    assert (await real_desk.kube.get(key))["metadata"]["annotations"][SYNC_REQUEST]
    assert (await real_desk.run("rollback", "photos", OLD[:6])).code == 0
    assert (await real_desk.kube.get(key))["spec"]["version"] == {"mode": "Pinned", "commit": OLD}
    assert (await real_desk.run("rollback", "photos", "--latest")).code == 0
    assert (await real_desk.kube.get(key))["spec"]["version"] == {"mode": "Latest"}
    assert (await real_desk.run("sync", "fotos")).err.endswith(f"there are: {real_desk.namespace}/photos\n")
