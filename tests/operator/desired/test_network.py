from tests.rigs import objects

from forebay_operator.api import v1alpha1 as api
from forebay_operator.desired.network import services

OWNER = {**objects.cluster("ns"), "metadata": {"name": "main", "namespace": "ns", "uid": "c-1"}}


def test_members_have_names_before_they_are_ready_and_clients_see_only_the_s3_face() -> None:
    spec = api.CacheCluster.model_validate(objects.cluster("ns", s3={"port": 7999})).spec
    peers, face = services(OWNER, spec)
    assert (peers.key.name, face.key.name) == ("main-members", "main-s3")
    assert (peers.body["spec"]["clusterIP"], peers.body["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert [one["port"] for one in peers.body["spec"]["ports"]] == [7999, 9450, 9451]
    assert [(one["name"], one["port"]) for one in face.body["spec"]["ports"]] == [("s3", 7999)]
    assert peers.body["spec"]["selector"] == face.body["spec"]["selector"] == {"forebay.dev/cluster": "main"}
