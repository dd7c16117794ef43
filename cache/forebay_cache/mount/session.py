"""One FUSE connection whose files are the data devices of one commit, and the worker processes that answer it.

The agent keeps every /dev/fuse descriptor and never reads them: a worker that dies is replaced, and the kernel sends again
what it had read. When the agent dies, its workers' standard input ends, so they end, and the kernel ends the connection.
Blocking calls; run them in a thread.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from forebay_cache.model.errors import MountFailed, MountUnsupported
from forebay_cache.mount import syscalls, wire
from forebay_cache.mount.support import unsupported
from forebay_cache.mount.tally import Tally, Totals, new_tally_file, summed
from forebay_cache.mount.worker import Settings

_CLONE = 0x8004E500
_INIT_S = 10.0
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Serving:
    """How READs are answered; the same for all workers of a session."""

    member_socket: str
    workers: int
    deadline_s: float
    held_descriptors: int


@dataclass(slots=True)
class _Place:
    """A worker's descriptors, which outlive the worker, and the process that has them now."""

    channel: int
    tally: int
    process: subprocess.Popen[bytes]


class Session:
    """Made by `open`; `close` when nothing is mounted from its files any more."""

    def __init__(self, mount: int, device: int, devices: int, serving: Serving, *, resend: bool) -> None:
        self._mount = mount
        self._device = device
        self._devices = devices
        self._serving = serving
        self._resend = resend
        self._places: list[_Place] = []
        self._tallies: list[Tally] = []

    @classmethod
    def open(cls, devices: int, serving: Serving) -> "Session":
        """`devices`: a descriptor of the device table, taken over. Raises MountUnsupported, MountFailed."""
        with ExitStack() as undo:
            undo.callback(os.close, devices)
            device = _open_fuse()
            undo.callback(os.close, device)
            mount = _mount(device)
            undo.callback(os.close, mount)
            session = cls(mount, device, devices, serving, resend=_agree(device))
            undo.pop_all()
        try:
            for _ in range(serving.workers):
                session._add_worker()
        except BaseException:
            session.close()
            raise
        return session

    def file(self, number: int) -> int:
        """An open data device, as a file. Raises MountFailed."""
        try:
            return os.open(str(number), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._mount)
        except OSError as exc:
            raise MountFailed(f"data device {number} does not open: {exc.strerror}") from exc

    def close_tree(self) -> None:
        """No more files will be opened; those that are open keep the connection alive. Idempotent."""
        mount, self._mount = self._mount, -1
        if mount >= 0:
            os.close(mount)

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [place.process for place in self._places]

    def totals(self) -> Totals:
        """Also after `close`."""
        return summed(tally.totals() for tally in self._tallies)

    def revive(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes] | None:
        """Replaces a worker that died; None where its READs are lost, so that the connection must end."""
        place = next((place for place in self._places if place.process is process), None)
        if place is None or not self._resend:
            return None
        _end(process)
        place.process = self._start(place.channel, place.tally)
        with suppress(OSError):  # ENODEV: unmounted meanwhile
            os.write(self._device, wire.NOTIFY_RESEND)
        return place.process

    def close(self) -> None:
        """Ends the workers, which answer what waits, then the connection. Idempotent."""
        places, self._places = self._places, []
        for place in places:
            if place.process.stdin:
                place.process.stdin.close()
        for place in places:
            _end(place.process)
            os.close(place.channel)
            os.close(place.tally)
        self.close_tree()
        for fd in (self._device, self._devices):
            if fd >= 0:
                os.close(fd)
        self._device = self._devices = -1

    def _add_worker(self) -> None:
        with ExitStack() as undo:
            channel = _open_fuse()
            undo.callback(os.close, channel)
            fcntl.ioctl(channel, _CLONE, struct.pack("<I", self._device))
            tally = new_tally_file()
            undo.callback(os.close, tally)
            self._tallies.append(Tally(tally))
            self._places.append(_Place(channel, tally, self._start(channel, tally)))
            undo.pop_all()

    def _start(self, channel: int, tally: int) -> subprocess.Popen[bytes]:
        serving = self._serving
        settings = Settings(
            channel, self._devices, tally, serving.member_socket, serving.deadline_s, serving.held_descriptors
        )
        command = [sys.executable, "-m", "forebay_cache.mount.worker", settings.to_json()]
        descriptors = (channel, self._devices, tally)
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=descriptors)


def _open_fuse() -> int:
    try:
        return os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise MountUnsupported(f"/dev/fuse: {exc.strerror}; modprobe fuse, and run the agent as root") from exc


def _mount(device: int) -> int:
    options = [("fd", str(device)), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")]
    try:
        return syscalls.make("fuse", [*options, ("max_read", str(wire.READ_LIMIT)), ("subtype", "forebay")])
    except OSError as exc:
        raise unsupported("fuse", exc) or MountFailed(f"mounting FUSE: {exc.strerror}") from exc


def _agree(device: int) -> bool:
    """Answers INIT -> whether the kernel can send requests again."""
    poll = select.poll()
    poll.register(device, select.POLLIN)
    if not poll.poll(_INIT_S * 1000):
        raise MountFailed(f"FUSE did not begin within {_INIT_S:g} s")
    request = bytearray(wire.REQUEST_LIMIT)
    try:
        count = os.readv(device, [request])
        agreement = wire.agree(wire.parse(memoryview(request)[:count]))
        os.write(device, agreement.reply)
    except ValueError as exc:
        raise MountUnsupported(str(exc)) from exc
    except OSError as exc:
        raise MountFailed(f"beginning FUSE: {exc.strerror}") from exc
    return agreement.resend


def _end(process: subprocess.Popen[bytes]) -> None:
    """Waits for a worker that was asked to end, not for long."""
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_END_S)
    for pipe in (process.stdin, process.stderr):
        if pipe:
            pipe.close()
