"""Show a study on the terminal."""

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


def view(study: Study) -> RenderableType:
    """Return accuracies, ages of the widest network, claims, cost of a step."""
    step = study.step
    cost = (
        f"a step of {step.options.batch} images on {study.spec.chip_name}: {si(step.step_s, 's')}, "
        f"{si(step.energy_pj / PJ_PER_J, 'J')}"
    )
    return Group(_accuracies(study), *_ages(study), _claims(study), Text(cost))


def _table(title: str, heads: Row, rows: Iterable[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="dim")
    for number, head in enumerate(heads):
        table.add_column(str(head), justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _accuracies(study: Study) -> Table:
    title = f"HIC-style training: {study.spec.network_name} on {study.data_name}"
    return _table(title, ACCURACY_HEADS, accuracy_rows(study.tables["runs"]))


def _ages(study: Study) -> list[Table]:
    ageing = study.tables["ageing"]
    if not len(ageing):
        return []
    widest = ageing[ageing["width"] == ageing["width"].max()]
    title = f"Test accuracy % over time, width {widest['width'].iloc[0]:g}"
    return [_table(title, age_heads(widest), age_rows(widest))]


def _claims(study: Study) -> Table:
    table = Table(
        title="The six claims of HIC's abstract", title_justify="left", box=box.SIMPLE_HEAD, header_style="dim"
    )
    for head in ("claim", "verdict", "evidence"):
        table.add_column(head, overflow="fold")
    for claim in study.claims:
        table.add_row(claim.text, Text(claim.verdict, style=VERDICT_STYLES[claim.verdict]), claim.evidence)
    return table
