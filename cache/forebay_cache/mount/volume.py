"""One commit as a file system: image and data devices on loops, EROFS over them, not yet anywhere in the tree of paths.

Until it is attached everything hangs on descriptors, so a failure or a crash half-way leaves nothing behind. Blocking; run
it in a thread.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from forebay_cache.catalog import devices as tables
from forebay_cache.catalog.base import Device
from forebay_cache.contract.wire import FILE_DEVICES, FILE_IMAGE
from forebay_cache.model.errors import CatalogCorrupt, MountFailed
from forebay_cache.model.ids import BLOCK_SIZE, CommitId
from forebay_cache.mount import loops, syscalls
from forebay_cache.mount.client import catalog_file
from forebay_cache.mount.loops import Loop
from forebay_cache.mount.session import Serving, Session
from forebay_cache.mount.superblock import device_sizes
from forebay_cache.mount.support import unsupported


@dataclass(slots=True)
class Volume:
    """`mount`: descriptor of the detached mount; -1 once it is attached. `device`: st_dev of the file system."""

    commit: CommitId
    session: Session
    mount: int
    device: int

    def attach(self, target: int) -> None:
        """Moves the mount onto a directory (a descriptor of it); the tree holds it from then on. Raises OSError."""
        syscalls.attach(self.mount, target)
        self.let_go()

    def attach_again(self, beside: str, target: int) -> None:
        """Shows the volume at a second directory; `beside` is where it is already. Raises OSError, MountFailed."""
        view = syscalls.clone(beside)
        try:
            if os.fstat(view).st_dev != self.device:
                raise MountFailed(f"{beside} is no longer the mount it was; unmount it first")
            syscalls.attach(view, target)
        finally:
            os.close(view)

    @property
    def device_name(self) -> str:
        """As major:minor."""
        return f"{os.major(self.device)}:{os.minor(self.device)}"

    def let_go(self) -> None:
        """What was never attached ends now. Idempotent."""
        mount, self.mount = self.mount, -1
        if mount >= 0:
            os.close(mount)


def assemble(commit: CommitId, serving: Serving, read_ahead_kb: int) -> Volume:
    """Raises NotFound, MemberUnreachable, DeadlineExceeded, CatalogCorrupt, MountUnsupported, MountFailed."""
    with ExitStack() as held:
        image = catalog_file(serving.member_socket, FILE_IMAGE, commit, serving.deadline_s)
        held.callback(os.close, image)
        table = catalog_file(serving.member_socket, FILE_DEVICES, commit, serving.deadline_s)
        with ExitStack() as undo:
            undo.callback(os.close, table)
            devices = read_table(table, commit)
            check_image(image, devices)
            undo.pop_all()
        session = Session.open(table, serving)
        with ExitStack() as undo:
            undo.callback(session.close)
            disks = [_disk(session, device, commit, read_ahead_kb, held) for device in devices]
            session.close_tree()
            disk = loops.attach(image, f"forebay {commit[:12]} image", direct=False, read_ahead_kb=read_ahead_kb)
            held.callback(disk.close)
            mount = _erofs(disk, disks)
            undo.pop_all()
        return Volume(commit, session, mount, os.fstat(mount).st_dev)


def read_table(fd: int, commit: CommitId) -> Sequence[Device]:
    """The device table, if it is this commit's. Raises CatalogCorrupt."""
    devices = tables.decode(os.pread(fd, os.fstat(fd).st_size, 0))
    for device in devices:
        if device.identity != tables.identity(commit, device.number):
            raise CatalogCorrupt(f"the device table is not that of commit {commit}")
    return devices


def check_image(fd: int, devices: Sequence[Device]) -> None:
    """Raises CatalogCorrupt where the image was made for other devices."""
    wanted = device_sizes(os.pread(fd, BLOCK_SIZE, 0))
    if wanted != [device.size for device in devices]:
        raise CatalogCorrupt(f"the image wants data devices of {wanted} bytes, not {[d.size for d in devices]}")


def verify(disk: Loop, device: Device) -> None:
    """Reads through the block device whether it is what it should be: the kernel does not. Raises MountFailed."""
    if disk.size != device.size:
        raise MountFailed(f"{disk.path} has {disk.size} bytes, data device {device.number} has {device.size}")
    try:
        found = os.pread(disk.fd, BLOCK_SIZE, 0)
    except OSError as exc:
        raise MountFailed(f"{disk.path}: data device {device.number} cannot be read: {exc.strerror}") from exc
    if found != device.identity:
        raise MountFailed(f"{disk.path} is not data device {device.number}: its identity block differs")


def _disk(session: Session, device: Device, commit: CommitId, read_ahead_kb: int, held: ExitStack) -> Loop:
    file = session.file(device.number)
    try:
        name = f"forebay {commit[:12]} device {device.number}"
        disk = loops.attach(file, name, direct=True, read_ahead_kb=read_ahead_kb)
    finally:
        os.close(file)
    held.callback(disk.close)
    verify(disk, device)
    return disk


def _erofs(image: Loop, disks: Sequence[Loop]) -> int:
    options = [("source", image.path), *(("device", disk.path) for disk in disks)]
    try:
        return syscalls.make("erofs", options)
    except OSError as exc:
        raise unsupported("erofs", exc) or MountFailed(f"mounting EROFS from {image.path}: {exc.strerror}") from exc
