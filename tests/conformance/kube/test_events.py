"""The Events that the announcer writes, as the API server takes them."""

from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.model import EVENT, FIELD_MANAGER, key_of
from forebay_operator.reconcile.announcer import Series, event, event_name
from forebay_operator.reconcile.news import News

TIMES = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")


@pytest.mark.parametrize("warning", [True, False])
async def test_an_event_is_made_and_counts_on(world: Any, warning: bool) -> None:
    about = await world.kube.create(objects.cluster(world.namespace))
    news = News("MemberRestarted", "main-0 was started again", warning=warning, about="main-0")
    name, series = event_name(about, news), Series(about, news, first=TIMES[0], last=TIMES[0], count=1)
    made = await world.kube.apply(event(name, series), manager=FIELD_MANAGER, force=True)
    series.last, series.count = TIMES[1], 2
    await world.kube.apply(event(name, series), manager=FIELD_MANAGER, force=True)
    found = await world.kube.get(key_of(made), live=True)
    assert (found["count"], found["firstTimestamp"], found["lastTimestamp"]) == (2, *TIMES)
    assert found["involvedObject"]["uid"] == about["metadata"]["uid"]
    assert [one["metadata"]["name"] for one in (await world.kube.list(EVENT, world.namespace)).items] == [name]
