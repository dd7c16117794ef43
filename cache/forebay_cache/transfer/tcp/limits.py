"""Deadlines and bounds of the transfer over TCP."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """`silent_s`: without a byte from a member that was asked; a member at work says so every `wait_s` of its own, which is
    less. `connections`: to one member, one ask on each. `waiting`: asks to one member that wait for one; more are Busy.
    `idle_s`: a connection that nobody used for so long is not used again."""

    connect_s: float = 1.0
    silent_s: float = 3.0
    connections: int = 8
    waiting: int = 1024
    idle_s: float = 20.0


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """`asks`: under way at once, all callers together; more are Busy. `stalled_s`: without a byte that the caller takes.
    `warming`: threads that wait for disks."""

    connections: int = 1024
    greeting_s: float = 5.0
    idle_s: float = 60.0
    stalled_s: float = 10.0
    asks: int = 256
    wait_s: float = 0.5
    warming: int = 8
