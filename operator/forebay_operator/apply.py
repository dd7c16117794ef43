"""Runs actions against the API server and says what each did."""

from collections.abc import Sequence

from forebay_operator.kube.base import Kube
from forebay_operator.model import (
    FIELD_MANAGER,
    Action,
    Apply,
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    OperatorError,
    Outcome,
)
from forebay_operator.names import stamped

REASONS: Sequence[tuple[type[OperatorError], str]] = (
    (KubeConflict, "Conflict"),
    (KubeInvalid, "Invalid"),
    (KubeForbidden, "Forbidden"),
    (KubeError, "Unavailable"),
)


async def apply(kube: Kube, actions: Sequence[Action]) -> Outcome:
    """In order; ends at the first refusal, because what follows may need what was refused."""
    for done, action in enumerate(actions):
        try:
            await _run(kube, action)
        except KubeError as exc:
            reason = next(reason for kind, reason in REASONS if isinstance(exc, kind))
            target = action.manifest.key if isinstance(action, Apply) else action.key
            return Outcome(reason, f"{target}: {exc}", done)
    return Outcome(done=len(actions))


async def _run(kube: Kube, action: Action) -> None:
    if isinstance(action, Apply):
        # forced: these objects are ours; a hand edit of one of our fields is undone, other fields are left alone
        await kube.apply(stamped(action.manifest), manager=FIELD_MANAGER, force=True)
        return
    try:
        await kube.delete(action.key, uid=action.uid, resource_version=action.resource_version or None)
    except KubeNotFound:
        return
