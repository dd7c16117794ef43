"""Real mounts over real parts: what is mounted reads back byte for byte, nothing else does, and nothing is left behind."""

import asyncio
import errno
import mmap
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cache.mount.conftest import litter, wait_until, workers_of
from tests.rigs.nodemember import NodeMember, node_member

from forebay_cache.catalog import devices as tables
from forebay_cache.contract.wire import FILE_DEVICES
from forebay_cache.model.errors import BadInput, CatalogCorrupt, MemberUnreachable, MountFailed, NotFound, TargetInUse
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.mount import syscalls, volume
from forebay_cache.mount.client import catalog_file
from forebay_cache.mount.mountinfo import mounted_at
from forebay_cache.mount.mounts import Mounts, Wanted
from forebay_cache.mount.records import Records
from forebay_cache.mount.session import Serving

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("can_mount")]

SEED = 20261121
FILES = {
    "empty": 0,
    "one": 1,
    "block": 4096,
    "photos/a.jpg": 100_000,
    "photos/b.jpg": 4097,
    "photos/ü ß.jpg": 70_001,
    "photos/deep/er/c": 12_345,
    "large/exact": CHUNK_SIZE,
    "large/more": 2 * CHUNK_SIZE + 5,
}


def content(name: str) -> bytes:
    return random.Random(f"{SEED}{name}").randbytes(FILES[name])


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("origin")
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content(name))
    return str(folder)


@pytest.fixture
async def member(origin: str, tmp_path: Path) -> AsyncIterator[NodeMember]:
    async with node_member(origin, str(tmp_path / "member")) as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    before = litter(tmp_path)
    yield
    wait_until(lambda: litter(tmp_path) <= before)
    assert litter(tmp_path) <= before


@asynccontextmanager
async def mounting(tmp_path: Path, deadline_s: float = 10.0, workers: int = 2) -> AsyncIterator[Mounts]:
    mounts = Mounts(
        Records(str(tmp_path / "records")), lambda path: Serving(path, workers, deadline_s, 64), read_ahead_kb=1024
    )
    await mounts.clean()
    try:
        yield mounts
    finally:
        await mounts.close()
    assert not list(Records(str(tmp_path / "records")))


def wanted(member: NodeMember, target: Path | str) -> Wanted:
    return Wanted("cluster", "dataset", member.commit, str(target), member.socket)


