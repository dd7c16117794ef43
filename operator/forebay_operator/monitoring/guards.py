"""Guards against a revision that is right by every rule and still a mistake (MAC801, MAC802). Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forebay_operator.model import Finding
from forebay_operator.monitoring.render.bundle import Bundle

SHIFT = 3
"""Below so many objects a share says nothing: removing one of two is a day's work."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Of a policy. `object_bytes`: what one object may carry (etcd takes 1 MiB and a little)."""

    rule_bytes: int = 262_144
    object_bytes: int = 900 << 10
    prune_percent: int = 30


def size_findings(bundle: Bundle, budget: Budget) -> Iterator[Finding]:
    """MAC801."""
    if bundle.rule_bytes > budget.rule_bytes:
        said = f"{bundle.rule_bytes:,} bytes of rules; the policy's maxRuleBytes is {budget.rule_bytes:,}"
        yield Finding("templates/rules", 0, "MAC801", said)
    carried = [(file.file, file.text) for file in bundle.rule_files] + [
        (one.file, one.text) for one in bundle.dashboards
    ]
    for file, text in carried:
        if len(text.encode()) > budget.object_bytes:
            said = f"{len(text.encode()):,} bytes rendered; one object carries {budget.object_bytes:,}: split it"
            yield Finding(file, 0, "MAC801", said)


def prune_findings(before: Mapping[str, str], after: Mapping[str, str], budget: Budget) -> Iterator[Finding]:
    """MAC802. Objects by name and digest, as they are and as they would be."""
    gone = sorted(before.keys() - after.keys())
    if before and not after:
        yield Finding(".", 0, "MAC802", f"all {len(before):,} objects would go")
    elif len(gone) >= SHIFT and len(gone) * 100 > budget.prune_percent * len(before):
        share = len(gone) * 100 // len(before)
        names = ", ".join(gone[:3])
        said = f"{len(gone):,} of {len(before):,} objects would go ({share}%; maxPrunePercent is {budget.prune_percent}): {names}"
        yield Finding(".", 0, "MAC802", said)
