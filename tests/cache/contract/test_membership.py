"""The document: small on the wire, tolerant of newer fields, refused where it cannot be true."""

import base64
import zlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.rigs.memberships import CLUSTER, after, entry, placement

from forebay_cache.contract.membership import SLOTS, Membership, decode_table, encode_table, hash_tables
from forebay_cache.placement.epochs import found


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=300))
def test_a_table_comes_back_as_it_was(some: list[int]) -> None:
    table = array("H", (some * SLOTS)[:SLOTS])
    assert decode_table(encode_table(table)) == table


def packed(planes: bytes) -> str:
    return base64.b64encode(zlib.compress(planes)).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "other than 65536 slots"),
        ("AAAA", "cannot be unpacked"),
        ("not base64!", "cannot be unpacked"),
        (packed(bytes(2 * SLOTS - 2)), "other than 65536 slots"),
        (packed(bytes(2 * SLOTS + 1)), "other than 65536 slots"),
        (packed(bytes(100 << 20)), "other than 65536 slots"),
        (base64.b64encode(zlib.compress(bytes(2 * SLOTS))[:-3]).decode(), "other than 65536 slots"),
        (encode_table(array("H", bytes(2 * SLOTS)))[:-8], "other than 65536 slots|cannot be unpacked"),
    ],
)
def test_what_is_not_a_table_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_table(text)


def test_hash_and_layout_of_a_table_are_pinned() -> None:
    """Other processes, other versions and other machines read these bytes."""
    table = array("H", range(SLOTS))
    planes = zlib.decompress(base64.b64decode(encode_table(table)))
    assert planes[:3] + planes[SLOTS : SLOTS + 3] + planes[-1:] == bytes([0, 1, 2, 0, 0, 0, 255])
    assert hash_tables(table, table) == "7ca6e26b75adf615a73bf3e024972589f5b51a9668add32fba3accf7edde8d55"


def test_a_document_comes_back_as_it_was_and_newer_fields_are_ignored() -> None:
    membership = found(CLUSTER, [entry(0), entry(1)])
    text = membership.model_dump_json()
    assert Membership.model_validate_json(text) == membership
    newer = text[:-1] + ', "zones": ["a"]}'
    assert Membership.model_validate_json(newer) == membership


def test_members_out_of_order_are_refused() -> None:
    document = found(CLUSTER, [entry(0), entry(1)]).model_dump()
    document["members"] = document["members"][::-1]
    with pytest.raises(ValidationError, match="sorted by id"):
        Membership.model_validate(document)


@pytest.mark.parametrize(("count", "limit_kib"), [(3, 48), (100, 160), (1000, 512)])
def test_a_membership_fits_where_it_must(count: int, limit_kib: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A Secret or ConfigMap holds 1 MiB; the worst is the epoch after a change."""
    size = len(
        after(
            placement([entry(n) for n in range(count)]), [entry(n) for n in range(1, count + 1)]
        ).membership.model_dump_json()
    )
    with capsys.disabled():
        print(f" [{count} members: {size / 1024:.0f} KiB]", end="")
    assert size < limit_kib << 10
