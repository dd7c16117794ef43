"""The table at the end: what each way of reading gave, and what it asked of the origin."""

from collections.abc import Sequence
from dataclasses import dataclass

from examples.demo.asked import Asked
from examples.demo.train import Result
from rich.console import Console
from rich.table import Table

MB = 1e6
STRAIGHT = "straight from origin"
COLUMNS = ("", "\nMB/s", "\nfiles/s", "hit\nratio", "origin\nrequests", "origin\nMB", "wrong\nfiles")


@dataclass(frozen=True, slots=True)
class Row:
    """One pass over the data, and what it asked of the origin."""

    name: str
    read: Result
    asked: Asked

    @property
    def hit_ratio(self) -> float:
        """Share of the bytes read that the origin did not have to give."""
        return max(0.0, 1 - self.asked.bytes / self.read.bytes)


def show(console: Console, rows: Sequence[Row]) -> None:
    title = "The same files each time, shuffled anew; every byte verified"
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)
    console.print(saved(rows[0], rows[1:]), soft_wrap=True)


def cells(row: Row) -> list[str]:
    return [
        row.name,
        f"{row.read.bytes / MB / row.read.seconds:,.0f}",
        f"{row.read.files / row.read.seconds:,.0f}",
        "-" if row.name == STRAIGHT else f"{row.hit_ratio:.0%}",
        f"{row.asked.requests:,}",
        f"{row.asked.bytes / MB:,.0f}",
        f"{row.read.wrong}",
    ]


def saved(straight: Row, epochs: Sequence[Row]) -> str:
    """What as many passes straight from the origin would have cost, against what these did."""
    count = len(epochs)
    size = straight.asked.bytes * count - sum(row.asked.bytes for row in epochs)
    requests = straight.asked.requests * count - sum(row.asked.requests for row in epochs)
    seconds = straight.read.seconds * count - sum(row.read.seconds for row in epochs)
    waiting = f", {seconds:,.0f} s of waiting" if seconds >= 1 else ""
    return f"Saved over {count} epochs: {requests:,} requests to the origin, {size / MB:,.0f} MB from it{waiting}."
