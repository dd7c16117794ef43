"""forebay mac ACTION: a monitoring repository on a desk or in CI, judged by the operator's own library."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from forebay_operator.cli.base import FAILED, OK, Parts
from forebay_operator.cli.mac_explain import explained
from forebay_operator.cli.output import plural
from forebay_operator.model import BadManifest, Finding, MonitoringRefused
from forebay_operator.monitoring import report
from forebay_operator.monitoring.engine import Setting, Verdict, judge
from forebay_operator.monitoring.render.resources import EXAMPLE, Resources, read_fixtures
from forebay_operator.monitoring.shipped import shipped, starter
from forebay_operator.monitoring.source.base import Tree
from forebay_operator.monitoring.source.folder import read_folder
from forebay_operator.monitoring.source.git import open_repository, read_commit
from forebay_operator.monitoring.source.signature import read_trusted, signer
from forebay_operator.monitoring.unit.promtool import find_promtool, result_findings
from forebay_operator.monitoring.unit.suite import coverage, runnable

EXAMPLES = """\
forebay mac init monitoring            a new repository to begin with
forebay mac lint                       what is wrong with this folder, line by line
forebay mac lint --revision HEAD --trusted keys   the last revision, and whether it is signed
forebay mac test --coverage            run its unit tests; needs promtool
forebay mac render --fixtures fixtures.yaml       what the operator would apply
forebay mac explain ForebayClusterDown  what an alert means, and who hears of it
forebay mac explain MAC407             why a code is one"""
TEST_TIME_S = 60.0


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="write a repository to begin with")
    init.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="an empty folder (default: this one)")
    lint = actions.add_parser("lint", help="judge a repository")
    lint.add_argument("--format", choices=FORMATS, default="text", help="how to write findings (default: text)")
    lint.add_argument("--to", metavar="FILE", help="write findings there")
    test = actions.add_parser("test", help="run the unit tests of its rules with promtool")
    test.add_argument("--coverage", action="store_true", help="list for each alert how many tests fire and are silent")
    test.add_argument("--junit", metavar="FILE", help="write results there, as JUnit")
    test.add_argument("--cache", metavar="FOLDER", help="keep verdicts there: what did not change is not run again")
    render = actions.add_parser("render", help="show what would be applied")
    render.add_argument("--out", metavar="FOLDER", help="write files there, instead of to standard output")
    explain = actions.add_parser("explain", help="say what an alert or a code means")
    explain.add_argument("name", metavar="NAME", help="an alert, or a code such as MAC407")
    for action in (lint, test, render, explain):
        repository_arguments(action)


def repository_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-C", "--folder", metavar="FOLDER", default=".", help="the repository (default: this folder)")
    parser.add_argument("--revision", metavar="REV", help="read it as of this revision, from Git's objects")
    parser.add_argument("--path", metavar="PATH", default="", help="with --revision: where in the repository it is")
    parser.add_argument("--trusted", metavar="FILE", help="with --revision: keys, one of which must have signed it")
    parser.add_argument("--profile", metavar="NAME", default="", help="put profiles/NAME.yaml over the standards")
    parser.add_argument("--fixtures", metavar="FILE", help="clusters to render with (default: two made-up ones)")


async def run(args: argparse.Namespace, parts: Parts) -> int:
    return ACTIONS[args.action](args, parts)


def init(args: argparse.Namespace, parts: Parts) -> int:
    folder = Path(args.folder)
    if folder.exists() and {entry.name for entry in folder.iterdir()} - {".git"}:
        raise BadManifest(f"{folder} is not empty; name a new folder")
    write_files(folder, starter())
    parts.stdout.write(f"{folder}: a monitoring repository. Next: forebay mac lint -C {folder}\n")
    return OK


def lint(args: argparse.Namespace, parts: Parts) -> int:
    verdict = judged(args, parts)
    findings = verdict.findings
    shown = FORMATS[args.format](findings)
    if args.to:
        Path(args.to).write_text(shown)
    else:
        parts.stdout.write(shown)
    if args.format == "text" or args.to:
        parts.stdout.write(summary(verdict))
    return FAILED if findings else OK


def summary(verdict: Verdict) -> str:
    if verdict.findings or verdict.bundle is None:
        return f"refused: {plural(len(verdict.findings), 'finding')}\n"
    rules = list(verdict.bundle.rules)
    alerts = sum(rule.alerting for rule in rules)
    size = verdict.bundle.rule_bytes
    return f"accepted: {plural(alerts, 'alert')}, {plural(len(rules) - alerts, 'recording')}, {size:,} bytes of rules\n"


def test(args: argparse.Namespace, parts: Parts) -> int:
    verdict = judged(args, parts)
    if verdict.bundle is None:
        parts.stdout.write(report.text(verdict.findings) + summary(verdict))
        return FAILED
    promtool = find_promtool(Path(args.cache) if args.cache else None, TEST_TIME_S, parts.now)
    findings = list(promtool.check(verdict.bundle.rule_files))
    results = [] if findings else promtool.test(verdict.bundle, runnable(verdict.bundle, verdict.suites))
    findings += [*result_findings(results), *(one for one in verdict.findings if one.code.startswith("MAC5"))]
    if args.junit:
        Path(args.junit).write_text(report.junit(results))
    if args.coverage:
        counts = coverage(verdict.bundle, verdict.suites)
        parts.stdout.write("".join(f"{name}: {fires} firing, {silent} silent\n" for name, fires, silent in counts))
    parts.stdout.write(report.text(findings))
    kept = sum(one.kept for one in results)
    failed = sum(not one.passed for one in results)
    parts.stdout.write(f"{plural(len(results), 'test file')}, {failed} failed, {kept} unchanged since they were run\n")
    return FAILED if findings else OK


def render(args: argparse.Namespace, parts: Parts) -> int:
    """Also of a revision that lint refuses: that is how one sees why."""
    verdict = judged(args, parts)
    if verdict.bundle is None:
        parts.stderr.write(report.text(verdict.findings))
        return FAILED
    bundle = verdict.bundle
    files = {f"rules/{one.name}": one.text for one in bundle.rule_files}
    files |= {f"routes/{one.name}": one.text for one in bundle.routes}
    files |= {f"dashboards/{one.name}": one.text for one in bundle.dashboards}
    if args.out:
        write_files(Path(args.out), {name: text.encode() for name, text in files.items()})
        parts.stdout.write(f"{args.out}: {plural(len(files), 'file')}, {bundle.digest()}\n")
    else:
        parts.stdout.write("".join(f"# {name}\n{text.rstrip()}\n" for name, text in files.items()))
    return OK


def explain(args: argparse.Namespace, parts: Parts) -> int:
    parts.stdout.write(explained(args.name, lambda: judged(args, parts)))
    return OK


def judged(args: argparse.Namespace, parts: Parts) -> Verdict:
    """The operator's verdict. Raises MonitoringLacks, BadManifest, OSError."""
    try:
        setting = Setting(version("forebay"), shipped(), parts.now, args.profile)
        return judge(tree_of(args), resources_of(args), setting)
    except MonitoringRefused as exc:
        return Verdict(None, (), exc.findings)


def tree_of(args: argparse.Namespace) -> Tree:
    if not args.revision:
        if args.trusted or args.path:
            raise BadManifest("--trusted and --path go with --revision: a working folder has no signature")
        return read_folder(Path(args.folder))
    with open_repository(args.folder) as repository:
        commit = read_commit(repository, args.revision, args.path)
    if args.trusted:
        signer(commit.raw, read_trusted(Path(args.trusted).read_text()))
    return commit.tree


def resources_of(args: argparse.Namespace) -> Resources:
    return read_fixtures(Path(args.fixtures).read_text(), args.fixtures) if args.fixtures else EXAMPLE


def write_files(folder: Path, files: Tree) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


FORMATS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "text": report.text,
    "json": report.as_json,
    "sarif": lambda findings: report.sarif(findings, version("forebay")),
}
ACTIONS: Mapping[str, Callable[[argparse.Namespace, Parts], int]] = {
    "init": init,
    "lint": lint,
    "test": test,
    "render": render,
    "explain": explain,
}
