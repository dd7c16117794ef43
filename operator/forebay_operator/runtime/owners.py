"""Owner-reference collection. Pure: all objects in, those whose owners are gone out."""

from collections.abc import Mapping, Sequence

from forebay_operator.model import Key, Object


def orphans(objects: Mapping[Key, Object]) -> list[Key]:
    """Objects that name owners of which none is left. An object of the owner's name with another UID is not its owner."""
    alive = {obj["metadata"]["uid"] for obj in objects.values()}
    return [key for key, obj in objects.items() if abandoned(obj["metadata"].get("ownerReferences") or (), alive)]


def abandoned(references: Sequence[Object], alive: set[str]) -> bool:
    return bool(references) and not any(reference["uid"] in alive for reference in references)
