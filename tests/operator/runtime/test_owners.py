from typing import Any

from forebay_operator.model import CACHE_CLUSTER, CONFIG_MAP, POD, STATEFUL_SET, Key, Kind
from forebay_operator.runtime.owners import orphans


def entry(kind: Kind, name: str, uid: str, *owners: str) -> tuple[Key, dict[str, Any]]:
    return Key(kind, "ns", name), {"metadata": {"uid": uid, "ownerReferences": [{"uid": o} for o in owners]}}


def test_only_objects_whose_owners_are_all_gone_are_orphans() -> None:
    objects = dict(
        [
            entry(CACHE_CLUSTER, "train", "1"),
            entry(STATEFUL_SET, "train", "2", "1"),
            entry(POD, "train-0", "3", "2"),
            entry(CONFIG_MAP, "old", "4", "an-earlier-train"),
            entry(CONFIG_MAP, "shared", "5", "an-earlier-train", "1"),
            entry(CONFIG_MAP, "mine", "6"),
        ]
    )
    assert [key.name for key in orphans(objects)] == ["old"]
