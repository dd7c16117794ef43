from forebay_cache.telemetry import Telemetry
from forebay_operator.monitoring.render.resources import Cluster
from forebay_operator.monitoring.shown import Shown, show


def test_each_cluster_says_whose_it_is_and_goes_with_it() -> None:
    telemetry = Telemetry()
    clusters = [Shown(Cluster(namespace="a", name="b", owner="c", members=3, origins=("s3 x", "s3 y")), 2)]
    show(telemetry, lambda: clusters)
    text = telemetry.exposition().decode()
    assert 'forebay_cluster_info{cache_cluster="b",namespace="a",origin="s3 x",owner="c",tier="production"} 1.0' in text
    assert 'forebay_members_desired{cache_cluster="b",namespace="a"} 3.0' in text
    assert 'forebay_members_ready{cache_cluster="b",namespace="a"} 2.0' in text
    clusters.clear()
    assert "cache_cluster=" not in telemetry.exposition().decode()
