"""Two machines' worth of network on one: network namespaces joined by a veth pair whose rate is shaped at both ends.

    with link(2e9) as (here, there):
        subprocess.Popen([*here.enter, "iperf3", "-s"])

The namespaces have no names: they live as long as a process in them, and nothing is left when this one is killed. Needs
root, iproute2 and the kernel's tbf.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BURST = 256 << 10
QUEUE_S = 0.02
ADDRESSES = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True, slots=True)
class End:
    """One end: its address, and what stands before a command to run it there."""

    address: str
    enter: Sequence[str]


def missing() -> str:
    """Why there can be no link; "": there can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    absent = [name for name in ("ip", "tc", "unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


@contextlib.contextmanager
def link(bits_per_s: float) -> Iterator[tuple[End, End]]:
    """Raises RuntimeError where the kernel lacks a part."""
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(_namespace()) for _ in ADDRESSES]
        ends = [
            End(address, ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/{holder}/ns/net"])
            for address, holder in zip(ADDRESSES, holders, strict=True)
        ]
        _do(ends[0], f"ip link add peer0 type veth peer name peer0 netns {holders[1]}")
        for end in ends:
            _do(end, "ip link set lo up")
            _do(end, f"ip addr add {end.address}/24 dev peer0")
            _do(end, "ip link set peer0 up")
            shape = f"rate {int(bits_per_s)}bit burst {BURST} latency {int(QUEUE_S * 1000)}ms"
            _do(end, f"tc qdisc add dev peer0 root tbf {shape}")
        yield ends[0], ends[1]


@contextlib.contextmanager
def _namespace() -> Iterator[int]:
    """Yields the id of a process that holds a network namespace open."""
    holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
    try:
        ours, until = os.readlink("/proc/self/ns/net"), time.monotonic() + 10
        while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
            if holder.poll() is not None or time.monotonic() > until:
                raise RuntimeError("no network namespace could be made")
            time.sleep(0.01)
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


def _do(end: End, command: str) -> None:
    done = subprocess.run([*end.enter, *command.split()], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
