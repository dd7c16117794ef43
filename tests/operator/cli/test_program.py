import dataclasses
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from tests.operator.cli.conftest import Desk

from forebay_cache.client import session
from forebay_operator import model
from forebay_operator.cli import program
from forebay_operator.main import real_parts

errors = session.errors


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
    assert "--state" in shown
    assert "--output" in shown


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
