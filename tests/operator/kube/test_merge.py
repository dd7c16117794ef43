"""Field sets: any object's paths go to FieldsV1 and back, and a merge with itself changes nothing."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from forebay_operator.kube import merge

names = st.sampled_from(["a", "b", "containers", "env", "name", "spec", "finalizers", "selector", "value"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "y"])
items = st.fixed_dictionaries({"name": st.sampled_from(["m", "n", "o"])}, optional={"value": scalars})
keyed = st.lists(items, max_size=3, unique_by=lambda item: item["name"])
values = st.recursive(
    scalars | keyed | st.lists(st.sampled_from(["x", "y"]), unique=True, max_size=2),
    lambda inside: st.dictionaries(names, inside, max_size=3),
    max_leaves=12,
)
bodies = st.dictionaries(names, values, max_size=4)


@given(bodies)
def test_paths_survive_their_nested_form(body: dict[str, Any]) -> None:
    paths = frozenset(merge.leaves(body))
    assert merge.from_fields_v1(merge.to_fields_v1(paths)) == paths


@given(bodies)
def test_a_merge_with_itself_changes_nothing(body: dict[str, Any]) -> None:
    assert merge.merged(body, body) == body
    assert not merge.changed(body, merge.merged(body, body))


@given(bodies, bodies)
@example({"finalizers": [{"name": "m"}]}, {"finalizers": {"a": None}})
def test_a_merge_holds_every_leaf_applied(live: dict[str, Any], applied: dict[str, Any]) -> None:
    after = merge.leaves(merge.merged(live, applied))
    for path, value in merge.leaves(applied).items():
        if value not in ("{}", "[]"):
            assert after[path] == value


@given(bodies)
def test_what_its_only_owner_gives_up_goes(body: dict[str, Any]) -> None:
    gone = merge.given_up(frozenset(merge.leaves(body)), [])
    assert merge.without(body, gone) == {}


def test_conflicts_spell_paths_as_the_server_does() -> None:
    path = ("f:spec", "f:containers", 'k:{"name":"a"}', "f:ports", 'k:{"containerPort":1,"protocol":"TCP"}', "f:name")
    assert merge.spelled(path) == '.spec.containers[name="a"].ports[containerPort=1,protocol="TCP"].name'
