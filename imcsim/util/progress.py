"""Show progress bars on standard error for anything that takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int, str], None]
"""Called with what is done, the total and the step that comes next."""

QUIET_S = 1.0  # nothing is shown before


def silent(done: int, total: int, step: str) -> None:
    """Show nothing."""


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """Open a progress bar that appears after a second on a terminal, and goes when the work is done."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    step = TextColumn("{task.description}")
    columns = (TextColumn(title), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), step)
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    task, begin = bars.add_task("", total=None), time.monotonic()

    def show(done: int, total: int, step: str) -> None:
        bars.update(task, completed=done, total=total, description=step)
        if time.monotonic() - begin > QUIET_S and not bars.live.is_started:
            bars.start()

    try:
        yield show
    finally:
        bars.stop()
