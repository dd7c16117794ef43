"""What the operator found: the clusters there are, as frozen values. For templates, tests and `render --fixtures`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from forebay_operator.monitoring.render.document import read
from forebay_operator.monitoring.render.standards import read_part

Text = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,252}$")]
"""Nothing that could end a string of YAML or PromQL."""


Origin = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,252}$")]


class Cluster(BaseModel):
    """One CacheCluster. `origins`: as the label `origin` of its metrics names them."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    namespace: Text
    name: Text
    owner: Text = "platform"
    tier: Literal["production", "staging", "dev"] = "production"
    members: int = Field(default=1, ge=0)
    origins: tuple[Origin, ...] = ()


class Resources(BaseModel):
    """`clusters` are sorted by namespace and name, whatever order they came in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    clusters: tuple[Cluster, ...] = ()

    def values(self) -> Sequence[Mapping[str, Any]]:
        ordered = sorted(self.clusters, key=lambda one: (one.namespace, one.name))
        return [one.model_dump(mode="json") for one in ordered]


EXAMPLE = Resources(
    clusters=(
        Cluster(
            namespace="training", name="vision", owner="vision-team", members=6, origins=("s3 aws eu-west-1 images",)
        ),
        Cluster(
            namespace="training", name="speech", owner="speech-team", members=3, origins=("s3 aws us-east-1 audio",)
        ),
    )
)
"""What `forebay mac` renders with where no fixtures are given."""


def read_fixtures(text: str, file: str) -> Resources:
    """Raises MonitoringRefused."""
    return read_part(Resources, read(text, file))
