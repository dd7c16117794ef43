"""What monitoring is told of a cluster. Pure."""

from collections import Counter

from pydantic import ValidationError

from forebay_operator.facts import Facts
from forebay_operator.monitoring.render.resources import Cluster
from forebay_operator.monitoring.shown import Shown


def shown(facts: Facts) -> Shown | None:
    """None of a cluster that is gone, going or suspended: nobody should be called because it does not serve."""
    model = facts.model
    if model is None or model.spec.suspend or model.metadata.deletion_timestamp:
        return None
    namespace, name, members = facts.key.namespace, facts.key.name, model.spec.replicas
    try:
        cluster = Cluster(namespace=namespace, name=name, members=members, origins=_origins(facts))
    except ValidationError:  # an origin whose name could end a string of PromQL
        cluster = Cluster(namespace=namespace, name=name, members=members)
    return Shown(cluster, sum(one.ready for one in facts.members))


def _origins(facts: Facts) -> tuple[str, ...]:
    """That of which most was asked first."""
    asked: Counter[str] = Counter()
    for member in facts.members:
        for origin in member.report.origins if member.report else ():
            asked[origin.identity] += origin.requests
    return tuple(name for name, _ in sorted(asked.items(), key=lambda pair: (-pair[1], pair[0])))
