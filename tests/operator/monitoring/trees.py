"""Small repositories as trees, and their verdicts."""

import time

from forebay_operator.model import Finding
from forebay_operator.monitoring.engine import Setting, Verdict, judge
from forebay_operator.monitoring.render.resources import EXAMPLE, Resources

VERSION = "0.1.0"
ALONE = {"forebay.yaml": b"schema: 1\npack: false\n"}
RULES = "templates/rules/own.yaml.j2"
RUNBOOK = "runbooks/ForebayDiskFull.md"
ALERT = """\
groups:
  - name: own
    rules:
      - alert: ForebayDiskFull
        expr: avg by (namespace, cache_cluster) (avg_over_time(forebay_store_used_bytes[15m])) > 1000
        for: 15m
        labels: {severity: ticket, owner: disks}
        annotations:
          summary: Full
          description: Disks of {{ $labels.cache_cluster }} are full.
          runbook_url: https://forebay.dev/runbooks/ForebayDiskFull
"""
TEST = """\
rule_files: [own.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: forebay_store_used_bytes{namespace="a", cache_cluster="b"}
        values: '2000x40'
    alert_rule_test:
      - eval_time: 30m
        alertname: ForebayDiskFull
        exp_alerts:
          - exp_labels: {severity: ticket, owner: disks, namespace: a, cache_cluster: b}
            exp_annotations:
              summary: Full
              description: Disks of b are full.
              runbook_url: https://forebay.dev/runbooks/ForebayDiskFull
      - eval_time: 5m
        alertname: ForebayDiskFull
        exp_alerts: []
"""


def tree(**changed: str | bytes | None) -> dict[str, bytes]:
    """A good repository of one alert, with files changed, added or (None) taken away."""
    files: dict[str, str | bytes | None] = {**ALONE, RULES: ALERT, RUNBOOK: "do", "tests/rules/own.test.yaml": TEST}
    files |= changed
    kept = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    return {name: data for name, data in kept.items() if data is not None}


def verdict(files: dict[str, bytes], resources: Resources = EXAMPLE, **setting: object) -> Verdict:
    return judge(files, resources, Setting(VERSION, {}, time.monotonic, **setting))  # type: ignore[arg-type]


def findings(files: dict[str, bytes], **setting: object) -> list[Finding]:
    return list(verdict(files, **setting).findings)  # type: ignore[arg-type]


def rules(*lines: str) -> dict[str, bytes]:
    """A repository of one group of rules and nothing else."""
    body = "\n".join(f"      {line}" for line in lines)
    return {**ALONE, RULES: f"groups:\n  - name: own\n    rules:\n{body}\n".encode()}


def said(expr: str, **kept: str) -> list[str]:
    """Codes on the expression of a recording."""
    extra = [f"  {name}: {value}" for name, value in kept.items()]
    found = findings(rules("- record: a:b:c", "  expr: |-", f"    {expr}", *extra))
    return [one.code for one in found]
