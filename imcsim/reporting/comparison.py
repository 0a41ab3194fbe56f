"""Hold a comparison: its rows, their ratios to the better of both kinds of reprogramming, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.reporting.closed_form import ClosedForm
from imcsim.util.config import canonical_hash
from imcsim.util.files import run_directory
from imcsim.util.version import VERSION

if TYPE_CHECKING:
    from pandas import DataFrame

BASELINES = ("reprogram", "reprogram_packed")


@dataclass(frozen=True)
class Row:
    """Describe one scheme with one write preset and batch; figures are None where the scheme cannot run the network.

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
    line: ClosedForm | None = None  # None where writes overlap compute, so that no such identity holds
    baseline: str = ""  # the better of both kinds of reprogramming at this batch
    cycles_ratio: float | None = None
    edp_latency_ratio: float | None = None
    edp_throughput_ratio: float | None = None

    @property
    def excess_frac(self) -> float:
        """Return simulated over closed-form cycles, less one; 0 where the scheme cannot run."""
        return (_ratio(self.cycles_per_inference, self.closed_form_cycles) or 1.0) - 1


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their ratios to the better of both kinds of reprogramming."""
    best: dict[tuple[str, int], Row] = {}
    for row in rows:
        if row.scheme in BASELINES:
            other = best.get((row.write, row.batch), row)
            best[row.write, row.batch] = min(other, row, key=cycles)
    return [_against(row, best[row.write, row.batch]) for row in rows]


def cycles(row: Row) -> float:
    """Return the cycles per inference of a row that could be run."""
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


@dataclass(frozen=True)
class Crossover:
    """Name the batch from which the baseline is faster than a scheme; None where there is none, and why in words."""

    write: str
    scheme: str
    analytic_batch: float | None
    analytic: str
    simulated_batch: float | None
    simulated: str


SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Comparison:
    """Hold rows and crossovers of a comparison; ``frame`` and ``crossover_frame`` are DataFrames.

    Cycles and energies are per inference; ratios are to the baseline of the same write preset and batch.
    """

    workload: str
    hardware: str
    settings: Mapping[str, Any]  # all that decides the result, beside workload and hardware
    rows: tuple[Row, ...]
    crossovers: tuple[Crossover, ...]

    @cached_property
    def frame(self) -> DataFrame:
        """Return one row per write preset, batch and scheme."""
        from pandas import DataFrame

        names = [field.name for field in fields(Row) if field.name != "line"]
        return DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names)

    @cached_property
    def crossover_frame(self) -> DataFrame:
        """Return the batch from which the baseline is faster, per write preset and scheme."""
        from pandas import DataFrame

        return DataFrame([asdict(crossover) for crossover in self.crossovers])

    def to_dict(self) -> dict[str, Any]:
        """Return the content of compare.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "imcsim_version": VERSION,
            "workload": self.workload,
            "hardware": self.hardware,
            **self.settings,
            "rows": [asdict(row) for row in self.rows],
            "crossovers": [asdict(crossover) for crossover in self.crossovers],
        }

    @property
    def _crossings(self) -> dict[str, list[tuple[str, float]]]:
        """Return by write preset the (scheme, batch) that are stated, so that figure and table agree."""
        writes = dict.fromkeys(row.write for row in self.rows)
        simulated = [(c.write, c.scheme, c.simulated_batch) for c in self.crossovers]
        return {write: [(scheme, batch) for w, scheme, batch in simulated if w == write and batch] for write in writes}

    @property
    def waits(self) -> list[str]:
        """Return a sentence for every row that took more than 1 % longer than its closed form."""
        return [
            f"{row.write}, batch {row.batch}, {row.scheme}: {100 * row.excess_frac:.1f} % above the closed form; "
            f"{row.waited_for}"
            for row in self.rows
            if row.waited_for
        ]

    @property
    def name(self) -> str:
        """Return the name of its directory: workload, hardware and a hash of all that matters."""
        content = [self.workload, self.hardware, dict(self.settings), VERSION]
        return f"compare-{self.workload}-{self.hardware}-{canonical_hash(content)}"

    def write(self, out_dir: str | Path) -> Path:
        """Write compare.json, compare.csv, crossovers.csv and the figures, whole or not at all.

        Parameters
        ----------
        out_dir : str or Path
            Where the directory is made; its name is ``name``.

        Returns
        -------
        Path
            The directory.

        Raises
        ------
        ImcsimError
            Where it cannot be written.
        """
        from imcsim.reporting.figures import comparison as figures

        with run_directory(Path(out_dir), self.name) as folder:
            text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
            (folder / "compare.json").write_text(text, encoding="utf-8")
            self.frame.to_csv(folder / "compare.csv", index=False)
            self.crossover_frame.to_csv(folder / "crossovers.csv", index=False)
            figures.cycles_against_batch(self.frame, folder, f"{self.workload} on {self.hardware}", self._crossings)
        return Path(out_dir) / self.name
