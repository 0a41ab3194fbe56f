"""The rows of a comparison, and their ratios to the better of both kinds of reprogramming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imcsim.comparison.closed_form import Line

BASELINES = ("reprogram", "reprogram_packed")


@dataclass(frozen=True)
class Row:
    """One scheme with one write preset and batch; figures are None where the scheme cannot run the network.

    Accuracies are None also where no images were given.

    ``closed_form_cycles``: what crossbars, ADCs, write drivers and digital units need, phase by phase, when nothing
    waits for anything else. ``waited_for``: what else held the run, where it took more than 1 % longer.
    """

    write: str
    batch: int
    scheme: str
    refused: str = ""
    missing_crossbars: int = 0
    cycles_per_inference: float | None = None
    closed_form_cycles: float | None = None
    waited_for: str = ""
    latency_ns: float | None = None
    interval_ns: float | None = None
    energy_pj: float | None = None
    edp_latency_pj_ns: float | None = None
    edp_throughput_pj_ns: float | None = None
    area_um2: float | None = None
    crossbars_used: int | None = None
    lifetime_inferences: float | None = None
    accuracy_frac: float | None = None
    accuracy_interval_95_frac: Sequence[float] | None = None
    agreement_frac: float | None = None
    line: Line | None = None  # None where writes overlap compute, so that no such identity holds
    baseline: str = ""  # the better of both kinds of reprogramming at this batch
    cycles_ratio: float | None = None
    edp_latency_ratio: float | None = None
    edp_throughput_ratio: float | None = None

    @property
    def excess_frac(self) -> float:
        """Simulated over closed-form cycles, less one; 0 where the scheme cannot run."""
        return (_ratio(self.cycles_per_inference, self.closed_form_cycles) or 1.0) - 1


def related(rows: Sequence[Row]) -> list[Row]:
    """The rows with their ratios to the better of both kinds of reprogramming."""
    best: dict[tuple[str, int], Row] = {}
    for row in rows:
        if row.scheme in BASELINES:
            other = best.get((row.write, row.batch), row)
            best[row.write, row.batch] = min(other, row, key=cycles)
    return [_against(row, best[row.write, row.batch]) for row in rows]


def cycles(row: Row) -> float:
    assert row.cycles_per_inference is not None
    return row.cycles_per_inference


def _against(row: Row, base: Row) -> Row:
    return replace(
        row,
        baseline=base.scheme,
        cycles_ratio=_ratio(row.cycles_per_inference, base.cycles_per_inference),
        edp_latency_ratio=_ratio(row.edp_latency_pj_ns, base.edp_latency_pj_ns),
        edp_throughput_ratio=_ratio(row.edp_throughput_pj_ns, base.edp_throughput_pj_ns),
    )


def _ratio(mine: float | None, base: float | None) -> float | None:
    return mine / base if mine is not None and base else None
