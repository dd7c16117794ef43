"""Writes news as Kubernetes Events, beside the looks: none waits for it, and what cannot be written is given up."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from forebay_operator.kube.base import Kube
from forebay_operator.model import EVENT, FIELD_MANAGER, KubeUnavailable, Object, OperatorError
from forebay_operator.reconcile.news import News
from forebay_operator.reconcile.write import rfc3339

COMPONENT = "forebay-operator"
MESSAGE_MOST, NAME_MOST = 1024, 200
SERIES_MOST = 1000
"""Remembered; of more, those are forgotten that were told of longest ago."""
log = logging.getLogger("forebay.announcer")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two writes; between two writes of one series; until a silent API server is asked again."""

    gap_s: float = 0.1
    series_s: float = 60.0
    again_s: float = 30.0


@dataclass(slots=True)
class Series:
    """The same news of one object, as one Event object. `due` is monotonic, None while all of it is written."""

    about: Object
    news: News
    first: str
    last: str = ""
    count: int = 0
    due: float | None = None
    written: float = float("-inf")


class Announcer:
    """`now` is wall time, `monotonic` for waits. After a restart of the operator a series counts from one."""

    def __init__(
        self, kube: Kube, now: Callable[[], float], monotonic: Callable[[], float], pace: Pace = Pace()
    ) -> None:
        self._kube, self._now, self._monotonic, self._pace = kube, now, monotonic, pace
        self._series: dict[str, Series] = {}
        self._told = asyncio.Event()

    def tell(self, about: Object, told: Sequence[News]) -> None:
        """Returns at once."""
        for one in told:
            name, moment = event_name(about, one), rfc3339(int(self._now() * 1000))
            series = self._series.pop(name, None) or Series(about, one, moment)
            self._series[name] = series  # at the end: told last
            series.about, series.news, series.last, series.count = about, one, moment, series.count + 1
            if series.due is None:
                series.due = max(self._monotonic(), series.written + self._pace.series_s)
            self._told.set()
        while len(self._series) > SERIES_MOST:
            del self._series[next(iter(self._series))]

    async def run(self) -> None:
        """Until cancelled; what was not written by then is lost."""
        while True:
            self._told.clear()
            name, wait_s = self._next()
            if name and wait_s is not None and wait_s <= 0:
                await self._write(name, self._series[name])
                await asyncio.sleep(self._pace.gap_s)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._told.wait()

    def _next(self) -> tuple[str, float | None]:
        """Who is due first, and in how many seconds; None: nobody."""
        due = {name: one.due for name, one in self._series.items() if one.due is not None}
        name = min(due, key=due.__getitem__, default="")
        return name, due[name] - self._monotonic() if name else None

    async def _write(self, name: str, series: Series) -> None:
        series.due, series.written = None, self._monotonic()
        try:
            await self._kube.apply(event(name, series), manager=FIELD_MANAGER, force=True)
        except KubeUnavailable:
            self._hold(series)
        except OperatorError as exc:
            log.warning("Event not written", extra={"event": name, "reason": str(exc)})

    def _hold(self, series: Series) -> None:
        """The others would not get through either."""
        again = self._monotonic() + self._pace.again_s
        series.due = again
        for one in self._series.values():
            one.due = None if one.due is None else max(one.due, again)


def event_name(about: Object, news: News) -> str:
    """The same for the same series, also in another life of the operator."""
    metadata = about["metadata"]
    told = "\0".join((str(metadata["uid"]), news.reason, news.about))
    return f"{metadata['name'][:NAME_MOST].rstrip('.-')}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def event(name: str, series: Series) -> Object:
    """As core/v1 has it: `kubectl describe` shows reason, age, count and message. It goes with its object also where
    nothing else takes old ones away (`forebay up`)."""
    metadata = series.about["metadata"]
    who = {"apiVersion": series.about["apiVersion"], "kind": series.about["kind"]}
    named = {"name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"], "ownerReferences": [{**who, **named}]},
        "involvedObject": {**who, **named, "namespace": metadata["namespace"]},
        "type": "Warning" if series.news.warning else "Normal",
        "reason": series.news.reason,
        "message": series.news.message[:MESSAGE_MOST],
        "source": {"component": COMPONENT},
        "firstTimestamp": series.first,
        "lastTimestamp": series.last,
        "count": series.count,
    }
