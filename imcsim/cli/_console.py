"""Where tables are printed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

FILE_COLUMNS = 120  # width of tables where standard output is no terminal


def console() -> Console:
    """Standard output, as wide as the terminal where it is one."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else FILE_COLUMNS)
