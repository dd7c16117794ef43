"""Three members of one cluster, as processes: each byte is fetched from the origin once, whoever is asked for it, and a member
that dies costs time, never bytes."""

import contextlib
import pathlib
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence

import pytest
from tests.rigs.bucket import Bucket, bucket
from tests.rigs.house import CLUSTER, LARGE, OPERATOR_TLS, Member, content, dataset_of, member, same, wait_until
from tests.rigs.rgw import free_port

from forebay_cache.contract.membership import Addresses, MemberEntry
from forebay_cache.placement.epochs import found
from forebay_operator.desired import workload

NAMES = {**{f"small/{n:02d}": 50_000 + 7 * n for n in range(40)}, **{f"large/{n}": LARGE for n in range(4)}}
SLICES = {name: -(-size // (8 << 20)) for name, size in NAMES.items()}


@pytest.fixture
def store() -> Iterator[Bucket]:
    with bucket() as made:
        made.objects = {name: content(name, size) for name, size in NAMES.items()}
        yield made


@pytest.fixture
def three(store: Bucket) -> Iterator[Sequence[Member]]:
    """The first has synced; the others have asked it for the commit."""
    with contextlib.ExitStack() as stack:
        roots = [stack.enter_context(tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp")) for _ in range(3)]
        made = [stack.enter_context(member(pathlib.Path(root), peer_port=free_port())) for root in roots]
        for other in made[1:]:
            share_certificates(made[0], other)
        dataset = dataset_of(store, "open", anonymous=True)
        made[0].start()
        made[0].serve(dataset)
        report = made[0].sync(dataset)
        assert report.commit
        for other in made[1:]:
            other.start()
            other.serve(dataset.model_copy(update={"head": report.commit.id}))
        introduce(made)
        for other in made[1:]:
            wait_until(lambda one=other: heads(one) == [report.commit.id], "the commit is gathered")
        yield made
        for one in made:
            assert one.process
            assert one.process.poll() is not None or one.stop() == 0


def heads(one: Member) -> list[str | None]:
    return [dataset["head"] for dataset in one.report()["datasets"]]


def share_certificates(first: Member, other: Member) -> None:
    """One Secret is all members' in a cluster."""
    for name in ("ca.crt", "tls.crt", "tls.key"):
        shutil.copy(first.inside(workload.TLS_DIR) / name, other.inside(workload.TLS_DIR) / name)
    shutil.copy(first.root / OPERATOR_TLS, other.root / OPERATOR_TLS)


def introduce(members: Sequence[Member]) -> None:
    """As the operator does."""
    entries = [
        MemberEntry(
            id=one.report()["member"],
            name=f"main-{number}",
            addresses=Addresses(peer=f"127.0.0.1:{one.config.peer_port}"),
            capacity_bytes=one.config.capacity_bytes,
            state="Serving",
        )
        for number, one in enumerate(members)
    ]
    text = found(CLUSTER, entries).model_dump_json().encode()
    for one in members:
        assert one.ask("PUT", "/v1/membership", text)[0] == 204
        assert one.report()["epoch"] == 1


def read_all(one: Member) -> None:
    for name, size in NAMES.items():
        answer = one.get(f"/open/{name}")
        assert answer.status == 200
        assert same(answer.body, name, size)


def test_each_byte_is_fetched_once_whoever_is_asked(three: Sequence[Member], store: Bucket) -> None:
    for one in three:
        read_all(one)
    assert {name: store.gets(name) for name in NAMES} == SLICES
    kept = [one.report()["chunks"] for one in three]
    assert all(count > 0 for count in kept), kept
    sizes = [one.report()["used_bytes"] for one in three]
    assert sum(sizes) < 1.3 * sum(NAMES.values()), "no member keeps what is another's"


def test_a_member_that_dies_costs_time_and_no_byte(three: Sequence[Member], store: Bucket) -> None:
    read_all(three[0])
    three[2].stop(signal.SIGKILL)
    asked = {name: store.gets(name) for name in NAMES}
    for one in three[:2]:
        read_all(one)
    again = [name for name in NAMES if store.gets(name) > asked[name]]
    assert 0 < len(again) < len(NAMES), "only what the dead one had is asked for again"
    three[2].start()
    assert three[2].report()["epoch"] == 1
    read_all(three[0])
