"""What Datasets ask for reaches the store, and the chunks that are there already."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cache.member.conftest import House
from tests.rigs.chunks import put

from forebay_cache.contract.config import CacheRules
from forebay_cache.member.ruling import Ruling, payers, rules_of
from forebay_cache.model.ids import ChunkId, CommitId, MemberId, SegmentId
from forebay_cache.store.base import Payer
from forebay_cache.store.ledger import Limits
from forebay_cache.store.memory import MemoryStore
from forebay_cache.store.policies.rules import Rules

KIB = 1024


def segment(number: int) -> SegmentId:
    return SegmentId(number.to_bytes(32, "big"))


def test_a_member_keeps_its_share_of_a_guarantee_and_of_a_limit() -> None:
    asked = CacheRules(policy="LRU", pin=True, idle_ttl_s=60, guaranteed_bytes=1 << 20, max_bytes=1 << 21)
    assert rules_of(asked, 1.0) == Rules("lru", 100, pin=True, ttl_s=60, guarantee=256, cap=512)
    assert rules_of(asked, 0.25) == Rules("lru", 100, pin=True, ttl_s=60, guarantee=64, cap=128)
    assert rules_of(asked, 0.0) == Rules("lru", 100, pin=True, ttl_s=60, guarantee=0, cap=1)  # 0 would be no limit


def test_what_a_newer_operator_asks_for_is_served_as_well_as_can_be() -> None:
    assert rules_of(CacheRules(policy="Clairvoyant"), 1.0).policy == "epoch"
    assert rules_of(CacheRules(guaranteed_bytes=1 << 30, max_bytes=4096), 1.0).guarantee == 1


def test_a_shared_segment_is_the_most_important_ones_and_any_pin_holds_it() -> None:
    rules = {"a": Rules(pin=True), "b": Rules(priority=200), "c": Rules()}
    found = payers({"a": [segment(1), segment(2)], "b": [segment(2), segment(2)], "c": [segment(3)]}, rules)
    assert found == {segment(1): Payer("a", True), segment(2): Payer("b", True), segment(3): Payer("c")}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def test_chunks_that_are_here_follow_the_newest_state(
    house: House, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    head = await house.commit(b"1")
    store = MemoryStore(Limits(64 << 20), MemberId("m"))
    mine = ChunkId(house.files.commit(CommitId(head)).segments()[0], 0)
    put(store, mine, 64 * KIB)
    put(store, ChunkId(segment(9), 0), 64 * KIB)
    ruling = Ruling(store, house.files, pool, lambda: (house.registry.snapshot, None))
    assert not await ruling.rule()
    photos = house.dataset("photos", head)
    await house.registry.apply(house.state(photos))
    assert await ruling.rule()
    assert store.charged()["uid-photos"].chunks == 1
    assert not await ruling.rule()
    for policy in ("LRU", "S3FIFO"):  # another policy, and the chunk moves along
        changed = photos.model_copy(update={"cache": CacheRules(policy=policy)})
        await house.registry.apply(house.state(changed))
        assert await ruling.rule()
        assert store.charged()["uid-photos"].chunks == 1
    await house.registry.apply(house.state(changed))
    assert not await ruling.rule()  # another version, but nothing in it is new
    await house.registry.apply(house.state())
    assert await ruling.rule()
    assert store.charged() == {}
    assert store.stats().chunks == 2
