"""What a Dataset may ask of the members' stores: the part `cache` of its spec."""

from typing import Annotated, Literal

from pydantic import Field

from forebay_operator.api.fields import Duration, Part, Quantity


class Cache(Part):
    """What the Dataset may have of the members' disks, all together; a change holds within seconds."""

    policy: Literal["Epoch", "S3FIFO", "LRU"] = "Epoch"
    """What is kept where not all fits. Epoch: for training, which reads everything once an epoch, what is here stays; S3FIFO:
    what is read again and again; LRU: what was read last."""
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    """Where room is short, Datasets of a lower priority give theirs first."""
    guaranteed: Quantity | None = None
    """Disk that other Datasets cannot take, for example 500Gi."""
    max: Quantity | None = None
    """The most disk the Dataset may use; left out: no limit."""
    pin: Literal["None", "All"] = "None"
    """All: what is cached is never evicted; guaranteed must be given."""
    idle_ttl: Annotated[Duration | None, Field(alias="idleTTL")] = None
    """What was not read for so long is evicted, 1m at the least; left out: never for that."""