def tree(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


async def test_every_byte_is_the_origins(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        record = await mounts.mount(wanted(member, tmp_path / "mnt"))
        assert record.target == str(tmp_path / "mnt")
        found = await asyncio.to_thread(tree, tmp_path / "mnt")
        assert found == {name: content(name) for name in FILES}
        totals = mounts.totals()
        assert totals.bytes > sum(FILES.values())
        assert totals.results[3:] == [0, 0, 0]
    assert not (tmp_path / "mnt").exists()


async def test_names_sizes_times_and_modes(member: NodeMember, tmp_path: Path, origin: str) -> None:
    async with mounting(tmp_path) as mounts:
        target = tmp_path / "mnt"
        await mounts.mount(wanted(member, target))
        assert sorted(os.listdir(target / "photos")) == ["a.jpg", "b.jpg", "deep", "ü ß.jpg"]
        status = os.stat(target / "large/more")
        assert status.st_size == FILES["large/more"]
        assert status.st_mode == 0o100444
        assert int(status.st_mtime) == int(os.stat(f"{origin}/large/more").st_mtime)


async def test_a_memory_map_of_a_part(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        await mounts.mount(wanted(member, tmp_path / "mnt"))
        with open(tmp_path / "mnt/large/more", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            whole = content("large/more")
            for at in (0, CHUNK_SIZE - 1, CHUNK_SIZE, 2 * CHUNK_SIZE + 4):
                # the workers are other processes: a page fault that holds the interpreter stops none of them, but the
                # member lives in this one
                assert await asyncio.to_thread(os.pread, file.fileno(), 1, at) == whole[at : at + 1]
                assert view[at] == whole[at]


async def test_nothing_can_be_written(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        target = tmp_path / "mnt"
        await mounts.mount(wanted(member, target))
        attempts: list[Callable[[], object]] = [
            lambda: os.open(target / "one", os.O_WRONLY),
            lambda: os.open(target / "new", os.O_WRONLY | os.O_CREAT),
            lambda: os.unlink(target / "one"),
            lambda: os.mkdir(target / "folder"),
            lambda: os.truncate(target / "one", 0),
            lambda: os.rename(target / "one", target / "two"),
            lambda: os.chmod(target / "one", 0o777),
        ]
        for attempt in attempts:
            with pytest.raises(OSError, match="Read-only file system") as caught:
                attempt()
            assert caught.value.errno == errno.EROFS
        options = next(line.split()[3] for line in Path("/proc/self/mounts").read_text().splitlines() if "mnt" in line)
        assert {"ro", "nosuid", "nodev"} <= set(options.split(","))


async def test_the_same_again_is_the_same_and_another_is_refused(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        first = await mounts.mount(wanted(member, tmp_path / "mnt"))
        assert await mounts.mount(wanted(member, tmp_path / "mnt")) == first
        assert len(mounts) == 1
        other = Wanted("cluster", "another dataset", member.commit, first.target, member.socket)
        with pytest.raises(TargetInUse, match="unmount it first"):
            await mounts.mount(other)


async def test_two_targets_of_a_commit_share_one_file_system(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        for name in ("a", "b"):
            await mounts.mount(wanted(member, tmp_path / name))
        assert os.stat(tmp_path / "a").st_dev == os.stat(tmp_path / "b").st_dev
        await mounts.unmount(str(tmp_path / "a"))
        assert not (tmp_path / "a").exists()
        assert await asyncio.to_thread((tmp_path / "b/photos/a.jpg").read_bytes) == content("photos/a.jpg")
        await mounts.mount(wanted(member, tmp_path / "a"))
        assert os.stat(tmp_path / "a").st_dev == os.stat(tmp_path / "b").st_dev
    assert len(mounts) == 0


async def test_two_commits_side_by_side(origin: str, member: NodeMember, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "one").write_bytes(b"of another commit")
    async with node_member(str(other), str(tmp_path / "member2")) as second, mounting(tmp_path) as mounts:
        await asyncio.gather(mounts.mount(wanted(member, tmp_path / "a")), mounts.mount(wanted(second, tmp_path / "b")))
        assert await asyncio.to_thread((tmp_path / "a/one").read_bytes) == content("one")
        assert await asyncio.to_thread((tmp_path / "b/one").read_bytes) == b"of another commit"


async def test_many_at_once_at_one_target_are_one_mount(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        records = await asyncio.gather(*(mounts.mount(wanted(member, tmp_path / "mnt")) for _ in range(5)))
        assert len(set(records)) == 1
        assert len(mounts) == 1


async def test_targets_of_one_commit_come_and_go_without_regard_to_each_other(
    member: NodeMember, tmp_path: Path
) -> None:
    async with mounting(tmp_path) as mounts:

        async def live(target: Path) -> None:
            for _ in range(15):
                await mounts.mount(wanted(member, target))
                await mounts.unmount_for_pods(str(target), remove=True)

        await asyncio.gather(*(live(tmp_path / f"mnt{number}") for number in range(4)))
        assert not mounts.records
        assert not len(mounts)


async def test_a_busy_target_is_said_and_stays(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        await mounts.mount(wanted(member, tmp_path / "mnt"))
        with open(tmp_path / "mnt/one", "rb") as file:
            with pytest.raises(TargetInUse, match="in use"):
                await mounts.unmount(str(tmp_path / "mnt"))
            assert await asyncio.to_thread(file.read) == content("one")
        await mounts.unmount(str(tmp_path / "mnt"))
        await mounts.unmount(str(tmp_path / "mnt"))


async def test_a_mount_taken_away_by_hand_can_come_again(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        await mounts.mount(wanted(member, tmp_path / "mnt"))
        syscalls.unmount(str(tmp_path / "mnt"))
        await mounts.mount(wanted(member, tmp_path / "mnt"))
        assert await asyncio.to_thread((tmp_path / "mnt/one").read_bytes) == content("one")


async def test_targets_that_will_not_do(member: NodeMember, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("mine")
    async with mounting(tmp_path) as mounts:
        for target, error in [("relative", BadInput), ("/", BadInput), (full, TargetInUse), ("/proc", TargetInUse)]:
            with pytest.raises(error):
                await mounts.mount(wanted(member, target))
        with pytest.raises(BadInput):
            await mounts.mount(wanted(member, full / "file" / "below"))
    assert (full / "file").read_text() == "mine"


async def test_unknown_commits_and_absent_members(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        target = str(tmp_path / "mnt")
        with pytest.raises(NotFound, match="0000"):
            await mounts.mount(Wanted("c", "d", CommitId("0" * 64), target, member.socket))
        with pytest.raises(MemberUnreachable, match="is it running"):
            await mounts.mount(Wanted("c", "d", member.commit, target, str(tmp_path / "nobody")))
        assert not os.path.exists(target)


async def test_devices_that_are_swapped_or_short_are_refused(member: NodeMember) -> None:
    fd = await asyncio.to_thread(catalog_file, member.socket, FILE_DEVICES, member.commit, 10.0)
    devices = list(tables.decode(os.pread(fd, os.fstat(fd).st_size, 0)))
    with pytest.raises(CatalogCorrupt, match="not that of commit"):
        volume.read_table(fd, CommitId("0" * 64))
    serving = Serving(member.socket, 1, 10.0, 8)
    session = await asyncio.to_thread(volume.Session.open, fd, serving)
    try:
        await asyncio.to_thread(try_disks, session, devices)
    finally:
        await asyncio.to_thread(session.close)
    image = os.open(member.catalog.image_path(member.commit), os.O_RDONLY)
    try:
        volume.check_image(image, devices)
        short = tables.Device(0, devices[0].size - 4096, devices[0].identity, devices[0].placed)
        for wrong in ([short, *devices[1:]], devices[1:], [devices[1], devices[0], *devices[2:]]):
            if [d.size for d in wrong] != [d.size for d in devices]:
                with pytest.raises(CatalogCorrupt, match="wants data devices"):
                    volume.check_image(image, wrong)
    finally:
        os.close(image)


def try_disks(session: volume.Session, devices: list[tables.Device]) -> None:
    disks = []
    try:
        for device in devices[:2]:
            file = session.file(device.number)
            disks.append(volume.loops.attach(file, "test", direct=True, read_ahead_kb=0))
            os.close(file)
        volume.verify(disks[0], devices[0])
        same_size = tables.Device(0, disks[1].size, devices[0].identity, ())
        with pytest.raises(MountFailed, match="identity block differs"):
            volume.verify(disks[1], same_size)
        longer = tables.Device(0, devices[0].size + 4096, devices[0].identity, ())
        with pytest.raises(MountFailed, match="bytes, data device 0 has"):
            volume.verify(disks[0], longer)
    finally:
        for disk in disks:
            disk.close()


async def test_a_worker_that_dies_is_replaced_and_no_read_is_lost(member: NodeMember, tmp_path: Path) -> None:
    async with mounting(tmp_path) as mounts:
        target = tmp_path / "mnt"
        await mounts.mount(wanted(member, target))
        workers = workers_of(os.getpid())
        assert len(workers) == 2
        reading = asyncio.to_thread(tree, target)
        task = asyncio.ensure_future(reading)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert await task == {name: content(name) for name in FILES}
        Path("/proc/sys/vm/drop_caches").write_text("1")
        assert await asyncio.to_thread(tree, target) == {name: content(name) for name in FILES}


async def test_a_crash_half_way_leaves_nothing(
    member: NodeMember, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mounting(tmp_path) as mounts:
        target = tmp_path / "mnt"
        target.mkdir()
        target.chmod(0o755)
        monkeypatch.setattr(syscalls, "attach", refuse)
        with pytest.raises(MountFailed, match="mounting on"):
            await mounts.mount(wanted(member, target))
        assert mounted_at(str(target)) is None
        assert len(mounts) == 0
        assert target.exists()


def refuse(mount: int, target: int) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
