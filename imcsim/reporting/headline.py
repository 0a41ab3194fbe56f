"""Compute the headline figures of a run: time, energy, writes, lifetime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imcsim.hardware.actions import ADC_CONVERT, CELL_VERIFY
from imcsim.hardware.cost_table import CostTable
from imcsim.reporting import tables
from imcsim.reporting.assumptions import assumptions, notes
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.execution import Execution
from imcsim.util import units
from imcsim.workload.workload import Unknown

if TYPE_CHECKING:
    from pandas import DataFrame


def headline(
    execution: Execution,
    costs: CostTable,
    spec: RunSpec,
    values: Mapping[str, Any],
    energy: DataFrame,
    resources: DataFrame,
    critical_path: DataFrame,
) -> dict[str, Any]:
    """Return the headline figures, in the order of report.json; ``values`` is its entry of that name.

    ``energy``, ``resources`` and ``critical_path`` are the tables of the report.
    """
    hardware = execution.hardware
    return {
        "workload": spec.workload.name,
        "hardware": hardware.name,
        "write": hardware.cell.write.name,
        "scheme": spec.scheme,
        "options": dict(spec.options),
        "batch": execution.batch,
        "seed": spec.seed,
        "sampled_writes": spec.sampled_writes,
        "engine": spec.engine,
        "values": values,
        **_time_and_energy(execution, energy),
        "area_um2": costs.area_um2,
        "crossbars_used": execution.plan.crossbars_used,
        "crossbars_needed": execution.plan.crossbars_needed,
        "crossbars_available": hardware.n_crossbars,
        **_counts(execution),
        "lifetime_inferences": _lifetime(execution, values),
        "setup": _setup(execution, costs),
        "bottleneck": tables.bottleneck(critical_path),
        "critical_percent_by_kind": tables.percent_by_kind(critical_path),
        "waiting_ns": tables.waiting_ns(resources, hardware.period_ps),
        "facts": execution.plan.facts,
        "spilled": list(execution.spilled),
        "overfull": list(execution.overfull),
        "unknown_layers": [layer.name for layer in spec.workload.layers if isinstance(layer, Unknown)],
        "assumed": assumptions(execution, values),
        "notes": notes(execution),
    }


def _time_and_energy(execution: Execution, energy: DataFrame) -> dict[str, Any]:
    energy_pj = float(energy["energy_pj"].sum())
    latency_ns, makespan_ns = execution.latency_ps / units.PS_PER_NS, execution.makespan_ps / units.PS_PER_NS
    by_component = energy.groupby("component", sort=False)["energy_pj"].sum()
    return {
        "cycles_per_inference": execution.makespan_ps / execution.hardware.period_ps / execution.batch,
        "latency_ns": latency_ns,
        "interval_ns": execution.interval_ps / units.PS_PER_NS,
        "makespan_ns": makespan_ns,
        "energy_pj": energy_pj,
        "energy_by_component_pj": {str(name): float(value) for name, value in by_component.items()},
        "edp_latency_pj_ns": energy_pj * latency_ns,
        "edp_throughput_pj_ns": energy_pj * (makespan_ns / execution.batch),
    }


def _counts(execution: Execution) -> dict[str, float]:
    works = [work for _, work in execution.batch_work]
    totals: dict[tuple[str, str], float] = {}
    for (_, component, action), amount in execution.amounts().items():
        totals[component, action] = totals.get((component, action), 0.0) + amount
    return {
        "cells_written": float(sum(work.cells for work in works)),
        "write_pulses": float(sum(work.pulses for work in works)),
        "verify_reads": totals.get(CELL_VERIFY, 0.0),
        "cells_failed": float(sum(work.failed for work in works)),
        "adc_conversions": totals.get(ADC_CONVERT, 0.0) / execution.batch,
        "macs": execution.workload.n_macs,
    }


def _lifetime(execution: Execution, values: Mapping[str, Any]) -> dict[str, Any]:
    """Divide endurance by the writes of what is written most: a cell where cells were counted, else a crossbar."""
    if values["kind"] == "measured":
        most, crossbar = (values["writes"][key] for key in ("most_programmings_per_batch", "crossbar"))
    else:
        writes = execution.plan.writes_by_crossbar
        crossbar = min(writes, key=lambda number: (-writes[number], number), default=0)
        most = writes.get(crossbar, 0)
    if not most:
        return {"kind": "unlimited"}
    inferences = execution.hardware.cell.write.endurance_writes * execution.batch / most
    return {"kind": "limited", "inferences": inferences, "writes_per_batch": most, "crossbar": crossbar}


def _setup(execution: Execution, costs: CostTable) -> dict[str, float]:
    """Return what is written once, before time 0."""
    return {
        "time_ns": execution.setup_ps / units.PS_PER_NS,
        "energy_pj": tables.energy_of(execution.setup_amounts(), costs),
        "cells_written": sum(execution.work(operation).cells for operation in execution.plan.setup),
    }
