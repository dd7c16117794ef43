"""Monitoring as code: CPU to judge a revision for 1,000 clusters, against a budget of 3 s.

monitoring.generic       the shipped pack: rules keyed by labels, the same for any number of clusters
monitoring.per-cluster   a template with a loop: 11 rules and 3.9 MB for 1,000 clusters

Read, render, lint and count coverage, as the operator and `forebay mac lint` do. CPU seconds of this process, so that what
else the machine does shows little. The rival is the budget.   --rounds N (default 9)
"""

import time
from collections.abc import Mapping
from functools import partial

from bench.harness import Measure, Sample, rounds, run
from forebay_operator.monitoring.engine import Setting, judge
from forebay_operator.monitoring.guards import Budget
from forebay_operator.monitoring.render.resources import Cluster, Resources
from forebay_operator.monitoring.shipped import shipped

CLUSTERS, RULES, BUDGET_S = 1000, 11, 3.0
LARGE = 32 << 20
ALONE = b"schema: 1\npack: false\n"
RULE = """\
  - record: cache_cluster:own{n}:rate5m
    expr: |-
      sum by (namespace, cache_cluster) (rate(forebay_s3_requests_total{{namespace="[[ c.namespace ]]", cache_cluster="[[ c.name ]]", status=~"5.."}}[5m]))
      / sum by (namespace, cache_cluster) (rate(forebay_s3_requests_total{{namespace="[[ c.namespace ]]", cache_cluster="[[ c.name ]]"}}[5m]))
    labels: {{of: "[[ c.namespace ]]/[[ c.name ]]", owner: "[[ c.owner ]]"}}
"""  # noqa: E501 - a template


def main(arguments: list[str]) -> int:
    rules = "".join(RULE.format(n=n) for n in range(RULES))
    loop = (
        "groups:\n[% for c in clusters %]\n- name: own-[[ c.namespace ]]-[[ c.name ]]\n  rules:\n"
        + rules
        + "[% endfor %]\n"
    )
    large = f"ruleBytes: {LARGE}\n".encode()
    mine = {"forebay.yaml": ALONE, "standards/budgets.yaml": large, "templates/rules/own.yaml.j2": loop.encode()}
    measures = [
        measure("monitoring.generic", {"forebay.yaml": b"schema: 1\n"}),
        measure("monitoring.per-cluster", mine),
    ]
    return run("monitoring", measures, rounds(arguments))


def measure(name: str, tree: Mapping[str, bytes]) -> Measure:
    made = (
        Cluster(namespace=f"team-{n % 40}", name=f"c{n:04}", origins=("s3 aws eu-west-1 images",))
        for n in range(CLUSTERS)
    )
    resources = Resources(clusters=tuple(made))
    setting = Setting("0.1.0", shipped(), time.monotonic, budget=Budget(rule_bytes=LARGE, object_bytes=LARGE))

    def judged() -> Sample:
        begun = time.process_time()
        verdict = judge(tree, resources, setting)
        spent = time.process_time() - begun
        assert verdict.bundle, verdict.findings
        assert verdict.accepted, verdict.findings
        return Sample(spent, {"rules": len(list(verdict.bundle.rules)), "bytes": verdict.bundle.rule_bytes})

    return Measure(name, "CPU s", judged, partial(Sample, BUDGET_S), goal=1.0, better="less", rival_name="budget")
