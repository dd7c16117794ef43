"""What a schema cannot say: each rule as CEL for the API server, and as its Python twin for the dictionary and the CLI.

One corpus of bad manifests, tests/manifests/bad, runs on both: the same field and the same rule must be named.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_operator.api.fields import DURATION, QUANTITY, quantity, seconds
from forebay_operator.api.v1alpha1 import ADMIN_PORT

Value = Any
"""JSON at one place of an object."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """`rule` is the name of a Rule, or the word of the schema that was broken, such as maximum."""

    path: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Rule:
    """`at` is where `self` is, `[*]` meaning each item; `field` is the field below it that is to blame.

    `holds` gets `self` and, for a rule about changes (its CEL says oldSelf), `oldSelf`.
    """

    name: str
    at: str
    cel: str
    message: str
    holds: Callable[[Value, Value], bool]
    field: str = ""

    @property
    def about_change(self) -> bool:
        return "oldSelf" in self.cel


BACKINGS = ("claim", "hostPath", "emptyDir")
ORIGINS = ("s3", "directory")


def count(new: Mapping[str, Value], names: Sequence[str]) -> int:
    return sum(name in new for name in names)


def one_of(names: Sequence[str]) -> str:
    return " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names) + " == 1"


def no_component(new: Value, bad: Sequence[str]) -> bool:
    return not set(new["path"].split("/")) & set(bad)


def apart(sources: Sequence[Mapping[str, Value]]) -> bool:
    paths = [source["path"] for source in sources]
    return all(sum(path.startswith(other) for other in paths) == 1 for path in paths)


def unless_misspelt(field: str, pattern: str, cel: str) -> str:
    """`cel`, but true for text that breaks its pattern: the schema says so already."""
    return f"!self.{field}.matches(r'{pattern}') || {cel}"


def misspelt(text: str, pattern: str) -> bool:
    return re.fullmatch(pattern, text) is None


def guarantee_fits(new: Mapping[str, Value]) -> bool:
    sizes = [new.get("guaranteed"), new.get("max")]
    if any(size is None or misspelt(size, QUANTITY) for size in sizes):
        return True
    return quantity(new["guaranteed"]) <= quantity(new["max"])


def long_enough(new: Mapping[str, Value]) -> bool:
    return "idleTTL" not in new or misspelt(new["idleTTL"], DURATION) or seconds(new["idleTTL"]) >= 60


def claim_kept(new: Mapping[str, Value], old: Mapping[str, Value]) -> bool:
    return "claim" not in new or "claim" not in old or bool(new["claim"] == old["claim"])


def size_kept(new: Mapping[str, Value], old: Mapping[str, Value]) -> bool:
    if misspelt(new["capacity"], QUANTITY) or "claim" not in new:
        return True
    return quantity(new["capacity"]) == quantity(old["capacity"])


CACHE_CLUSTER = (
    Rule(
        "watermarks",
        "spec",
        "self.lowWatermarkPercent < self.highWatermarkPercent",
        "lowWatermarkPercent must be below highWatermarkPercent",
        lambda new, _: new["lowWatermarkPercent"] < new["highWatermarkPercent"],
        "lowWatermarkPercent",
    ),
    Rule(
        "one-backing",
        "spec.storage",
        one_of(BACKINGS),
        "exactly one of claim, hostPath and emptyDir must be given",
        lambda new, _: count(new, BACKINGS) == 1,
    ),
    Rule(
        "capacity-floor",
        "spec.storage",
        unless_misspelt("capacity", QUANTITY, "quantity(self.capacity).compareTo(quantity('64Mi')) >= 0"),
        "capacity must be 64Mi or more: chunks are 8 MiB",
        lambda new, _: misspelt(new["capacity"], QUANTITY) or quantity(new["capacity"]) >= 64 << 20,
        "capacity",
    ),
    Rule(
        "backing-fixed",
        "spec.storage",
        " && ".join(f"has(self.{name}) == has(oldSelf.{name})" for name in BACKINGS),
        "claim, hostPath and emptyDir cannot be exchanged: make another CacheCluster",
        lambda new, old: all((name in new) == (name in old) for name in BACKINGS),
    ),
    Rule(
        "claim-fixed",
        "spec.storage",
        "!has(self.claim) || !has(oldSelf.claim) || self.claim == oldSelf.claim",
        "a claim cannot change: make another CacheCluster",
        claim_kept,
        "claim",
    ),
    Rule(
        "claim-size-fixed",
        "spec.storage",
        unless_misspelt(
            "capacity",
            QUANTITY,
            "!has(self.claim) || quantity(self.capacity).compareTo(quantity(oldSelf.capacity)) == 0",
        ),
        "the capacity of claims cannot change: make another CacheCluster",
        size_kept,
        "capacity",
    ),
    Rule(
        "host-path-plain",
        "spec.storage.hostPath",
        "!self.path.split('/').exists(name, name == '..')",
        "path must not contain '..'",
        lambda new, _: no_component(new, [".."]),
        "path",
    ),
    Rule(
        "one-version",
        "spec.image",
        "has(self.tag) != has(self.digest)",
        "exactly one of tag and digest must be given",
        lambda new, _: ("tag" in new) != ("digest" in new),
    ),
    Rule(
        "port-free",
        "spec.s3",
        f"self.port != {ADMIN_PORT}",
        f"port {ADMIN_PORT} is the members' admin port",
        lambda new, _: new["port"] != ADMIN_PORT,
        "port",
    ),
)

DATASET = (
    Rule(
        "cluster-fixed",
        "spec.clusterRef",
        "self == oldSelf",
        "a Dataset stays with its CacheCluster: make another Dataset",
        lambda new, old: bool(new == old),
    ),
    Rule(
        "paths-apart",
        "spec.sources",
        "self.all(source, self.exists_one(other, source.path.startsWith(other.path)))",
        "no source's path may be or lie inside another's",
        lambda new, _: apart(new),
    ),
    Rule(
        "one-origin",
        "spec.sources[*]",
        one_of(ORIGINS),
        "exactly one of s3 and directory must be given",
        lambda new, _: count(new, ORIGINS) == 1,
    ),
    Rule(
        "credentials-for-s3",
        "spec.sources[*]",
        "!has(self.credentials) || has(self.s3)",
        "credentials are for s3 only",
        lambda new, _: "credentials" not in new or "s3" in new,
        "credentials",
    ),
    Rule(
        "path-plain",
        "spec.sources[*]",
        "!self.path.split('/').exists(name, name == '.' || name == '..')",
        "path must not contain '.' or '..'",
        lambda new, _: no_component(new, [".", ".."]),
        "path",
    ),
    Rule(
        "directory-plain",
        "spec.sources[*].directory",
        "!self.path.split('/').exists(name, name == '..')",
        "path must not contain '..'",
        lambda new, _: no_component(new, [".."]),
        "path",
    ),
    Rule(
        "sync-floor",
        "spec.sync",
        unless_misspelt("interval", DURATION, "duration(self.interval) >= duration('10s')"),
        "interval must be 10s or more",
        lambda new, _: misspelt(new["interval"], DURATION) or seconds(new["interval"]) >= 10,
        "interval",
    ),
    Rule(
        "pinned-commit",
        "spec.version",
        "(self.mode == 'Pinned') == has(self.commit)",
        "commit must be given with mode Pinned, and only then",
        lambda new, _: (new["mode"] == "Pinned") == ("commit" in new),
        "commit",
    ),
    Rule(
        "guarantee-below-max",
        "spec.cache",
        "!has(self.guaranteed) || !has(self.max) || "
        + unless_misspelt("guaranteed", QUANTITY, "")
        + unless_misspelt("max", QUANTITY, "quantity(self.guaranteed).compareTo(quantity(self.max)) <= 0"),
        "guaranteed must not be more than max",
        lambda new, _: guarantee_fits(new),
        "guaranteed",
    ),
    Rule(
        "pin-has-room",
        "spec.cache",
        "self.pin != 'All' || has(self.guaranteed)",
        "guaranteed must be given with pin All: it says how much disk that may take for good",
        lambda new, _: new["pin"] != "All" or "guaranteed" in new,
        "guaranteed",
    ),
    Rule(
        "ttl-floor",
        "spec.cache",
        "!has(self.idleTTL) || " + unless_misspelt("idleTTL", DURATION, "duration(self.idleTTL) >= duration('1m')"),
        "idleTTL must be 1m or more",
        lambda new, _: long_enough(new),
        "idleTTL",
    ),
)

RULES: Mapping[str, tuple[Rule, ...]] = {"CacheCluster": CACHE_CLUSTER, "Dataset": DATASET}


def places(value: Value, at: str) -> Iterator[tuple[str, Value]]:
    """Every place of `value` that `at` means, with its path."""
    head, _, rest = at.partition(".")
    name = head.removesuffix("[*]")
    if not isinstance(value, Mapping) or name not in value:
        return
    below = [(f"{name}[{n}]", item) for n, item in enumerate(value[name])] if name != head else [(name, value[name])]
    for path, child in below:
        if not rest:
            yield path, child
        for tail, found in places(child, rest) if rest else ():
            yield f"{path}.{tail}", found


def broken(kind: str, old: Value | None, new: Value) -> list[FieldError]:
    """The rules that the change from `old` (None: a create) to `new` breaks. Both passed the schema."""
    errors = []
    for rule in RULES[kind]:
        before = dict(places(old or {}, rule.at))
        for path, value in places(new, rule.at):
            if rule.about_change and path not in before:
                continue
            if not rule.holds(value, before.get(path)):
                errors.append(FieldError(f"{path}.{rule.field}" if rule.field else path, rule.name, rule.message))
    return errors
