"""Which member on this node says what commit a Dataset has: a real member, and some that are ill."""

import contextlib
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.cache.mount.conftest import HandMember
from tests.rigs.bucket import Bucket, bucket
from tests.rigs.house import CLUSTER, Member, dataset_of, member

from forebay_cache.contract.agent import ResolvedCommit, ResolveRequest
from forebay_cache.contract.config import DatasetState
from forebay_cache.contract.wire import ERROR, OP_COMMIT, ST_BYTES, ST_DESCRIPTOR, ST_ERROR
from forebay_cache.model.errors import BadInput, ConfigError, DeadlineExceeded, MemberUnreachable, NotFound
from forebay_cache.mount.sockets import Sockets

UID, COMMIT = "uid-photos", "c" * 64
ASKED = ResolveRequest(cluster_uid="c-1", dataset_uid=UID)
FOUND = ResolvedCommit(dataset_uid=UID, commit=COMMIT, files=3, bytes=5)
Answer = Callable[[HandMember], None]


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """Short: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name:
        yield pathlib.Path(name)


def sockets(folder: pathlib.Path, timeout_s: float = 30.0) -> Sockets:
    return Sockets(f"{folder}/{{cluster_uid}}/*/member.sock", timeout_s)


def gives(status: int, body: bytes = b"") -> Answer:
    def answer(one: HandMember) -> None:
        operation, number, asked = one.request()
        assert (operation, asked.partition(b"\0")[0]) == (OP_COMMIT, UID.encode())
        one.answer(status, number, body)

    return answer


def hangs(one: HandMember) -> None:
    one.request()


def goes(one: HandMember) -> None:
    one.request()
    one.stop()


RIGHT = gives(ST_BYTES, FOUND.model_dump_json().encode())
UNKNOWN = gives(ST_ERROR, ERROR.pack(2) + b"no Dataset with that UID")


@contextlib.contextmanager
def members(folder: pathlib.Path, *answers: Answer) -> Iterator[None]:
    """Each answers once."""
    with contextlib.ExitStack() as stack:
        for number, answer in enumerate(answers):
            path = folder / f"c-1/m{number}/member.sock"
            path.parent.mkdir(parents=True)
            one = HandMember(path)
            one.start()
            thread = threading.Thread(target=_serve, args=(one, answer))
            thread.start()
            stack.callback(thread.join)
            stack.callback(one.stop)
        yield


def _serve(one: HandMember, answer: Answer) -> None:
    with contextlib.suppress(OSError):  # nobody asked
        answer(one)


def test_the_first_that_knows_is_taken_with_its_socket(folder: pathlib.Path) -> None:
    with members(folder, UNKNOWN, RIGHT):
        assert sockets(folder).resolve(ASKED) == FOUND.model_copy(
            update={"member_socket": f"{folder}/c-1/m1/member.sock"}
        )


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ((), MemberUnreachable, "no member of cluster c-1 is on this node"),
        ((UNKNOWN,), NotFound, "no Dataset with that UID"),
        ((UNKNOWN, goes), NotFound, "no Dataset with that UID"),
        ((goes, UNKNOWN), NotFound, "no Dataset with that UID"),
        ((goes,), MemberUnreachable, "is it running?"),
        ((hangs,), DeadlineExceeded, "within 0.5 s"),
        ((gives(ST_ERROR, ERROR.pack(5) + b"its disk"),), MemberUnreachable, "its disk"),
        ((gives(ST_ERROR),), MemberUnreachable, "answer is none"),
        ((gives(ST_BYTES, b"nonsense"),), MemberUnreachable, "what is no commit"),
        ((gives(ST_DESCRIPTOR, b""),), MemberUnreachable, "answer is none"),
    ],
)
def test_what_else_may_be_there_is_told(
    folder: pathlib.Path, answers: tuple[Answer, ...], error: type[Exception], words: str
) -> None:
    with members(folder, *answers), pytest.raises(error, match=words):
        sockets(folder, 0.5 if hangs in answers else 30.0).resolve(ASKED)


def test_a_socket_nobody_listens_on_is_passed_over(folder: pathlib.Path) -> None:
    with members(folder, RIGHT, RIGHT):
        dead = HandMember(folder / "c-1/m/member.sock")
        dead.path.parent.mkdir()
        dead.start()
        dead.stop()
        assert sockets(folder).resolve(ASKED).member_socket == f"{folder}/c-1/m0/member.sock"


@pytest.mark.parametrize("uid", ["", "..", "a/b", "*", "a" * 65])
def test_a_cluster_is_no_pattern_and_no_path(folder: pathlib.Path, uid: str) -> None:
    with pytest.raises(BadInput, match="cluster_uid"):
        sockets(folder).of(uid)


def test_a_pattern_without_a_cluster_is_refused() -> None:
    with pytest.raises(ConfigError, match="member_sockets"):
        Sockets("/run/*/member.sock", 1.0).of("c-1")


@dataclass
class House:
    member: Member
    store: Bucket
    dataset: DatasetState

    def commit(self) -> str:
        report = self.member.sync(self.dataset)
        assert report.commit, report
        return report.commit.id

    def serve(self, **change: object) -> None:
        self.member.serve(self.dataset.model_copy(update=change))

    def shown(self, commit: str = "") -> ResolvedCommit:
        found = Sockets(f"{self.member.root.parent}/{{cluster_uid}}/run/forebay/member.sock", 60.0)
        return found.resolve(ResolveRequest(cluster_uid=CLUSTER, dataset_uid=self.dataset.uid, commit=commit))


@pytest.fixture
def house(folder: pathlib.Path) -> Iterator[House]:
    with bucket() as store, member(folder / CLUSTER) as one:
        store.objects = {"a": b"aaa", "b": b"bb"}
        one.start()
        dataset = dataset_of(store, "photos")
        one.serve(dataset)
        yield House(one, store, dataset)


def test_a_real_member_shows_its_head_what_latest_names_and_what_is_retained(house: House) -> None:
    with pytest.raises(NotFound, match="no commit yet: its first sync"):
        house.shown()
    old = house.commit()
    assert (house.shown().commit, house.shown().files, house.shown().bytes) == (old, 2, 5)
    house.store.objects["c"] = b"c"
    new = house.commit()
    assert house.shown().commit == new
    house.serve(head=new, retained=(old,))
    assert (house.shown(old).files, house.shown(new).files) == (2, 3)
    house.serve(head=new, latest=old)
    assert house.shown().commit == old
    house.serve(head=new)
    with pytest.raises(NotFound, match=f"no longer has commit {old}; `forebay commits` lists"):
        house.shown(old)
    house.dataset = house.dataset.model_copy(update={"uid": "uid-other"})
    with pytest.raises(NotFound, match="no Dataset with UID uid-other"):
        house.shown()
