"""Adoption: the newer epoch wins from whomever it comes, and what cannot be true is refused by name."""

import itertools

import pytest
from tests.rigs.memberships import CLUSTER, after, entry, placement

from forebay_cache.contract.membership import Membership
from forebay_cache.model.errors import ForebayError, MembershipConflict, MembershipCorrupt, MembershipForeign
from forebay_cache.placement.adoption import adopt, read
from forebay_cache.placement.epochs import found, settle
from forebay_cache.placement.lookup import Placement

FIRST = placement([entry(0), entry(1)])
SECOND = after(FIRST, [entry(0), entry(1), entry(2, state="Joining")])
THIRD = Placement.of(settle(SECOND))


def test_the_first_membership_is_taken() -> None:
    assert adopt(None, FIRST.membership, CLUSTER).epoch == 1


def test_a_newer_epoch_is_taken_also_when_some_were_missed() -> None:
    assert adopt(FIRST, THIRD.membership, CLUSTER).epoch == 3


def test_an_older_one_changes_nothing() -> None:
    assert adopt(SECOND, FIRST.membership, CLUSTER) is SECOND


def test_the_same_one_changes_nothing() -> None:
    again = Membership.model_validate_json(SECOND.membership.model_dump_json())
    assert adopt(SECOND, again, CLUSTER) is SECOND


@pytest.mark.parametrize("order", list(itertools.permutations([FIRST, SECOND, THIRD])))
def test_any_order_ends_with_the_newest(order: tuple[Placement, ...]) -> None:
    current: Placement | None = None
    for offered in order:
        current = adopt(current, offered.membership, CLUSTER)
    assert current is not None
    assert current.membership == THIRD.membership


def test_another_cluster_is_refused_whatever_its_epoch() -> None:
    with pytest.raises(MembershipForeign, match="cluster another was offered"):
        adopt(FIRST, THIRD.membership.model_copy(update={"cluster_uid": "another"}), CLUSTER)
    with pytest.raises(MembershipForeign):
        adopt(None, found("another", [entry(0)]), CLUSTER)


@pytest.mark.parametrize(
    "other",
    [
        after(FIRST, [entry(0), entry(1), entry(3)]).membership,
        after(FIRST, [entry(0), entry(1), entry(2)]).membership,
        SECOND.membership.model_copy(update={"table_hash": "0" * 64}),
    ],
    ids=["other members", "another state", "another table"],
)
def test_another_membership_of_the_same_epoch_is_a_conflict(other: Membership) -> None:
    with pytest.raises(MembershipConflict, match="two memberships of epoch 2"):
        adopt(SECOND, other, CLUSTER)


def test_a_newer_one_whose_table_does_not_match_is_refused() -> None:
    broken = THIRD.membership.model_copy(update={"owners": FIRST.membership.owners})
    with pytest.raises(MembershipCorrupt):
        adopt(SECOND, broken, CLUSTER)


def test_what_is_refused_is_not_tried_again() -> None:
    assert not any(error.retry for error in (MembershipForeign, MembershipCorrupt, MembershipConflict))
    assert issubclass(MembershipConflict, ForebayError)


@pytest.mark.parametrize("text", ["", "{", '{"epoch": 1}'])
def test_what_was_kept_is_read_or_nobody_goes_by_it(text: str) -> None:
    assert read(text, "c") is None
