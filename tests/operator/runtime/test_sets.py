from typing import Any

import pytest

from forebay_operator.runtime import sets


def owner(replicas: int = 2, *, policy: str = "OrderedReady", image: str = "a") -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "metadata": {"name": "train", "namespace": "ns", "uid": "set-uid", "generation": 3},
        "spec": {
            "replicas": replicas,
            "podManagementPolicy": policy,
            "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "store"}}],
        },
    }


def pod(of: dict[str, Any], number: int, *, ready: bool = True) -> dict[str, Any]:
    made: dict[str, Any] = dict(sets.pod_of(of, number))
    made["metadata"] = {**made["metadata"], "uid": f"pod-{number}"}
    made["status"] = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return made


def names(steps: list[sets.Create | sets.Delete]) -> list[str]:
    return [f"+{s.body['metadata']['name']}" if isinstance(s, sets.Create) else f"-{s.key.name}" for s in steps]


@pytest.mark.parametrize(
    ("policy", "replicas", "here", "ending", "expected"),
    [
        ("OrderedReady", 2, [], [], ["+train-0"]),
        ("OrderedReady", 2, [(0, False)], [], []),
        ("OrderedReady", 2, [(0, True)], [], ["+train-1"]),
        ("OrderedReady", 2, [(1, True)], [], ["+train-0"]),
        ("OrderedReady", 2, [], ["train-0"], []),
        ("OrderedReady", 0, [(0, True), (1, True)], [], ["-train-1"]),
        ("OrderedReady", 0, [(0, True)], ["train-1"], []),
        ("Parallel", 3, [(1, False)], [], ["+train-0", "+train-2"]),
        ("Parallel", 1, [(0, True), (1, True), (2, True)], ["train-5"], ["-train-2", "-train-1"]),
        ("Parallel", 1, [(0, True)], [], []),
    ],
)
def test_steps_bring_a_set_to_its_replicas(
    policy: str, replicas: int, here: list[tuple[int, bool]], ending: list[str], expected: list[str]
) -> None:
    of = owner(replicas, policy=policy)
    assert names(sets.steps(of, [pod(of, n, ready=r) for n, r in here], ending)) == expected


def test_a_changed_template_restarts_nothing_and_shows_in_status() -> None:
    old, new = owner(2), owner(2, image="b")
    pods = [pod(old, 0), pod(old, 1)]
    assert sets.steps(new, pods, ()) == []
    status = sets.set_status({**new, "status": sets.set_status(old, pods)}, pods)
    assert status["updatedReplicas"] == 0
    assert status["currentRevision"] == sets.revision(old) != status["updateRevision"] == sets.revision(new)
    renewed = sets.set_status({**new, "status": status}, [pod(new, 0), pod(new, 1)])
    assert renewed["currentRevision"] == renewed["updateRevision"]
    assert (renewed["replicas"], renewed["readyReplicas"], renewed["observedGeneration"]) == (2, 2, 3)


def test_a_pod_has_its_ordinals_names_and_claims() -> None:
    made = sets.pod_of(owner(), 1)
    assert made["metadata"]["name"] == "train-1"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "set-uid"
    assert made["spec"]["volumes"] == [{"name": "store", "persistentVolumeClaim": {"claimName": "store-train-1"}}]
