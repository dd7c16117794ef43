"""What the origin was asked: counted on the way to it, or by the member that asks where nothing lies between."""

import re
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Protocol

from bench.rig.region import Region

DEADLINE_S = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """Since some beginning."""

    requests: int
    bytes: int

    def since(self, before: "Asked") -> "Asked":
        return Asked(self.requests - before.requests, self.bytes - before.bytes)


class Counter(Protocol):
    def asked(self) -> Asked: ...


@dataclass(frozen=True, slots=True)
class AtRegion:
    """By the proxy in front of the store: whoever asked."""

    region: Region

    def asked(self) -> Asked:
        seen = self.region.counters()
        return Asked(seen["requests"], seen["bytes"])


@dataclass(frozen=True, slots=True)
class AtMember:
    """By the member, in the metrics that a Prometheus would scrape from `url`."""

    url: str

    def asked(self) -> Asked:
        unverified = ssl._create_unverified_context()  # its CA is the operator's; these are counters on this machine
        with urllib.request.urlopen(self.url, timeout=DEADLINE_S, context=unverified) as answer:
            text = answer.read().decode()
        return Asked(_sum("forebay_origin_requests_total", text), _sum("forebay_origin_received_bytes_total", text))


def _sum(metric: str, text: str) -> int:
    """Over all its labels."""
    return int(sum(float(value) for value in re.findall(rf"^{metric}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))
