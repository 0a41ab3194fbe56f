"""What a run means: amounts times prices, where the time went, and one directory of files per run.

Every key and column is described in ``docs/report.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware
from imcsim.reporting import tables
from imcsim.timing.execution import Execution
from imcsim.util import units
from imcsim.util.config import canonical_hash
from imcsim.util.files import run_directory
from imcsim.util.version import VERSION
from imcsim.workload.workload import Unknown

if TYPE_CHECKING:
    from pandas import DataFrame

    from imcsim.functional.evaluate import EvaluationResult
    from imcsim.reporting.run_spec import RunSpec

__all__ = ["SCHEMA_VERSION", "Report", "build_report", "run_directory"]

SCHEMA_VERSION = 1
NO_VALUES: Mapping[str, Any] = {"kind": "none"}


def build_report(
    trace: Execution, costs: CostTable, request: RunSpec, measured: EvaluationResult | Literal["nothing"] = "nothing"
) -> Report:
    """The report of a finished run, and what ``values.measure`` found. ImcsimError for an action that has no price."""
    for _, component, action in {**trace.amounts(), **trace.setup_amounts()}:
        costs.price_pj(component, action)
    return Report(trace, costs, request, measured)


@dataclass(frozen=True)
class Report:
    """A finished run with prices: ``summary`` holds the headline figures, the tables are DataFrames.

    Times are of the whole batch, energies and conversions per inference, unless the name says otherwise.
    """

    trace: Execution
    costs: CostTable
    request: RunSpec
    measured: EvaluationResult | Literal["nothing"]

    @property
    def values(self) -> Mapping[str, Any]:
        """What the network answered; the entry of report.json."""
        return NO_VALUES if isinstance(self.measured, str) else self.measured.entry

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of report.json."""
        return json.loads(json.dumps(_summary(self), default=_plain, allow_nan=False))  # type: ignore[no-any-return]

    @cached_property
    def layers(self) -> DataFrame:
        """Per layer: cycles, utilisation, energy, conversions, writes, waiting, signal to noise."""
        answers = self.values.get("layers", ())
        return tables.layers(self.trace, self.costs, self._stages, self._operations, answers)

    @cached_property
    def energy(self) -> DataFrame:
        """Per (component, action): amount and energy of one inference, price in pJ and its source."""
        return tables.energy(self.trace, self.costs)

    @cached_property
    def resources(self) -> DataFrame:
        """Per limited resource: busy, idle, queued, starved and blocked cycles of the batch."""
        return tables.resources(self.trace, self._stages, self._operations)

    @cached_property
    def critical_path(self) -> DataFrame:
        """Per stage of an operation: the time in which it held the makespan, in ns and per cent."""
        return tables.critical_path(self.trace, self._stages)

    @cached_property
    def run_id(self) -> str:
        """A hash of everything that decides the result."""
        request = self.request
        return canonical_hash({
            "version": VERSION,
            "workload": request.workload.model_dump(mode="json"),
            "hardware": request.hardware.hash,
            "prices": self.costs.frame().to_dict("list"),
            "leakage_uw": self.costs.leakage_uw,
            "scheme": [request.scheme, dict(request.options)],
            "batch": request.batch,
            "seed": [request.seed, request.sampled_writes],
            "engine": request.engine,
            "values": self.values,
        })  # fmt: skip

    @cached_property
    def _stages(self) -> DataFrame:
        return tables.stages(self.trace)

    @cached_property
    def _operations(self) -> DataFrame:
        return tables.operations(self.trace)

    def to_dict(self) -> dict[str, Any]:
        """A copy of ``summary`` that may be changed."""
        return json.loads(json.dumps(self.summary))  # type: ignore[no-any-return]

    def reprice(self, costs: CostTable, hardware: Hardware | None = None) -> Report:
        """The same run at other prices, without simulating; ``hardware`` is the one that the prices belong to.

        Equals a new run where only prices, areas and powers differ. Raises ImcsimError for an action without a price.
        """
        request = replace(self.request, hardware=hardware) if hardware else self.request
        trace = replace(self.trace, hardware=hardware) if hardware else self.trace
        return build_report(trace, costs, request, self.measured)

    def write(self, out_dir: str | Path) -> Path:
        """Write the run's directory, ``out_dir/run_id``, whole or not at all, and return its path.

        An older directory of the same run is replaced. Raises ImcsimError where it cannot be written.
        """
        with run_directory(Path(out_dir), self.run_id) as folder:
            _write_files(self, folder)
        return Path(out_dir) / self.run_id


