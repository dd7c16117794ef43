"""What the read path counts since it started. Plain numbers; telemetry shows them."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class OriginCounters:
    """Traffic to one origin. `message`: why the last request failed; "" after one that did not."""

    requests: int = 0
    bytes: int = 0
    errors: int = 0
    message: str = ""


@dataclass(slots=True)
class ReadCounters:
    """Spans and bytes answered from the store, and those an origin had to give."""

    hits: int = 0
    hit_bytes: int = 0
    misses: int = 0
    miss_bytes: int = 0
    copied_bytes: int = 0
    """Of misses: from chunks of the segments that theirs was merged of."""
    peer_bytes: int = 0
    """Of misses: from other members."""
    origins: dict[str, OriginCounters] = field(default_factory=dict)

    def origin(self, identity: str) -> OriginCounters:
        return self.origins.setdefault(identity, OriginCounters())
