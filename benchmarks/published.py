"""Print the figures of papers beside ours for every preset that has some; exit with 1 where one is out of tolerance."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from imcsim.hardware.hardware import load_hardware
from imcsim.reporting.explain.hardware import published
from imcsim.util.presets import shipped_files

COLUMNS = ("preset", "name", "figure", "ours", "published", "deviation", "tolerance", "within", "source")


def main() -> int:
    """0 where every figure lies within its tolerance, else 1."""
    table, missed = Table(*COLUMNS, title="Published figures"), 0
    for preset in shipped_files("hwconfigs"):
        for name, figure, ours, theirs, deviation, tolerance, ok, source in published(load_hardware(preset)).to_numpy():
            missed += not ok
            numbers = f"{ours:.6g}", f"{theirs:g}", f"{100 * deviation:+.3f} %", f"{100 * tolerance:g} %"
            table.add_row(preset, name, figure, *numbers, "yes" if ok else "NO", source)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
