"""Say in sentences what a run took for granted and what its reader should know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imcsim.timing.execution import Execution

COUNTED_CELL_BY_CELL = "scheme.unchanged_frac"  # no assumption where a run has values, for then each cell is compared


def assumptions(execution: Execution, values: Mapping[str, Any]) -> list[str]:
    """Return what nobody published: numbers of the hardware, then what the scheme took for granted.

    ``values``: the entry of report.json; where it is measured, what was counted cell by cell is no assumption.
    """
    by_scheme = execution.plan.assumed
    if values["kind"] == "measured":
        by_scheme = tuple(sentence for sentence in by_scheme if not sentence.startswith(COUNTED_CELL_BY_CELL))
    return [*execution.hardware.assumed(), *by_scheme]


def notes(execution: Execution) -> list[str]:
    """Return the notes of the plan, and what did not fit, was not simulated or missed its target."""
    sentences, batch, in_flight = list(execution.plan.notes), execution.batch, execution.plan.in_flight
    if execution.spilled:
        sentences.append(f"outputs that do not fit the buffers go through DRAM: {', '.join(execution.spilled)}")
    if execution.overfull:
        names = ", ".join(execution.overfull)
        sentences.append(f"line buffers granted although larger than their share of the SRAM: {names}")
    simulated = min((result.n_simulated for result in execution.results), default=batch)
    if simulated < batch:
        sentences.append(f"{simulated} of {batch} images were simulated; the others repeat their pattern exactly")
    if in_flight != "all" and in_flight < batch:
        sentences.append(f"images enter in groups of {in_flight}, each when the one before has left the chip")
    failed = sum(work.failed for _, work in execution.batch_work)
    if failed:
        sentences.append(f"{failed:,.0f} of the cells written for one batch stay outside their target")
    return sentences
