"""A member process over a bucket that can be broken: started once, never restarted, whatever the tests do to it."""

import pathlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.rigs.bucket import Bucket, bucket, refused, truncated
from tests.rigs.house import LARGE, SECRETS, STRANGER, Member, content, dataset_of, member
from tests.rigs.scripted import Reply, Request

GOOD = b"what a good GET gives"
LONGEST = "k" * 1024


@dataclass
class House:
    """`pid` is that of the one process that must live through everything."""

    member: Member
    bucket: Bucket
    pid: int = field(default=0)

    def good(self) -> None:
        """What must hold after anything: the same process answers, rightly, and has nothing to say about it."""
        before = self.member.mark()
        self.serves()
        assert self.member.told(before) == []

    def serves(self) -> None:
        """Part of `good`: it may have something to say of others."""
        found = self.member.get("/open/good.txt")
        assert (found.status, found.body) == (200, GOOD)
        assert self.member.process
        assert self.member.process.poll() is None
        assert self.member.pid == self.pid


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name, bucket() as store:
        with member(pathlib.Path(name)) as one:
            store.objects = objects()
            one.start()
            for dataset in (dataset_of(store, "open", anonymous=True), dataset_of(store, "closed")):
                one.serve(dataset)
                assert one.sync(dataset).state == "Succeeded"
            one.serve(dataset_of(store, "other", STRANGER), dataset_of(store, "unsynced", anonymous=True))
            break_things(store)
            made = House(one, store, one.pid)
            made.good()
            yield made
            one.process and one.stop()
        assert not any(secret in one.log.read_text() for secret in SECRETS)


def objects() -> dict[str, bytes]:
    small = (
        "gone",
        "overwritten",
        "denied",
        "throttled",
        "broken",
        "cut",
        "longer",
        "elsewhere",
        "strange",
        "no-bucket",
    )
    large = ("unreachable", "falters", "breaks-off")
    return {
        "good.txt": GOOD,
        "dir/../up": b"dots are letters",
        "empty": b"",
        LONGEST: b"the longest key",
        **{f"{name}.bin": content(f"{name}.bin", 10_000) for name in small},
        **{f"{name}.large": content(f"{name}.large") for name in large},
    }


def break_things(store: Bucket) -> None:
    """After the sync, before the first read: what is packed into one chunk is fetched together."""
    del store.objects["gone.bin"]
    store.objects["overwritten.bin"] = b"other bytes"
    store.breaks = {
        "denied.bin": refused(403, "AccessDenied"),
        "throttled.bin": refused(503, "SlowDown"),
        "broken.bin": refused(500, "InternalError"),
        "no-bucket.bin": refused(404, "NoSuchBucket"),
        "cut.bin": truncated(100),
        "longer.bin": longer,
        "elsewhere.bin": elsewhere,
        "strange.bin": strange,
        "falters.large": truncated(3 << 20),
        "breaks-off.large": breaks_off,
    }


def longer(_: Request, reply: Reply) -> Reply:
    return Reply(reply.status, reply.body + b"more", reply.headers)


def elsewhere(_: Request, reply: Reply) -> Reply:
    """Other bytes than those that were asked for, and says so."""
    return Reply(reply.status, reply.body, {**reply.headers, "Content-Range": "bytes 1-10000/10000"})


def strange(_: Request, reply: Reply) -> Reply:
    """What a captive portal answers to anything."""
    return Reply(200, b"<html>please log in</html>", {"Content-Type": "text/html"})


def breaks_off(request: Request, reply: Reply) -> Reply:
    """Nothing beyond the third MiB ever comes."""
    start, _ = request.span(LARGE)
    return Reply(reply.status, reply.body, reply.headers, max(0, (3 << 20) - start))
