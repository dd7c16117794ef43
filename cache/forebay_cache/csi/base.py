"""What the driver needs of the node's agent, and the limits it keeps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.contract.agent import Mount, MountRequest, ResolvedCommit, ResolveRequest, UnmountRequest


class Agent(Protocol):
    """contract/agent.py. Every call raises AgentUnreachable, DeadlineExceeded, and what the agent itself refuses with."""

    async def resolve(self, asked: ResolveRequest) -> ResolvedCommit: ...
    async def mount(self, asked: MountRequest) -> Mount: ...
    async def unmount(self, asked: UnmountRequest) -> None: ...
    async def mounts(self) -> Sequence[Mount]: ...
    async def why_not_ready(self) -> str:
        """ "" where it can mount. Never raises ForebayError."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`idle_s` as CsiConfig; `wait_s`: for another call of the same volume to end; `now`: the wall clock, because it is
    compared over restarts; `boot_id` names this boot of the machine."""

    idle_s: float
    wait_s: float
    now: Callable[[], float]
    boot_id: str
