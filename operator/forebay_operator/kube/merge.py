"""Server-side apply as pure functions: who owns which field, what an apply changes, where it conflicts.

Follows the API server's rules (its structured-merge-diff): an apply sets exactly its fields, gives up those it left out,
and conflicts where it would change a field of another manager. A path is a tuple of FieldsV1 elements: `f:name`,
`k:{"name":"a"}` for an item of a list with named keys, `v:"x"` for an item of a set; every other list is one leaf.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Path = tuple[str, ...]
Paths = frozenset[Path]

KEYS: Mapping[str, tuple[str, ...]] = {
    # lists with named keys, by field name or by the path of field names; all others are atomic
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "initContainers": ("name",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "spec.ports": ("port", "protocol"),
    "spec.sources": ("name",),
    "status.members": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
KEY_DEFAULTS = {"protocol": "TCP"}
SETS = ("finalizers",)
ATOMIC_MAPS = ("configMapKeyRef", "fieldRef", "nodeSelector", "resourceFieldRef", "secretKeyRef", "selector")
UNOWNED = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


def compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def last_field(path: Path) -> str:
    return path[-1][2:] if path and path[-1].startswith("f:") else ""


def item_elements(path: Path, items: Sequence[Any]) -> list[str] | None:
    """The elements of a list's items; None: the list is atomic."""
    name = last_field(path)
    if name in SETS:
        return [f"v:{compact(item)}" for item in items]
    keys = KEYS.get(".".join(element[2:] for element in path)) or KEYS.get(name)
    if keys is None or not all(isinstance(item, Mapping) for item in items):
        return None
    return [f"k:{compact({k: item.get(k, KEY_DEFAULTS.get(k)) for k in keys})}" for item in items]


def children(value: object, path: Path) -> list[tuple[str, Any]] | None:
    """What `value` is made of, by path element; None: it is a leaf."""
    if isinstance(value, Mapping) and value and last_field(path) not in ATOMIC_MAPS:
        return [(f"f:{name}", child) for name, child in value.items()]
    if isinstance(value, list) and value:
        elements = item_elements(path, value)
        return None if elements is None else list(zip(elements, value, strict=True))
    return None


def leaves(value: object, path: Path = ()) -> dict[Path, str]:
    """Path -> value of every leaf, and of every item of a keyed list (with an empty value: its presence)."""
    parts = children(value, path)
    if parts is None:
        return {path: compact(value)} if path else {}
    found: dict[Path, str] = {}
    for element, child in parts:
        below = (*path, element)
        if not element.startswith("f:"):
            found[below] = ""
        if element.startswith(("f:", "k:")):
            found |= leaves(child, below)
    return found


def owned(body: Mapping[str, Any]) -> Paths:
    """The paths whose owner an apply or create of `body` becomes."""
    metadata = {name: value for name, value in body.get("metadata", {}).items() if name not in UNOWNED}
    rest = {name: value for name, value in body.items() if name not in ("apiVersion", "kind", "metadata")}
    return frozenset(leaves({**rest, **({"metadata": metadata} if metadata else {})}))


def merged(live: Any, applied: Any, path: Path = ()) -> Any:
    """`live` with the leaves of `applied` set."""
    new, old = children(applied, path), children(live, path)
    if new is None or old is None or isinstance(applied, Mapping) is not isinstance(live, Mapping):
        return live if applied == {} and old is not None else applied
    if isinstance(applied, Mapping):
        values = {
            name: merged(live[name], child, (*path, f"f:{name}")) for name, child in applied.items() if name in live
        }
        return {**live, **applied, **values}
    return merged_items(dict(old), dict(new), path)


def merged_items(old: dict[str, Any], new: dict[str, Any], path: Path) -> list[Any]:
    """Items in the order applied; those only `old` has keep their place among their neighbours."""
    result: list[Any] = []
    waiting = list(new)
    for element, item in old.items():
        if element not in new:
            result.append(item)
            continue
        while element in waiting:
            head = waiting.pop(0)
            result.append(merged(old[head], new[head], (*path, head)) if head in old else new[head])
    return result + [new[element] for element in waiting]


def without(value: Any, gone: Iterable[Path], path: Path = ()) -> Any:
    """`value` without the paths `gone` and all below them."""
    gone = frozenset(gone)
    parts = children(value, path)
    if parts is None or not any(p[: len(path)] == path for p in gone):
        return value
    kept = [(e, without(child, gone, (*path, e))) for e, child in parts if (*path, e) not in gone]
    return {e[2:]: child for e, child in kept} if isinstance(value, Mapping) else [child for _, child in kept]


def with_parents(paths: Iterable[Path]) -> set[Path]:
    """`paths` and the named fields above them: a field is owned while anything below it is."""
    return {p[:n] for p in paths for n in range(1, len(p) + 1) if n == len(p) or p[n - 1].startswith("f:")}


def given_up(before: Paths, now: Iterable[Paths]) -> set[Path]:
    """What an applier owned and nobody owns any more."""
    return with_parents(before) - with_parents(path for paths in now for path in paths) - {("f:metadata",)}


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Paths:
    """Leaves that `new` adds or gives another value."""
    before = leaves(old)
    return frozenset(path for path, value in leaves(new).items() if before.get(path) != value)


def spelled(path: Path) -> str:
    """A path as conflict messages write it: .spec.containers[name="a"].image"""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "v:":
            text += f"[={rest}]"
        else:
            text += "[" + ",".join(f"{name}={compact(value)}" for name, value in json.loads(rest).items()) + "]"
    return text


def to_fields_v1(paths: Paths) -> dict[str, Any]:
    """The nested form that managedFields holds."""
    root: dict[str, Any] = {}
    above = {path[:n] for path in paths for n in range(len(path))}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        if path in above:
            node["."] = {}
    return root


def from_fields_v1(node: Mapping[str, Any], path: Path = ()) -> Paths:
    """The paths of the nested form."""
    found = {path} if path and (not node or "." in node) else set()
    for element, below in node.items():
        if element != ".":
            found |= from_fields_v1(below, (*path, element))
    return frozenset(found)
