"""Pure: the writes that turn what is there into what is wanted."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from forebay_operator.model import (
    CONFIG_MAP,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Action,
    Apply,
    Delete,
    Key,
    Kind,
    Manifest,
    Object,
)
from forebay_operator.names import DIGEST, is_ours

ORDER: Sequence[Kind] = (SECRET, CONFIG_MAP, SERVICE, STATEFUL_SET)
"""What a pod needs comes before the pod."""


def plan(wanted: Sequence[Manifest], children: Mapping[Key, Object], kept: frozenset[Key]) -> list[Action]:
    """Applies in ORDER, deletes last and in reverse. `kept` are minted: never rewritten, never deleted."""
    keys = {manifest.key for manifest in wanted}
    stale = [manifest for manifest in wanted if not settled(manifest, children.get(manifest.key))]
    orphans = [key for key in children if key not in keys and key not in kept]
    return [
        *(Apply(manifest) for manifest in sorted(stale, key=lambda manifest: _rank(manifest.key))),
        *(_delete(key, children[key]["metadata"]) for key in sorted(orphans, key=_rank, reverse=True)),
    ]


def settled(manifest: Manifest, live: Object | None) -> bool:
    """Whether a live object is as we last wanted it: our digest is on it, and every field of ours still is ours.

    Whoever changes a field takes it over. Values are not compared: a server spells some in its own way (1024Mi is 1Gi).
    """
    if live is None:
        return False
    digest = (live["metadata"].get("annotations") or {}).get(DIGEST)
    fields = applied_fields(live)
    return digest == manifest.digest and fields is not None and owns(fields, _apart(manifest.body))


def owns(fields: Mapping[str, Any], wanted: Any) -> bool:
    """Whether FieldsV1 `fields` hold every field of `wanted`. Nothing below a name: what it names is owned whole."""
    if not fields:
        return True
    if isinstance(wanted, Mapping):
        return all(f"f:{name}" in fields and owns(fields[f"f:{name}"], value) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        named = [(json.loads(element[2:]), below) for element, below in fields.items() if element.startswith("k:")]
        return all(any(_is_named(item, keys) and owns(below, item) for keys, below in named) for item in wanted)
    return True


def _is_named(item: Any, keys: Mapping[str, Any]) -> bool:
    return isinstance(item, Mapping) and all(item.get(name) == value for name, value in keys.items())


def applied_fields(live: Object) -> Mapping[str, Any] | None:
    """FieldsV1 of what we applied and nobody else changed since; None: nothing is."""
    for entry in live["metadata"].get("managedFields") or ():
        if is_ours(entry):
            fields: Mapping[str, Any] = entry["fieldsV1"]
            return fields or None
    return None


def _apart(body: Object) -> Object:
    """A body without what names the object: nobody owns that."""
    metadata = {name: value for name, value in body["metadata"].items() if name not in ("name", "namespace")}
    return {**{name: value for name, value in body.items() if name not in ("apiVersion", "kind")}, "metadata": metadata}


def _delete(key: Key, metadata: Mapping[str, Any]) -> Delete:
    return Delete(key, metadata["uid"], metadata.get("resourceVersion", ""))


def _rank(key: Key) -> tuple[int, Key]:
    return (ORDER.index(key.kind) if key.kind in ORDER else len(ORDER), key)
