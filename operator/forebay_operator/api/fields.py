"""What the resources' models are made of: the base of every part, bounded kinds of text, quantities and durations."""

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

UNITS = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}
SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
Quantity = Annotated[str, Field(pattern=QUANTITY, max_length=24)]
Duration = Annotated[str, Field(pattern=DURATION, max_length=32)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]
CommitId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Bytes = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Text = Annotated[str, Field(max_length=32768)]


class Part(BaseModel):
    """Base of every part of a resource: camelCase outside, immutable inside."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class Metadata(Part):
    """What the operator reads of an object's metadata."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Condition(Part):
    """One thing that is or is not the case; `forebay_operator.api.conditions` lists types and reasons."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """What is said; one entry each."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is the case."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z]+$")]
    """A stable word that says why, for programs."""
    message: Text = ""
    """Why, for people, with the next step."""
    last_transition_time: Time
    """When the status last changed."""
    observed_generation: int | None = None
    """The metadata.generation this was said of."""


def quantity(text: str) -> Fraction:
    """The number a Quantity says: 1.5Gi, 500m. Raises ValueError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", text)
    if found is None or found[2] not in UNITS:
        raise ValueError(f"{text!r} is not a quantity such as 500Gi or 2Ti")
    return Fraction(found[1]) * UNITS[found[2]]


def whole_bytes(text: str) -> int:
    """A Quantity of storage in bytes, rounded down. Raises ValueError."""
    return int(quantity(text))


def seconds(text: str) -> float:
    """The seconds a Duration says: 5m, 1h30m. Raises ValueError."""
    pieces = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m or 1h30m")
    return float(sum(Fraction(number) * SECONDS[unit] for number, unit in pieces))
