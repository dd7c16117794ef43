"""Finds the members of a cluster on this node by their sockets, and asks them. Blocking; use it in a thread."""

import glob
import re
from dataclasses import dataclass

from forebay_cache.contract.agent import ResolvedCommit, ResolveRequest
from forebay_cache.model.errors import BadInput, ConfigError, DeadlineExceeded, MemberUnreachable, NotFound
from forebay_cache.mount.client import commit_of

_UID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Sockets:
    """`pattern` as AgentConfig.member_sockets."""

    pattern: str
    timeout_s: float

    def resolve(self, asked: ResolveRequest) -> ResolvedCommit:
        """What the first member that knows answers. Raises BadInput, NotFound, MemberUnreachable, DeadlineExceeded."""
        failure: NotFound | MemberUnreachable | DeadlineExceeded | None = None
        for path in self.of(asked.cluster_uid):
            try:
                return commit_of(path, asked.dataset_uid, asked.commit, self.timeout_s)
            except (NotFound, MemberUnreachable, DeadlineExceeded) as exc:
                if not isinstance(failure, NotFound):  # one that answers knows more than one that does not
                    failure = exc
        raise failure or MemberUnreachable(
            f"no member of cluster {asked.cluster_uid} is on this node: no socket matches {self._pattern(asked.cluster_uid)}"
        )

    def of(self, cluster_uid: str) -> list[str]:
        """Paths of the sockets there are, in a stable order. Raises BadInput, ConfigError."""
        if not _UID.fullmatch(cluster_uid):
            raise BadInput(f"cluster_uid {cluster_uid!r} must be letters, digits and dashes")
        return sorted(glob.glob(self._pattern(cluster_uid)))

    def _pattern(self, cluster_uid: str) -> str:
        if "{cluster_uid}" not in self.pattern:
            raise ConfigError(f"member_sockets: {self.pattern} must hold {{cluster_uid}}")
        return self.pattern.replace("{cluster_uid}", cluster_uid)