# -- headline figures --------------------------------------------------------------------------------------------------


def _summary(report: Report) -> dict[str, Any]:
    trace, request, hardware = report.trace, report.request, report.trace.hardware
    return {
        "schema_version": SCHEMA_VERSION,
        "imcsim_version": VERSION,
        "run_id": report.run_id,
        "workload": request.workload.name,
        "hardware": hardware.name,
        "write": hardware.cell.write.name,
        "scheme": request.scheme,
        "options": dict(request.options),
        "batch": trace.batch,
        "seed": request.seed,
        "sampled_writes": request.sampled_writes,
        "engine": request.engine,
        "values": report.values,
        **_time_and_energy(report),
        "area_um2": report.costs.area_um2,
        "crossbars_used": trace.plan.crossbars_used,
        "crossbars_needed": trace.plan.crossbars_needed,
        "crossbars_available": hardware.n_crossbars,
        **_counts(trace),
        "lifetime_inferences": _lifetime(report),
        "setup": _setup(report),
        "bottleneck": tables.bottleneck(report.critical_path),
        "critical_percent_by_kind": tables.percent_by_kind(report.critical_path),
        "waiting_ns": tables.waiting_ns(report.resources, hardware.period_ps),
        "facts": trace.plan.facts,
        "spilled": list(trace.spilled),
        "overfull": list(trace.overfull),
        "unknown_layers": [layer.name for layer in request.workload.layers if isinstance(layer, Unknown)],
        "assumed": [*hardware.assumed(), *_assumed(report)],
        "notes": _notes(trace),
    }


def _assumed(report: Report) -> list[str]:
    """What the scheme took for granted, without what was counted cell by cell."""
    counted = "scheme.unchanged_frac" if report.values["kind"] == "measured" else "nothing"
    return [sentence for sentence in report.trace.plan.assumed if not sentence.startswith(counted)]


def _time_and_energy(report: Report) -> dict[str, Any]:
    trace, energy = report.trace, report.energy
    energy_pj = float(energy["energy_pj"].sum())
    latency_ns, share_ns = trace.latency_ps / units.PS_PER_NS, trace.makespan_ps / units.PS_PER_NS / trace.batch
    by_component = energy.groupby("component", sort=False)["energy_pj"].sum()
    return {
        "cycles_per_inference": trace.makespan_ps / trace.hardware.period_ps / trace.batch,
        "latency_ns": latency_ns,
        "interval_ns": trace.interval_ps / units.PS_PER_NS,
        "makespan_ns": trace.makespan_ps / units.PS_PER_NS,
        "energy_pj": energy_pj,
        "energy_by_component_pj": {str(name): float(value) for name, value in by_component.items()},
        "edp_latency_pj_ns": energy_pj * latency_ns,
        "edp_throughput_pj_ns": energy_pj * share_ns,
    }


def _counts(trace: Execution) -> dict[str, float]:
    works = [work for _, work in trace.batch_work]
    totals: dict[tuple[str, str], float] = {}
    for (_, component, action), amount in trace.amounts().items():
        totals[component, action] = totals.get((component, action), 0.0) + amount
    return {
        "cells_written": float(sum(work.cells for work in works)),
        "write_pulses": float(sum(work.pulses for work in works)),
        "verify_reads": totals.get(("cell", "verify"), 0.0),
        "cells_failed": float(sum(work.failed for work in works)),
        "adc_conversions": totals.get(("adc", "convert"), 0.0) / trace.batch,
        "macs": trace.workload.n_macs,
    }


