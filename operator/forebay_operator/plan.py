"""Pure: the writes that turn what is there into what is wanted."""

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
from forebay_operator.names import DIGEST

ORDER: Sequence[Kind] = (SECRET, CONFIG_MAP, SERVICE, STATEFUL_SET)
"""What a pod needs comes before the pod."""


def plan(wanted: Sequence[Manifest], children: Mapping[Key, Object], kept: frozenset[Key]) -> list[Action]:
    """Applies in ORDER, deletes last and in reverse. `kept` are minted: never rewritten, never deleted."""
    keys = {manifest.key for manifest in wanted}
    stale = [manifest for manifest in wanted if not settled(manifest, children.get(manifest.key))]
    orphans = [key for key in children if key not in keys and key not in kept]
    return [
        *(Apply(manifest) for manifest in sorted(stale, key=lambda manifest: _rank(manifest.key))),
        *(Delete(key, children[key]["metadata"]["uid"]) for key in sorted(orphans, key=_rank, reverse=True)),
    ]


def settled(manifest: Manifest, live: Object | None) -> bool:
    """Whether a live object is as we last wanted it: our digest is on it, and nobody changed a field of ours since.

    The digest alone cannot see another's edit; the fields alone cannot see one of ours that we no longer want.
    """
    if live is None:
        return False
    digest = live["metadata"].get("annotations", {}).get(DIGEST)
    return digest == manifest.digest and covers(live, manifest.body)


def covers(live: Any, wanted: Any) -> bool:
    """Whether every field of `wanted` is in `live`, whatever a server added."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(key in live and covers(live[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        same = isinstance(live, list | tuple) and len(live) == len(wanted)
        return same and all(covers(a, b) for a, b in zip(live, wanted, strict=True))
    return bool(live == wanted)


def _rank(key: Key) -> tuple[int, Key]:
    return (ORDER.index(key.kind) if key.kind in ORDER else len(ORDER), key)
