from typing import Any

import pytest

from forebay_operator.kube.merge import owned, to_fields_v1
from forebay_operator.model import (
    CONFIG_MAP,
    FIELD_MANAGER,
    SECRET,
    STATEFUL_SET,
    Apply,
    Delete,
    Key,
    Kind,
    Manifest,
)
from forebay_operator.names import DIGEST, stamped
from forebay_operator.plan import owns, plan, settled


def manifest(kind: Kind, name: str, **body: Any) -> Manifest:
    return Manifest(Key(kind, "ns", name), {"metadata": {"name": name, "labels": {"l": "x"}}, **body})


def live(wanted: Manifest, *taken: str, **more: Any) -> dict[str, Any]:
    """As a server has it after our apply, and after others took the fields `taken` (top level)."""
    body = stamped(wanted)
    ours = {"f:metadata": {"f:labels": {"f:l": {}}, "f:annotations": {".": {}, f"f:{DIGEST}": {}}}}
    ours |= to_fields_v1(frozenset(path for path in owned(wanted.body) if path[0] == "f:data"))
    entry = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "fieldsV1": {k: v for k, v in ours.items() if k not in taken},
    }
    metadata = {**body["metadata"], "uid": f"u-{wanted.key.name}", "managedFields": [entry]}
    return {**body, "metadata": metadata, **more}


def test_what_a_pod_needs_is_applied_before_it_and_deletes_come_last_in_reverse() -> None:
    wanted = [manifest(STATEFUL_SET, "set"), manifest(CONFIG_MAP, "config"), manifest(SECRET, "secret")]
    old = [manifest(SECRET, "old-secret"), manifest(STATEFUL_SET, "old-set")]
    actions = plan(wanted, {one.key: live(one) for one in old}, frozenset())
    assert [a.manifest.key.name for a in actions if isinstance(a, Apply)] == ["secret", "config", "set"]
    assert [a.key.name for a in actions if isinstance(a, Delete)] == ["old-set", "old-secret"]
    assert isinstance(actions[-1], Delete)
    assert actions[-1].uid == "u-old-secret"


def test_a_settled_world_needs_no_action() -> None:
    wanted = manifest(CONFIG_MAP, "config", data={"a": "1"})
    there = live(wanted, status={"set": "by a server"})
    assert plan([wanted], {wanted.key: there}, frozenset()) == []


def test_a_field_that_another_took_is_seen_though_the_digest_is_right() -> None:
    wanted = manifest(CONFIG_MAP, "config", data={"a": "1"})
    assert not settled(wanted, live(wanted, "f:data"))
    assert settled(wanted, live(wanted, data={"a": "spelled another way", "theirs": "x"}))


def test_an_object_that_we_never_applied_is_not_settled() -> None:
    wanted = manifest(CONFIG_MAP, "config", data={"a": "1"})
    there = live(wanted)
    there["metadata"]["managedFields"][0]["operation"] = "Update"
    assert not settled(wanted, there)


def test_a_field_we_no_longer_want_is_seen_by_the_digest() -> None:
    before, now = manifest(CONFIG_MAP, "c", data={"a": "1", "b": "2"}), manifest(CONFIG_MAP, "c", data={"a": "1"})
    assert not settled(now, live(before))


def test_what_is_kept_is_never_deleted() -> None:
    minted = manifest(SECRET, "ca")
    assert plan([], {minted.key: live(minted)}, frozenset({minted.key})) == []


ITEM = 'k:{"containerPort":1,"protocol":"TCP"}'


@pytest.mark.parametrize(
    ("fields", "wanted", "ours"),
    [
        ({"f:a": {}}, {"a": 1}, True),
        ({"f:a": {}}, {"a": {"whole": "map"}}, True),
        ({"f:a": {}}, {"a": ["whole", "list"]}, True),
        ({"f:a": {".": {}, "f:b": {}}}, {"a": {"b": 1}}, True),
        ({"f:a": {".": {}}}, {"a": {"b": 1}}, False),
        ({"f:b": {}}, {"a": 1}, False),
        ({}, {"a": 1}, True),
        (
            {"f:p": {ITEM: {".": {}, "f:name": {}}}},
            {"p": [{"containerPort": 1, "protocol": "TCP", "name": "x"}]},
            False,
        ),
        (
            {"f:p": {ITEM: {".": {}, "f:name": {}, "f:containerPort": {}, "f:protocol": {}}}},
            {"p": [{"containerPort": 1, "protocol": "TCP", "name": "x"}]},
            True,
        ),
        ({"f:p": {ITEM: {".": {}}}}, {"p": [{"containerPort": 2, "protocol": "TCP"}]}, False),
    ],
)
def test_what_is_ours(fields: dict[str, Any], wanted: dict[str, Any], *, ours: bool) -> None:
    assert owns(fields, wanted) is ours


def test_a_name_with_nothing_below_it_is_owned_whole_only_below_a_name() -> None:
    wanted = manifest(CONFIG_MAP, "config", data={"a": "1"})
    there = live(wanted)
    there["metadata"]["managedFields"][0]["fieldsV1"] = {}
    assert not settled(wanted, there)
