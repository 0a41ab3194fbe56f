"""A study for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imcsim.train_study.text import mean_and_deviation
from imcsim.training.ageing import FIXES
from imcsim.training.figures import AGE_NAMES, BITS_PER_KB
from imcsim.units import PJ_PER_J, si

if TYPE_CHECKING:
    from imcsim.train_study.study import Study

VERDICT_STYLES = {"holds": "green", "does not hold": "red", "depends": "yellow", "not tested": "dim"}


def view(found: Study) -> RenderableType:
    """Accuracies, ages of the widest network, claims, cost of a step."""
    step = found.step
    cost = (
        f"a step of {step.options.batch} images on {step.hardware.name}: {si(step.step_s, 's')}, "
        f"{si(step.energy_pj / PJ_PER_J, 'J')}"
    )
    return Group(_accuracies(found), *_ages(found), _claims(found), Text(cost))


def _table(title: str, *heads: str) -> Table:
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="dim")
    for number, head in enumerate(heads):
        made.add_column(head, justify="right" if number else "left")
    return made


def _accuracies(found: Study) -> Table:
    title = f"HIC-style training: {found.request.network_name} on {found.data_name}"
    made = _table(title, "weights", "width", "KB for inference", "rate", "test accuracy %", "carries per weight")
    for (kind, width), part in found.tables["runs"].groupby(["weights", "width"]):
        carries = f"{part['carries_per_weight'].mean():.2f}" if kind == "hybrid" else ""
        size = f"{part['bits'].iloc[0] / BITS_PER_KB:,.1f}"
        accuracy = mean_and_deviation(part["accuracy_frac"])
        made.add_row(str(kind), f"{width:g}", size, f"{part['rate'].iloc[0]:g}", accuracy, carries)
    return made


def _ages(found: Study) -> list[Table]:
    ageing = found.tables["ageing"]
    if not len(ageing):
        return []
    widest = ageing[ageing["width"] == ageing["width"].max()]
    times = sorted(widest["age_s"].unique())
    title = f"Test accuracy % over time, width {widest['width'].iloc[0]:g}"
    made = _table(title, "drift", "repair", *(AGE_NAMES.get(age, f"{age:g} s") for age in times))
    for model in dict.fromkeys(widest["model"]):
        for fix in (fix for fix in FIXES if fix in set(widest["fix"])):
            own = widest[(widest["model"] == model) & (widest["fix"] == fix)]
            values = [f"{100 * own[own['age_s'] == age]['accuracy_frac'].mean():.1f}" for age in times]
            made.add_row(model, fix, *values)
    return [made]


def _claims(found: Study) -> Table:
    made = Table(
        title="The six claims of HIC's abstract", title_justify="left", box=box.SIMPLE_HEAD, header_style="dim"
    )
    for head in ("claim", "verdict", "evidence"):
        made.add_column(head, overflow="fold")
    for claim in found.claims:
        made.add_row(claim.text, Text(claim.verdict, style=VERDICT_STYLES[claim.verdict]), claim.evidence)
    return made
