"""What a person sees while the demo works: a bar for all that takes its time, which stays and says how long it took."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

TEXT = "{task.description:<40}"


@contextlib.contextmanager
def moving(console: Console, text: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of bytes; gives the function that moves it."""
    with _progress(console, DownloadColumn()) as progress:
        task = progress.add_task(text, total=total)
        yield lambda size: progress.update(task, advance=size)


@contextlib.contextmanager
def reading(console: Console, text: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes read, and below it one of bytes verified afterwards; gives the function that moves both."""
    with _progress(console, DownloadColumn()) as progress:
        read = progress.add_task(text, total=total)
        judged = progress.add_task("  verifying every byte", total=total, start=False, visible=False)

        def tell(size: int, verified: int) -> None:
            progress.update(read, advance=size)
            if verified:
                progress.start_task(judged)
                progress.update(judged, advance=verified, visible=True)

        yield tell


@contextlib.contextmanager
def waiting(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """A bar for what has no measure; gives the function that says what is waited for."""
    with _progress(console) as progress:
        task = progress.add_task(text, total=None)
        yield lambda said: progress.update(task, description=said)
        progress.update(task, total=1, completed=1)


def _progress(console: Console, *measures: ProgressColumn) -> Progress:
    columns = (SpinnerColumn(finished_text="✓"), TextColumn(TEXT), BarColumn(bar_width=10), *measures)
    return Progress(*columns, TimeElapsedColumn(), console=console)
