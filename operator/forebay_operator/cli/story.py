"""What `forebay up` tells: one line for each cluster and Dataset, live on a terminal, else a plain line at each change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from forebay_operator.cli.advice import blocked, conditions, origin, sync_advice
from forebay_operator.cli.base import Parts
from forebay_operator.cli.find import find_endpoint, pod_state
from forebay_operator.cli.output import plural, short, size
from forebay_operator.kube.base import Kube
from forebay_operator.model import CACHE_CLUSTER, DATASET, POD, NotReady, Object
from forebay_operator.names import CLUSTER_LABEL
from forebay_operator.runtime.sets import is_ready


class Story:
    """Tells on standard error; `look` reads, `lines` says what was seen last."""

    def __init__(self, parts: Parts, state: Path) -> None:
        self._console = Console(file=parts.stderr, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._told: dict[str, str] = {}
        self._lines: dict[str, tuple[bool, str]] = {}
        self.note(f"state is in {state}")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def ready(self) -> bool:
        """Whether every cluster and Dataset is, and there is one."""
        return bool(self._lines) and all(ready for ready, _ in self._lines.values())

    @property
    def why(self) -> str:
        return (
            "; ".join(f"{name}: {text}" for name, (ready, text) in self._lines.items() if not ready)
            or "nothing is there"
        )

    def note(self, text: str) -> None:
        self._console.print(text, markup=False)

    async def look(self, kube: Kube) -> None:
        lines: dict[str, tuple[bool, str]] = {}
        pods = (await kube.list(POD)).items
        for cluster in (await kube.list(CACHE_CLUSTER)).items:
            own = [p for p in pods if p["metadata"].get("labels", {}).get(CLUSTER_LABEL) == cluster["metadata"]["name"]]
            ready = condition(cluster, "Ready").get("status") == "True" and all(map(is_ready, own))
            lines[title(cluster)] = ready, await cluster_line(kube, cluster, own)
        for dataset in (await kube.list(DATASET)).items:
            ready = condition(dataset, "Ready").get("status") == "True"
            lines[title(dataset)] = ready, dataset_line(dataset)
        self._lines = lines
        self._tell()

    def _tell(self) -> None:
        if self._live:
            self._live.update(Group(*(self._row(*item) for item in self._lines.items())))
            return
        for name, (_, text) in self._lines.items():
            if self._told.get(name) != text:
                self.note(f"{name}: {text}")
                self._told[name] = text

    @staticmethod
    def _row(name: str, seen: tuple[bool, str]) -> Text | Spinner:
        ready, text = seen
        return Text(f"✓ {name}: {text}") if ready else Spinner("dots", f"{name}: {text}")


def title(obj: Object) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"


async def cluster_line(kube: Kube, cluster: Object, pods: list[Object]) -> str:
    down = [f"{pod['metadata']['name']} {pod_state(pod)}" for pod in pods if not is_ready(pod)]
    if down or condition(cluster, "Ready").get("status") != "True":
        return f"starting ({'; '.join(down) or condition(cluster, 'Ready').get('message', 'no pods yet')})"
    try:
        return f"ready, S3 at {await find_endpoint(kube, cluster)}"
    except NotReady as exc:
        return str(exc)


def dataset_line(dataset: Object) -> str:
    status: Mapping[str, Any] = dataset.get("status") or {}
    head, sync = status.get("head"), status.get("sync") or {}
    ready = condition(dataset, "Ready")
    if sync.get("state") == "Failed":
        return f"sync failed: {sync.get('message', '')}{sync_advice(dataset)}"
    if why := blocked(dataset):
        return why
    if head and ready.get("status") == "True":
        nothing = (
            f"; nothing is there: {', '.join(map(origin, dataset['spec']['sources']))}" if not head["files"] else ""
        )
        counted = f"{plural(head['files'], 'file')}, {size(head['bytes'])}"
        return f"ready, commit {short(head['commit'])}: {counted}{nothing}"
    if sync.get("state") == "Running":
        return f"first sync: {plural(sync.get('listed', 0) // 1000 * 1000, 'object')} listed"
    return str(ready.get("message", "waiting for its cluster"))


def condition(obj: Object, name: str) -> Mapping[str, Any]:
    return next((c for c in conditions(obj) if c["type"] == name), {})
