"""Runs promtool: the one program that monitoring starts, on files of a folder of its own.

A test file's verdict depends on promtool's version, the rules it names and its own text, so it is kept under their digest:
a suite that did not change is never run twice.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay_operator.model import Finding, MonitoringLacks
from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.render.rules import RuleFile
from forebay_operator.monitoring.unit.suite import Suite, at_seconds

OUTPUT_LIMIT = 64 << 10
CACHE_LIMIT = 1000
FAILED_CASE = re.compile(r"alertname: ?(\w+), time: ?(\w+),")


@dataclass(frozen=True, slots=True)
class Result:
    """Of one test file. `output`: what promtool said, where it failed. `kept`: from an earlier run."""

    suite: Suite
    passed: bool
    output: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Promtool:
    """`cache`: a folder for verdicts; None keeps none. `time_s`: for all the work of one call."""

    program: str
    version: str
    cache: Path | None
    time_s: float
    now: Callable[[], float]

    def check(self, files: Iterable[RuleFile]) -> Iterator[Finding]:
        """MAC301: whatever promtool alone refuses."""
        for file in files:
            with tempfile.TemporaryDirectory(prefix="forebay-mac-") as folder:
                write(Path(folder), [file])
                passed, output = self._run(folder, self.time_s, "check", "rules", file.name)
            if not passed:
                yield Finding(file.file, 0, "MAC301", f"promtool refuses {file.name}: {last_line(output)}")

    def test(self, bundle: Bundle, suites: Sequence[Suite]) -> list[Result]:
        """One result for each, in order. Past `time_s` the rest fails."""
        files = {file.name: file for file in bundle.rule_files}
        end = self.now() + self.time_s
        return [self._test(one, [files[name] for name in one.rule_files if name in files], end) for one in suites]

    def _test(self, suite: Suite, files: Sequence[RuleFile], end: float) -> Result:
        key = self._digest(suite, files)
        kept = self._kept(key)
        if kept:
            return Result(suite, kept[0], kept[1], kept=True)
        left = end - self.now()
        if left <= 0:
            return Result(suite, passed=False, output=f"not run: {self.time_s:g} s are over")
        with tempfile.TemporaryDirectory(prefix="forebay-mac-") as folder:
            write(Path(folder), files)
            Path(folder, suite.name).write_text(suite.text)
            passed, output = self._run(folder, left, "test", "rules", suite.name)
        self._keep(key, passed=passed, output=output)
        return Result(suite, passed, output)

    def _run(self, folder: str, time_s: float, *words: str) -> tuple[bool, str]:
        command = [self.program, *words]
        environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=time_s, check=False
            )
        except subprocess.TimeoutExpired:
            return False, f"not done within {time_s:.0f} s"
        said = (done.stdout + done.stderr)[:OUTPUT_LIMIT].decode(errors="replace")
        return done.returncode == 0, said.replace(folder, "")

    def _digest(self, suite: Suite, files: Sequence[RuleFile]) -> str:
        given = [self.version, suite.text, *((file.name, file.text) for file in files)]
        return hashlib.sha256(json.dumps(given).encode()).hexdigest()

    def _kept(self, key: str) -> tuple[bool, str] | None:
        """A verdict that cannot be read is none."""
        try:
            found = json.loads((self.cache / key).read_text()) if self.cache else None
            return (bool(found["passed"]), str(found["output"])) if found else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, key: str, *, passed: bool, output: str) -> None:
        if not self.cache:
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        for old in sorted(self.cache.iterdir(), key=lambda path: path.stat().st_mtime)[: -CACHE_LIMIT + 1]:
            old.unlink(missing_ok=True)
        aside = self.cache / f"{key}.{os.getpid()}"
        aside.write_text(json.dumps({"passed": passed, "output": output}))
        aside.rename(self.cache / key)


def write(folder: Path, files: Iterable[RuleFile]) -> None:
    for file in files:
        (folder / file.name).write_text(file.text)


def last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"


def find_promtool(cache: Path | None, time_s: float, now: Callable[[], float]) -> Promtool:
    """Raises MonitoringLacks."""
    program = shutil.which("promtool")
    if not program:
        raise MonitoringLacks("unit tests of rules need promtool (Debian package `prometheus`); it is not in $PATH")
    done = subprocess.run([program, "--version"], capture_output=True, timeout=30, check=False, text=True)
    first = (done.stdout + done.stderr).splitlines()
    return Promtool(program, first[0] if first else "", cache, time_s, now)


def result_findings(results: Iterable[Result]) -> Iterator[Finding]:
    """MAC503: one for each case that failed, at its line; else one for the file."""
    for result in results:
        if result.passed:
            continue
        parts = FAILED_CASE.split(result.output)
        for alert, time, said in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            place = result.suite.place(alert, at_seconds(time))
            yield Finding(*place, "MAC503", f"{alert}: at {time}: {' '.join(said.split())[:600]}")
        if len(parts) == 1:
            yield Finding(result.suite.shown, 0, "MAC503", " ".join(result.output.split())[:600])