def _lifetime(report: Report) -> dict[str, Any]:
    """Endurance over the writes of what is written most often: a cell where cells were counted, else a crossbar."""
    trace = report.trace
    if report.values["kind"] == "measured":
        most, crossbar = (report.values["writes"][key] for key in ("most_programmings_per_batch", "crossbar"))
    else:
        writes = trace.plan.writes_by_crossbar
        crossbar = min(writes, key=lambda number: (-writes[number], number), default=0)
        most = writes.get(crossbar, 0)
    if not most:
        return {"kind": "unlimited"}
    inferences = trace.hardware.cell.write.endurance_writes * trace.batch / most
    return {"kind": "limited", "inferences": inferences, "writes_per_batch": most, "crossbar": crossbar}


def _setup(report: Report) -> dict[str, float]:
    """What is written once, before time 0."""
    trace = report.trace
    return {
        "time_ns": trace.setup_ps / units.PS_PER_NS,
        "energy_pj": tables.energy_of(trace.setup_amounts(), report.costs),
        "cells_written": sum(trace.work(operation).cells for operation in trace.plan.setup),
    }


def _notes(trace: Execution) -> list[str]:
    notes = list(trace.plan.notes)
    if trace.spilled:
        notes.append(f"outputs that do not fit the buffers go through DRAM: {', '.join(trace.spilled)}")
    if trace.overfull:
        notes.append(f"line buffers granted although larger than their share of the SRAM: {', '.join(trace.overfull)}")
    simulated = min((result.n_simulated for result in trace.results), default=trace.batch)
    if simulated < trace.batch:
        notes.append(f"{simulated} of {trace.batch} images were simulated; the others repeat their pattern exactly")
    if trace.plan.in_flight != "all" and trace.plan.in_flight < trace.batch:
        notes.append(f"images enter in groups of {trace.plan.in_flight}, each when the one before has left the chip")
    failed = sum(work.failed for _, work in trace.batch_work)
    if failed:
        notes.append(f"{failed:,.0f} of the cells written for one batch stay outside their target")
    return notes


# -- files -------------------------------------------------------------------------------------------------------------


def _write_files(report: Report, folder: Path) -> None:
    from imcsim.reporting.perfetto.chrome_trace import write_trace

    text = json.dumps(report.summary, indent=2, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    report.layers.to_parquet(folder / "layers.parquet", index=False)
    for name in ("layers", "energy", "resources", "critical_path"):
        getattr(report, name).to_csv(folder / f"{name}.csv", index=False)
    (folder / "config.resolved.yaml").write_text(_resolved(report), encoding="utf-8")
    write_trace(report.trace, report.costs, folder / "trace.json.gz")
    if not isinstance(report.measured, str):
        from imcsim.reporting.figures.values import draw_values

        draw_values(report.measured, folder)


def _resolved(report: Report) -> str:
    """Everything that decides the run as YAML; the block ``hardware`` is a complete hardware file."""
    import yaml

    request = report.request
    content = {
        "imcsim_version": VERSION,
        "run_id": report.run_id,
        "scheme": request.scheme,
        "options": dict(request.options),
        "batch": request.batch,
        "seed": request.seed,
        "sampled_writes": request.sampled_writes,
        "engine": request.engine,
        "workload": {"name": request.workload.name, "source": request.workload.source,
                     "hash": canonical_hash(request.workload.model_dump(mode="json"))},
        "hardware": request.hardware.model_dump(mode="json", exclude_none=True),
    }  # fmt: skip
    plain = json.loads(json.dumps(content, default=_plain))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy, sets and what else JSON does not know."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
