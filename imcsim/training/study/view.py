"""A study for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imcsim.training.study.text import ACCURACY_HEADS, Row, accuracy_rows, age_heads, age_rows
from imcsim.util.units import PJ_PER_J, si

if TYPE_CHECKING:
    from imcsim.training.study.result import Study

VERDICT_STYLES = {"holds": "green", "does not hold": "red", "depends": "yellow", "not tested": "dim"}


def view(found: Study) -> RenderableType:
    """Accuracies, ages of the widest network, claims, cost of a step."""
    step = found.step
    cost = (
        f"a step of {step.options.batch} images on {found.request.chip_name}: {si(step.step_s, 's')}, "
        f"{si(step.energy_pj / PJ_PER_J, 'J')}"
    )
    return Group(_accuracies(found), *_ages(found), _claims(found), Text(cost))


def _table(title: str, heads: Row, rows: Iterable[Row]) -> Table:
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="dim")
    for number, head in enumerate(heads):
        made.add_column(str(head), justify="right" if number else "left")
    for row in rows:
        made.add_row(*map(str, row))
    return made


def _accuracies(found: Study) -> Table:
    title = f"HIC-style training: {found.request.network_name} on {found.data_name}"
    return _table(title, ACCURACY_HEADS, accuracy_rows(found.tables["runs"]))


def _ages(found: Study) -> list[Table]:
    ageing = found.tables["ageing"]
    if not len(ageing):
        return []
    widest = ageing[ageing["width"] == ageing["width"].max()]
    title = f"Test accuracy % over time, width {widest['width'].iloc[0]:g}"
    return [_table(title, age_heads(widest), age_rows(widest))]


def _claims(found: Study) -> Table:
    made = Table(
        title="The six claims of HIC's abstract", title_justify="left", box=box.SIMPLE_HEAD, header_style="dim"
    )
    for head in ("claim", "verdict", "evidence"):
        made.add_column(head, overflow="fold")
    for claim in found.claims:
        made.add_row(claim.text, Text(claim.verdict, style=VERDICT_STYLES[claim.verdict]), claim.evidence)
    return made
