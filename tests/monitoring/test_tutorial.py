"""The tutorial does what it says: its blocks are run in order, and each answer is compared with the one it prints."""

import re
import shutil
from pathlib import Path

import pytest
from tests.operator.cli.test_mac import mac

PAGE = Path(__file__).parents[2] / "docs/monitoring/tutorial.md"
RULES = "templates/rules/stores.yaml.j2"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def answers(page: str) -> list[str]:
    """What each `forebay mac lint` and `test` prints."""
    said = re.findall(r"^\$ forebay mac (?:lint|test)[^\n]*\n((?:[^$`].*\n)*)", page, re.MULTILINE)
    return [one for one in said if one]


def test_every_step_answers_as_printed(page: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "monitoring")
    said = answers(page)
    assert mac("init", folder).code == 0
    assert mac("lint", "-C", folder).out == said[0]
    _, bad, good, test = blocks(page, "yaml")
    rules = tmp_path / "monitoring" / RULES
    rules.write_text(bad.partition("\n")[2])
    assert mac("lint", "-C", folder).out.startswith(said[2])
    summary = "summary: Chunks break in {{ $labels.pod }}"
    rules.write_text(rules.read_text().replace(summary, summary.replace(": ", ': "') + '"'))
    assert mac("lint", "-C", folder).out == said[3]
    rules.write_text(good)
    (tmp_path / "monitoring/runbooks/ForebayStoreCorrupt.md").write_text("do")
    (tmp_path / "monitoring/tests/rules/stores.test.yaml").write_text(test)
    both = said[4]
    assert mac("lint", "-C", folder).out == both.splitlines(keepends=True)[0]
    if not shutil.which("promtool"):
        pytest.skip("the last answer is promtool's (Debian package `prometheus`)")
    assert mac("test", "-C", folder).out == both.splitlines(keepends=True)[1]


def test_an_override_of_the_page_is_taken(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "monitoring"
    mac("init", str(folder))
    (folder / "overrides/training").mkdir(parents=True)
    (folder / "overrides/training/vision.yaml").write_text(blocks(page, "yaml")[0])
    assert mac("lint", "-C", str(folder)).code == 0
    assert '{namespace="training", cache_cluster="vision"} + 0.01)' in mac("render", "-C", str(folder)).out
