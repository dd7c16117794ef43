from hypothesis import given
from hypothesis import strategies as st
from tests.operator.monitoring.trees import ALERT, ALONE, RULES, findings, tree, verdict

from forebay_operator.monitoring.render.resources import Cluster, Resources

PER_CLUSTER = (
    ALERT.replace("name: own\n    rules:\n", "name: own\n    rules:\n[% for c in clusters %]\n", 1)
    .replace("ForebayDiskFull\n        expr", "ForebayDiskFull[[ loop.index ]]\n        expr")
    .replace("bytes[15m]", 'bytes{namespace="[[ c.namespace ]]", cache_cluster="[[ c.name ]]"}[15m]')
    + "[% endfor %]\n"
)


CLUSTERS = [Cluster(namespace="n", name=f"c{n}") for n in range(4)]


def digest(clusters: list[Cluster]) -> str:
    found = verdict({**ALONE, RULES: PER_CLUSTER.encode()}, Resources(clusters=tuple(clusters))).bundle
    assert found
    assert len(list(found.rules)) == len(clusters)
    return found.digest()


@given(st.permutations(CLUSTERS))
def test_the_same_clusters_in_any_order_give_the_same_digest(clusters: list[Cluster]) -> None:
    assert digest(clusters) == digest(CLUSTERS) != digest(CLUSTERS[1:])


def test_generic_rules_do_not_change_when_clusters_come_and_go() -> None:
    none, many = verdict(tree(), Resources()), verdict(tree())
    assert none.bundle
    assert many.bundle
    assert none.bundle.digest() == many.bundle.digest()


def test_every_template_is_told_what_is_wrong_with_it() -> None:
    found = findings(
        tree(**{RULES: "a: [[ x ]]", "templates/rules/b.yaml.j2": "a: [1", "templates/routes/c.j2": "[% if"})
    )
    assert [(one.file, one.code) for one in found] == [
        ("templates/routes/c.j2", "MAC201"),
        ("templates/rules/b.yaml.j2", "MAC205"),
        (RULES, "MAC202"),
    ]


def test_no_rule_at_all_is_refused() -> None:
    assert [one.code for one in findings(tree(**{RULES: "groups: []"}))] == ["MAC207"]
