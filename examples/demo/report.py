"""The table at the end: what each way of reading gave, and what it asked of the origin."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

MB = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """One pass over the data. `seconds` is the longest time any reading process spent in open and read."""

    name: str
    files: int
    bytes: int
    seconds: float
    origin_requests: int
    origin_bytes: int
    wrong: int

    @property
    def hit_ratio(self) -> float:
        """Share of the bytes read that the origin did not have to give."""
        return max(0.0, 1 - self.origin_bytes / self.bytes)


def show(console: Console, rows: Sequence[Row]) -> None:
    table = Table(title="One pass each over the same files, shuffled; every byte verified", title_justify="left")
    for name in ("", "MB/s", "files/s", "hits", "requests", "origin MB", "wrong"):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.bytes / MB / row.seconds:,.0f}",
            f"{row.files / row.seconds:,.0f}",
            f"{row.hit_ratio:.0%}",
            f"{row.origin_requests:,}",
            f"{row.origin_bytes / MB:,.0f}",
            f"{row.wrong}",
        )
    console.print(table)
    if rows and rows[0].name.startswith("straight"):
        console.print(saved(rows[0], rows[1:]))


def saved(direct: Row, epochs: Sequence[Row]) -> str:
    """What as many passes straight from the origin would have cost, against what these did."""
    count = len(epochs)
    size = direct.origin_bytes * count - sum(row.origin_bytes for row in epochs)
    requests = direct.origin_requests * count - sum(row.origin_requests for row in epochs)
    seconds = direct.seconds * count - sum(row.seconds for row in epochs)
    return f"Saved over {count} epochs: {size / MB:,.0f} MB and {requests:,} requests of the origin, {seconds:,.0f} s of waiting."
