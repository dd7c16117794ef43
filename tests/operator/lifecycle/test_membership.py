"""When a cluster's membership changes, and when it does not."""

from collections.abc import Sequence
from dataclasses import replace

from forebay_cache.contract.membership import Addresses, Membership
from forebay_cache.model.ids import MemberId
from forebay_cache.placement.lookup import Placement
from forebay_operator.lifecycle.membership import Seen, next_epoch

GIB = 1 << 30


def seen(store: str, pod: str, address: str = "10.0.0.1", capacity: int = 100 * GIB) -> Seen:
    return Seen(store, pod, Addresses(data=f"{address}:7450", peer=f"{address}:9451"), capacity)


THREE = [seen("a", "main-0"), seen("b", "main-1", "10.0.0.2"), seen("c", "main-2", "10.0.0.3")]


def after(current: Placement | None, *members: Seen) -> Placement:
    found = next_epoch(current, "cluster", members, 4)
    assert found is not None
    return Placement.of(found)


def states(placement: Placement) -> dict[str, tuple[str, str]]:
    return {entry.id: (entry.name, entry.state) for entry in placement.membership.members}


def unchanged(current: Placement, members: Sequence[Seen]) -> bool:
    return next_epoch(current, "cluster", members, 4) is None


def test_those_who_found_a_cluster_serve() -> None:
    first = after(None, *THREE)
    assert first.epoch == 1
    assert states(first) == {"a": ("main-0", "Serving"), "b": ("main-1", "Serving"), "c": ("main-2", "Serving")}
    assert first.moves() == ()
    assert next_epoch(None, "cluster", [], 4) is None


def test_nothing_new_is_no_epoch() -> None:
    first = after(None, *THREE)
    assert unchanged(first, THREE)
    assert unchanged(first, [THREE[1]]), "who does not answer stays a member"
    assert unchanged(first, [])
    assert unchanged(first, [replace(THREE[0], capacity_bytes=103 * GIB), *THREE[1:]])


def test_a_joiner_is_given_slots_and_asks_who_had_them() -> None:
    first = after(None, *THREE[:2])
    second = after(first, *THREE)
    assert second.epoch == 2
    assert states(second)["c"] == ("main-2", "Joining")
    assert {move.target for move in second.moves()} == {MemberId("c")}


def test_another_store_under_a_pods_name_is_a_joiner_and_the_old_one_is_gone() -> None:
    second = after(after(None, *THREE), THREE[0], THREE[1], seen("new", "main-2"))
    assert states(second) == {"a": ("main-0", "Serving"), "b": ("main-1", "Serving"), "new": ("main-2", "Joining")}
    assert not any(move.source == MemberId("c") for move in second.moves()), "nobody is left to be asked"


def test_a_store_that_moved_to_another_pod_is_the_same_member() -> None:
    first = after(None, *THREE)
    second = after(first, THREE[0], replace(THREE[1], pod="main-2"), replace(THREE[2], pod="main-1"))
    assert states(second) == {"a": ("main-0", "Serving"), "b": ("main-2", "Serving"), "c": ("main-1", "Serving")}
    assert second.owners == first.owners


def test_a_new_address_is_a_new_epoch_in_which_nothing_moves() -> None:
    first = after(None, *THREE)
    second = after(first, seen("a", "main-0", "10.0.0.9"), *THREE[1:])
    assert (second.epoch, second.owners, second.moves()) == (2, first.owners, ())
    assert second.members[MemberId("a")].addresses.peer == "10.0.0.9:9451"
    assert unchanged(second, [seen("a", "main-0", "10.0.0.9"), *THREE[1:]])


def test_a_capacity_that_really_changed_moves_slots() -> None:
    first = after(None, *THREE)
    second = after(first, replace(THREE[0], capacity_bytes=200 * GIB), *THREE[1:])
    assert second.owners != first.owners


def test_of_a_copied_store_only_the_first_counts() -> None:
    first = after(None, *THREE)
    assert unchanged(first, [*THREE, seen("a", "main-3", "10.0.0.7")])


def test_epochs_follow_one_another_whatever_happens() -> None:
    current: Placement | None = None
    known: Membership | None = None
    for members in (THREE[:1], THREE[:2], THREE, [THREE[0], seen("x", "main-1")], [seen("y", "main-0")]):
        current = after(current, *members)
        assert current.epoch == (known.epoch if known else 0) + 1
        known = current.membership
        assert unchanged(current, members)


def test_pods_that_are_going_own_nothing_any_more() -> None:
    first = after(None, *THREE)
    second = next_epoch(first, "cluster", THREE, 2)
    assert second is not None
    assert [entry.name for entry in second.members] == ["main-0", "main-1"]
    assert next_epoch(Placement.of(second), "cluster", THREE, 2) is None
    assert next_epoch(Placement.of(second), "cluster", [], 0) is None, "a cluster of nobody keeps its last epoch"
