"""Format tables, bars and numbers as every view of the terminal shows them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from imcsim.util.units import NS_PER_S, PJ_PER_J, si

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table


def frame_table(title: str, frame: DataFrame) -> Table:
    """Return a frame as a table for the terminal; what is no number is a dash."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for column, kind in zip(frame.columns, frame.dtypes, strict=True):
        shown.add_column(column, justify="right" if kind.kind in "fiu" else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        shown.add_row(*(_cell(cell) for cell in row))
    return shown


def _cell(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return "-" if math.isnan(cell) else f"{cell:.6g}"


BAR_WIDTH = 18


EDP_UNIT = PJ_PER_J * NS_PER_S  # pJ ns in a J s


def titled_table(title: str) -> Table:
    """Return an empty table with a title, in the look of all tables."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1),
                 header_style="dim", caption_justify="left", border_style="dim")  # fmt: skip


def side_by_side(left: Table, right: Table) -> Table:
    """Return two tables beside each other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row(left, right)
    return grid


def section(title: str, text: str) -> RenderableType:
    """Return a text below its title."""
    return Group(Padding(Text(title, style="bold"), (1, 0, 0, 0)), Padding(Text(text), (0, 0, 0, 1)))


def share_bar(percent: float, style: str) -> Text:
    """Return a bar as long as a share in per cent, at least one block."""
    return Text("█" * max(1, round(BAR_WIDTH // 2 * percent / 100)), style=style)


def second(time_ns: float) -> str:
    """Write a time in ns with an SI prefix of the second."""
    return si(time_ns / NS_PER_S, "s")


def joule(energy_pj: float, digits: int = 4) -> str:
    """Write an energy in pJ with an SI prefix of the joule."""
    return si(energy_pj / PJ_PER_J, "J", digits)


def energy_delay(edp_pj_ns: float) -> str:
    """Write an energy-delay product in pJ ns with an SI prefix of J s."""
    return si(edp_pj_ns / EDP_UNIT, "J s")


def count(value: float) -> str:
    """Write a number in full below 10,000, else with an SI prefix."""
    return f"{value:,.0f}" if 0 < abs(value) < 10_000 else si(value, "", 3).rstrip()
