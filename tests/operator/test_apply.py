import pytest
from tests.rigs import objects

from forebay_operator.apply import apply
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import (
    CONFIG_MAP,
    Apply,
    Delete,
    Key,
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
    Manifest,
    Outcome,
)


def manifest(name: str, **data: str) -> Manifest:
    return Manifest(Key(CONFIG_MAP, "ns", name), objects.config_map("ns", name, **data))


class Refusing(MemoryKube):
    """Refuses one name."""

    def __init__(self, name: str, error: KubeError) -> None:
        super().__init__()
        self.name, self.error = name, error

    async def apply(self, body, *, manager, force=False):  # type: ignore[no-untyped-def]
        if body["metadata"]["name"] == self.name:
            raise self.error
        return await super().apply(body, manager=manager, force=force)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KubeConflict("theirs"), "Conflict"),
        (KubeInvalid("spec.x"), "Invalid"),
        (KubeForbidden("no right"), "Forbidden"),
        (KubeUnavailable("late"), "Unavailable"),
        (KubeError("what"), "Unavailable"),
    ],
)
async def test_it_ends_at_the_first_refusal_and_names_it(error: KubeError, reason: str) -> None:
    kube = Refusing("second", error)
    outcome = await apply(kube, [Apply(manifest(name)) for name in ("first", "second", "third")])
    assert outcome == Outcome(reason, f"ConfigMap ns/second: {error}", 1)
    with pytest.raises(KubeNotFound):
        await kube.get(manifest("third").key)


async def test_what_is_gone_already_is_deleted_but_not_what_took_its_name() -> None:
    kube, key = MemoryKube(), manifest("one").key
    assert await apply(kube, [Delete(key, "old-uid")]) == Outcome(done=1)
    await apply(kube, [Apply(manifest("one"))])
    assert (await apply(kube, [Delete(key, "old-uid")])).reason == "Conflict"
    assert await kube.get(key)


async def test_a_field_left_out_goes_and_one_of_others_stays() -> None:
    kube, key = MemoryKube(), manifest("one").key
    await apply(kube, [Apply(manifest("one", a="1", b="2"))])
    await kube.apply(objects.config_map("ns", "one", theirs="3"), manager="somebody")
    await apply(kube, [Apply(manifest("one", a="1"))])
    assert (await kube.get(key))["data"] == {"a": "1", "theirs": "3"}
