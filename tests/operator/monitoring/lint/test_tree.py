import shutil
import subprocess
from pathlib import Path

import pytest

from forebay_operator.monitoring.lint.tree import Reader, Route
from forebay_operator.monitoring.render.document import read

TREE = """\
receiver: root
group_wait: 1m
routes:
  - matchers: ['severity="page"']
    receiver: pages
    continue: true
    routes:
      - {matchers: ['owner=~"a|b"'], receiver: ab, group_wait: 2m}
  - {matchers: ['severity="page"', 'owner!="a"'], receiver: second}
  - {matchers: ['severity="ticket"'], receiver: tickets}
"""
CASES = [
    ({"severity": "page", "owner": "a"}, ["ab"]),
    ({"severity": "page", "owner": "b"}, ["ab", "second"]),
    ({"severity": "page"}, ["pages", "second"]),
    ({"severity": "ticket"}, ["tickets"]),
    ({"severity": "info"}, ["root"]),
]


def root() -> Route:
    reader = Reader()
    made = reader.route(read(TREE, "f"))
    assert not reader.findings
    return made


@pytest.mark.parametrize(("labels", "receivers"), CASES)
def test_an_alert_goes_where_alertmanager_would_send_it(labels: dict[str, str], receivers: list[str]) -> None:
    assert [route.receiver for route in root().taken(labels)] == receivers


@pytest.mark.parametrize(("labels", "receivers"), CASES)
def test_amtool_agrees(labels: dict[str, str], receivers: list[str], tmp_path: Path) -> None:
    if not shutil.which("amtool"):
        pytest.skip("amtool is not here (Debian package `prometheus-alertmanager`)")
    names = ("root", "pages", "ab", "second", "tickets")
    config = "route:\n" + "".join(f"  {line}\n" for line in TREE.splitlines())
    (tmp_path / "c.yml").write_text(config + "receivers:\n" + "".join(f"  - name: {name}\n" for name in names))
    said = [f"{name}={value}" for name, value in labels.items()]
    command = ["amtool", "config", "routes", "test", "--config.file", str(tmp_path / "c.yml"), *said]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip().split(",") == receivers


def test_settings_are_inherited() -> None:
    (ab,) = root().taken({"severity": "page", "owner": "a"})
    assert (ab.settings["group_wait"], ab.settings["group_interval"]) == ("2m", "5m")
    (ticket,) = root().taken({"severity": "ticket"})
    assert ticket.settings["group_wait"] == "1m"


@pytest.mark.parametrize("text", ["receiver: a\nmatch: {a: b}", "receiver: a\nmatchers: [a==b]", "routes: [5]", "[]"])
def test_what_alertmanager_would_not_read(text: str) -> None:
    reader = Reader()
    reader.route(read(text, "f"))
    assert [one.code for one in reader.findings] == ["MAC604"]


def test_a_tree_has_a_depth() -> None:
    text = "{receiver: a, routes: [" * 30 + "]}" * 30
    with pytest.raises(Exception, match="MAC205"):
        read(text, "f")
    reader = Reader()
    reader.route(read("{receiver: a, routes: [" * 18 + "]}" * 18, "f"))
    assert "at most 16 deep" in str(reader.findings[0])
