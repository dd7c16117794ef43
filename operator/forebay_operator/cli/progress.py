"""What a person sees while something takes its time: a line that changes on a terminal, nothing elsewhere; bars for bytes.

Progress goes to standard error, so that output can be piped.
"""

from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.status import Status


class Line:
    """One line with a spinner."""

    def __init__(self, out: IO[str]) -> None:
        console = Console(file=out)
        self._status = Status("", console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def show(self, text: str) -> None:
        if self._status:
            self._status.update(text)


def bytes_bar(out: IO[str]) -> Progress:
    """Bars for downloads; hidden where nobody looks."""
    console = Console(file=out)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
