"""What monitoring is told of a cluster."""

from tests.operator.reconcile.conftest import World

from forebay_operator.observe import observe
from forebay_operator.reconcile.showing import shown


async def test_a_cluster_shows_its_members_while_it_should_serve(world: World) -> None:
    await world.cluster()
    await world.look()
    await world.pod()
    found = shown(await observe(world.kube, world.member, world.key))  # type: ignore[arg-type]
    assert found is not None
    assert (found.cluster.namespace, found.cluster.name, found.cluster.members) == (world.namespace, "main", 1)
    assert (found.ready, found.cluster.origins) == (1, ())


async def test_nobody_is_called_for_what_should_not_serve(world: World) -> None:
    assert shown(await observe(world.kube, world.member, world.key)) is None  # type: ignore[arg-type]
    await world.cluster(suspend=True)
    assert shown(await observe(world.kube, world.member, world.key)) is None  # type: ignore[arg-type]
