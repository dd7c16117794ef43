from typing import Any

from forebay_operator.model import CONFIG_MAP, SECRET, STATEFUL_SET, Apply, Delete, Key, Kind, Manifest
from forebay_operator.names import stamped
from forebay_operator.plan import covers, plan, settled


def manifest(kind: Kind, name: str, **body: Any) -> Manifest:
    return Manifest(Key(kind, "ns", name), {"metadata": {"name": name}, **body})


def live(wanted: Manifest, **more: Any) -> dict[str, Any]:
    body = stamped(wanted)
    return {**body, "metadata": {**body["metadata"], "uid": f"u-{wanted.key.name}"}, **more}


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


def test_a_field_of_ours_that_changed_is_seen_though_the_digest_is_right() -> None:
    wanted = manifest(CONFIG_MAP, "config", data={"a": "1"})
    assert not settled(wanted, live(wanted, data={"a": "2"}))
    assert settled(wanted, live(wanted, data={"a": "1", "theirs": "x"}))


def test_a_field_we_no_longer_want_is_seen_by_the_digest() -> None:
    before, now = manifest(CONFIG_MAP, "c", data={"a": "1", "b": "2"}), manifest(CONFIG_MAP, "c", data={"a": "1"})
    assert covers(live(before), now.body)
    assert not settled(now, live(before))


def test_what_is_kept_is_never_deleted() -> None:
    minted = manifest(SECRET, "ca")
    assert plan([], {minted.key: live(minted)}, frozenset({minted.key})) == []


def test_lists_must_be_as_long_and_in_order() -> None:
    assert covers({"l": [{"a": 1, "b": 2}]}, {"l": [{"a": 1}]})
    assert not covers({"l": [1, 2]}, {"l": [1]})
    assert not covers({"l": [2, 1]}, {"l": [1, 2]})
