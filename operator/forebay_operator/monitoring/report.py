"""Findings and test results as people and programs read them: text, JSON, SARIF 2.1.0, JUnit. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from forebay_operator.model import Finding
from forebay_operator.monitoring.codes import CODES, reason
from forebay_operator.monitoring.unit.promtool import Result, result_findings

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
DOCS = "https://forebay.dev/monitoring/codes#"


def text(findings: Sequence[Finding]) -> str:
    """A line for each; what else to say where there is none is the caller's."""
    return "".join(f"{one}\n" for one in findings)


def as_json(findings: Iterable[Finding]) -> str:
    return dumped([fields(one) for one in findings])


def fields(finding: Finding) -> Mapping[str, Any]:
    where = {"file": finding.file, "line": finding.line}
    return {**where, "code": finding.code, "reason": reason(finding.code), "message": finding.message}


def sarif(findings: Sequence[Finding], version: str) -> str:
    used = sorted({one.code for one in findings})
    driver = {
        "name": "forebay mac",
        "version": version,
        "informationUri": DOCS[:-1],
        "rules": [rule(one) for one in used],
    }
    results = [result(one, used.index(one.code)) for one in findings]
    runs = [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}]
    return dumped({"$schema": SARIF, "version": "2.1.0", "runs": runs})


def rule(code: str) -> Mapping[str, Any]:
    known = CODES[code]
    return {
        "id": code,
        "shortDescription": {"text": known.title},
        "fullDescription": {"text": known.why},
        "helpUri": DOCS + code.lower(),
        "defaultConfiguration": {"level": "error"},
    }


def result(finding: Finding, index: int) -> Mapping[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": finding.file}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
    }


def junit(results: Sequence[Result]) -> str:
    """One suite for each test file, one case for each alert of it."""
    root = ET.Element("testsuites", name="forebay mac")
    for one in results:
        failed = {finding.message.partition(":")[0]: finding for finding in result_findings([one])}
        names = dict.fromkeys(case.alert for case in one.suite.cases)
        odd = {name: finding for name, finding in failed.items() if name not in names}
        suite = ET.SubElement(root, "testsuite", name=one.suite.shown, tests=str(len(names) + len(odd)))
        suite.set("failures", str(len(failed)))
        for name in [*names, *("the file" for _ in odd)]:
            made = ET.SubElement(suite, "testcase", name=name, classname=one.suite.name, file=one.suite.shown)
            finding = failed.get(name) or (next(iter(odd.values())) if name == "the file" else None)
            if finding:
                ET.SubElement(made, "failure", message=printable(str(finding))[:300]).text = printable(one.output)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def printable(output: str) -> str:
    """XML has no control characters."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in output)


def dumped(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
