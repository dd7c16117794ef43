"""What is known of an expression's result. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ANY = "*"
"""Among labels: there may be others."""
INSTANCE_LABELS = frozenset({"instance", "pod", "pod_name", "node", "host", "container", "endpoint"})
TARGET_LABELS = frozenset({"job", "namespace", "cache_cluster", "service", *INSTANCE_LABELS})
"""Labels that discovery gives to every series."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`labels`: those it may carry. `counter`: a counter's raw value. `gauge`: a gauge's value at this moment. `rate`: made
    of counters' rates. `ratio`: a share that one request of two could move. `condition`: it is empty where a comparison
    does not hold. `threshold`: a gauge compared with a number. `floor`: compared with a least amount. `absent`: of a
    series that is not there. `joined`: two conditions that must both hold."""

    kind: Literal["vector", "scalar", "string", "matrix"] = "vector"
    labels: frozenset[str] = frozenset()
    counter: bool = False
    gauge: bool = False
    rate: bool = False
    ratio: bool = False
    condition: bool = False
    threshold: bool = False
    floor: bool = False
    absent: bool = False
    joined: bool = False

    def carries(self, label: str) -> bool:
        return label in self.labels or ANY in self.labels

    def lacking(self, labels: Iterable[str]) -> list[str]:
        return [label for label in labels if not self.carries(label)]


@dataclass(frozen=True, slots=True)
class Analysis:
    """`faults`: code and message. `metrics`: names it reads."""

    shape: Shape
    faults: tuple[tuple[str, str], ...]
    metrics: frozenset[str]
