"""The table at the end: what each way of reading gave, and what it asked of the origin."""

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
    hits: int
    misses: int
    origin_requests: int
    origin_bytes: int
    wrong: int


def show(console: Console, rows: list[Row]) -> None:
    table = Table(title="Three shuffled epochs, every byte verified", title_justify="left")
    for name in ("", "MB/s", "files/s", "hit ratio", "origin requests", "origin MB", "wrong files"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.bytes / MB / row.seconds:,.0f}",
            f"{row.files / row.seconds:,.0f}",
            _ratio(row),
            f"{row.origin_requests:,}",
            f"{row.origin_bytes / MB:,.0f}",
            f"{row.wrong}",
        )
    console.print(table)
    console.print(saved(rows))


def saved(rows: list[Row]) -> str:
    """One sentence: what three epochs straight from the origin would have cost, against what they did."""
    direct, epochs = rows[0], rows[1:]
    asked = sum(row.origin_bytes for row in epochs)
    avoided = direct.bytes * len(epochs) - asked
    seconds = direct.seconds * len(epochs) - sum(row.seconds for row in epochs)
    return (
        f"Saved over {len(epochs)} epochs: {avoided / MB:,.0f} MB and "
        f"{direct.origin_requests * len(epochs) - sum(r.origin_requests for r in epochs):,} requests not asked of the origin,"
        f" {seconds:,.0f} s of waiting."
    )


def _ratio(row: Row) -> str:
    """Hits among what reached the cache; a read that the page cache answered never does."""
    asked = row.hits + row.misses
    return f"{row.hits / asked:.0%}" if asked else "-"
