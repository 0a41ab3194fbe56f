"""Say what a run means: amounts times prices, where the time went, and one directory of files per run.

Every key and column is described in ``docs/report.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware
from imcsim.reporting import tables
from imcsim.reporting.headline import headline
from imcsim.reporting.resolved import as_plain, resolved_yaml
from imcsim.timing.execution import Execution
from imcsim.util.config import canonical_hash
from imcsim.util.files import run_directory
from imcsim.util.version import VERSION

if TYPE_CHECKING:
    from pandas import DataFrame

    from imcsim.functional.evaluate import EvaluationResult
    from imcsim.reporting.run_spec import RunSpec

__all__ = ["SCHEMA_VERSION", "Report", "build_report", "run_directory"]

SCHEMA_VERSION = 1
NO_VALUES: Mapping[str, Any] = {"kind": "none"}


def build_report(
    execution: Execution, costs: CostTable, spec: RunSpec, measured: EvaluationResult | Literal["nothing"] = "nothing"
) -> Report:
    """Build the report of a finished run from ``measured``, what images showed.

    Raises ImcsimError for an action that has no price.
    """
    for _, component, action in {**execution.amounts(), **execution.setup_amounts()}:
        costs.price_pj(component, action)
    return Report(execution, costs, spec, measured)


@dataclass(frozen=True)
class Report:
    """Hold a finished run with prices: ``summary`` holds the headline figures, the tables are DataFrames.

    Times are of the whole batch, energies and conversions per inference, unless the name says otherwise.
    """

    execution: Execution
    costs: CostTable
    spec: RunSpec
    measured: EvaluationResult | Literal["nothing"]

    @property
    def values(self) -> Mapping[str, Any]:
        """Return what the network answered; the entry of report.json."""
        return NO_VALUES if isinstance(self.measured, str) else self.measured.entry

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return the content of report.json."""
        figures = headline(
            self.execution, self.costs, self.spec, self.values, self.energy, self.resources, self.critical_path
        )
        content = {"schema_version": SCHEMA_VERSION, "imcsim_version": VERSION, "run_id": self.run_id, **figures}
        return as_plain(content)  # type: ignore[no-any-return]

    @cached_property
    def layers(self) -> DataFrame:
        """Return per layer: cycles, utilisation, energy, conversions, writes, waiting, signal to noise."""
        answers = self.values.get("layers", ())
        return tables.layers(self.execution, self.costs, self._stages, self._operations, answers)

    @cached_property
    def energy(self) -> DataFrame:
        """Return per (component, action): amount and energy of one inference, price in pJ and its source."""
        return tables.energy(self.execution, self.costs)

    @cached_property
    def resources(self) -> DataFrame:
        """Return per limited resource: busy, idle, queued, starved and blocked cycles of the batch."""
        return tables.resources(self.execution, self._stages, self._operations)

    @cached_property
    def critical_path(self) -> DataFrame:
        """Return per stage of an operation the time in which it held the makespan, in ns and per cent."""
        return tables.critical_path(self.execution, self._stages)

    @cached_property
    def run_id(self) -> str:
        """Return a hash of everything that decides the result."""
        spec = self.spec
        return canonical_hash(
            {
                "version": VERSION,
                "workload": spec.workload.model_dump(mode="json"),
                "hardware": spec.hardware.hash,
                "prices": self.costs.frame().to_dict("list"),
                "leakage_uw": self.costs.leakage_uw,
                "scheme": [spec.scheme_key, dict(spec.options)],
                "batch": spec.batch,
                "seed": [spec.seed, spec.sampled_writes],
                "engine": spec.engine,
                "values": self.values,
            }
        )

    @cached_property
    def _stages(self) -> DataFrame:
        return tables.stages(self.execution)

    @cached_property
    def _operations(self) -> DataFrame:
        return tables.operations(self.execution)

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of ``summary`` that may be changed."""
        return json.loads(json.dumps(self.summary))  # type: ignore[no-any-return]

    def reprice(self, costs: CostTable, hardware: Hardware | None = None) -> Report:
        """Return the same run at other prices, without simulating.

        It equals a new run where only prices, areas and powers differ.

        Parameters
        ----------
        costs : CostTable
            Energies in pJ, areas in um2, powers in uW.
        hardware : Hardware, optional
            The one that the prices belong to.

        Returns
        -------
        Report
            With times as they were.

        Raises
        ------
        ImcsimError
            For an action without a price.
        """
        spec = replace(self.spec, hardware=hardware) if hardware else self.spec
        execution = replace(self.execution, hardware=hardware) if hardware else self.execution
        return build_report(execution, costs, spec, self.measured)

    def write(self, out_dir: str | Path) -> Path:
        """Write the run's directory, whole or not at all; an older one of the same run is replaced.

        Parameters
        ----------
        out_dir : str or Path
            Where the directory is made; its name is ``run_id``.

        Returns
        -------
        Path
            The directory.

        Raises
        ------
        ImcsimError
            Where it cannot be written.
        """
        with run_directory(Path(out_dir), self.run_id) as folder:
            _write_files(self, folder)
        return Path(out_dir) / self.run_id


def _write_files(report: Report, folder: Path) -> None:
    from imcsim.reporting.perfetto.chrome_trace import write_trace

    text = json.dumps(report.summary, indent=2, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    report.layers.to_parquet(folder / "layers.parquet", index=False)
    for name in ("layers", "energy", "resources", "critical_path"):
        getattr(report, name).to_csv(folder / f"{name}.csv", index=False)
    (folder / "config.resolved.yaml").write_text(resolved_yaml(report.run_id, report.spec), encoding="utf-8")
    write_trace(report.execution, report.costs, folder / "trace.json.gz")
    if not isinstance(report.measured, str):
        from imcsim.reporting.figures.values import draw_values

        draw_values(report.measured, folder)
