"""Tabulate what each stage, operation, layer and resource did, as pandas DataFrames.

Times are of the whole batch; energies and conversions are per inference (``docs/report.md`` lists every column).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imcsim.hardware.actions import ADC_CONVERT, Component
from imcsim.hardware.cost_table import CostTable
from imcsim.mapping.plan import Compute
from imcsim.timing.engine.contract import UNLIMITED, Job, JobOp, JobResult, Stage
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.execution import Amounts, Execution
from imcsim.util import units

if TYPE_CHECKING:
    from pandas import DataFrame, Series

STAGE_COLUMNS = [
    "job", "phase", "phase_ps", "operation", "layer", "stage", "resource", "kind", "capacity",
    "busy_ps", "queued_ps", "critical_ps",
]  # fmt: skip
OPERATION_COLUMNS = [
    "phase", "operation", "layer", "resource", "kind", "start_ps", "end_ps", "starved_ps", "blocked_ps",
]  # fmt: skip


LEAST_PERCENT = 1.0  # share of the critical path that is worth a sentence


# -- what everything else is summed from -------------------------------------------------------------------------------


def stages(execution: Execution) -> DataFrame:
    """Return a row per stage of every operation of every phase; ps of the whole batch, ``stage`` from 0."""
    import pandas as pd

    rows = [
        (j, job.name, result.makespan_ps, op.name, op.layer, s, resource.name, str(resource.kind), resource.capacity,
         _held_ps(op, stage, result), int(result.queued_ps[i, s]), int(result.critical_ps[i, s]))
        for j, (job, result) in enumerate(zip(execution.jobs, execution.results, strict=True))
        for i, op in enumerate(job.operations)
        for s, stage in enumerate(op.stages)
        for resource in [job.resources[stage.resource]]
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=STAGE_COLUMNS)


def operations(execution: Execution) -> DataFrame:
    """Return a row per operation of every phase: first grant, last completion, waiting for inputs and for room; ps.

    ``resource`` is the one that its vectors hold longest: waiting at its door is booked there.
    """
    import pandas as pd

    rows = [
        (
            job.name,
            op.name,
            op.layer,
            main.name,
            str(main.kind),
            *span,
            int(result.starved_ps[i]),
            int(result.blocked_ps[i]),
        )
        for job, result, offset in zip(execution.jobs, execution.results, execution.offsets_ps, strict=True)
        for i, (op, span) in enumerate(zip(job.operations, _spans(job, result, offset), strict=True))
        for main in [job.resources[main_stage(job, op).resource]]
    ]
    return pd.DataFrame(rows, columns=OPERATION_COLUMNS)


def main_stage(job: Job, op: JobOp) -> Stage:
    """Return the stage that holds a limited resource longest; the last one where no resource is limited."""
    limited = [stage for stage in op.stages if job.resources[stage.resource].capacity != UNLIMITED]
    return max(limited, key=lambda stage: float(np.mean(stage.hold_ps)), default=op.stages[-1])


def _held_ps(op: JobOp, stage: Stage, result: JobResult) -> int:
    images = result.n_images if op.per_image else 1
    return int(np.sum(np.broadcast_to(stage.hold_ps, op.n_vectors))) * images


def _spans(job: Job, result: JobResult, offset_ps: int) -> list[tuple[int, int]]:
    """Return first grant and last completion; images not simulated shift the completion as they do the makespan."""
    ends = [int(times.end_ps.max()) for times in result.times]
    later = result.makespan_ps - max(ends, default=0)
    return [
        (offset_ps + int(times.start_ps[0].min()), offset_ps + end + (later if op.per_image else 0))
        for op, times, end in zip(job.operations, result.times, ends, strict=True)
    ]


# -- energy ------------------------------------------------------------------------------------------------------------


def energy(execution: Execution, costs: CostTable) -> DataFrame:
    """Return amount, price and energy of each action per inference; leakage is the last row, its amount in ns."""
    import pandas as pd

    frame = _priced(execution.amounts(), costs)
    totals = frame.groupby(["component", "action", "price_pj"], sort=False)["amount"].sum().reset_index()
    rows = [
        (component, action, amount / execution.batch, price, costs.source(component, action))
        for component, action, price, amount in totals.itertuples(index=False)
    ]
    time_ns = execution.makespan_ps / units.PS_PER_NS / execution.batch
    rows.append(
        (Component.LEAKAGE.value, "ns", time_ns, units.pj(costs.leakage_uw, units.PS_PER_NS), "leakage_uw of all parts")
    )
    table = pd.DataFrame(rows, columns=["component", "action", "amount", "price_pj", "source"])
    table.insert(4, "energy_pj", table["amount"] * table["price_pj"])
    return table


def energy_of(amounts: Amounts, costs: CostTable) -> float:
    """Return the energy of some amounts, pJ."""
    return float(sum(amount * costs.price_pj(component, action) for (_, component, action), amount in amounts.items()))


def _priced(amounts: Amounts, costs: CostTable) -> DataFrame:
    import pandas as pd

    rows = [(*key, amount, costs.price_pj(*key[1:])) for key, amount in amounts.items()]
    return pd.DataFrame(rows, columns=["layer", "component", "action", "amount", "price_pj"])


# -- resources and the critical path -----------------------------------------------------------------------------------


def resources(execution: Execution, stage_table: DataFrame, operation_table: DataFrame) -> DataFrame:
    """Return a row per limited resource, over the phases in which it takes part; cycles x units of the batch."""
    limited = stage_table[stage_table["capacity"] != UNLIMITED]
    keys = ["resource", "kind"]
    sums = limited.groupby(keys, sort=False).agg(
        capacity=("capacity", "max"), busy=("busy_ps", "sum"), queued=("queued_ps", "sum")
    )
    present = limited.drop_duplicates(["job", "resource"])
    present = present.assign(offered=present["phase_ps"] * present["capacity"])
    sums[["span", "offered"]] = present.groupby(keys, sort=False)[["phase_ps", "offered"]].sum()
    sums["idle"] = sums["offered"] - sums["busy"]
    waits = (
        operation_table.groupby(keys, sort=False)[["starved_ps", "blocked_ps"]].sum().reindex(sums.index, fill_value=0)
    )
    sums["starved"], sums["blocked"] = waits["starved_ps"], waits["blocked_ps"]
    times = ["span", "busy", "idle", "queued", "starved", "blocked"]
    cycles = (sums[times] / execution.hardware.period_ps).add_suffix("_cycles")
    utilisation = (sums["busy"] / sums["offered"].where(sums["offered"] > 0)).fillna(0.0)
    return sums[["capacity"]].join(cycles).assign(utilisation_frac=utilisation).reset_index()


def critical_path(execution: Execution, stage_table: DataFrame) -> DataFrame:
    """Return the stages that held the makespan, the longest first; the times sum to it."""
    held = stage_table[stage_table["critical_ps"] > 0].sort_values("critical_ps", ascending=False, kind="stable")
    frame = held[["phase", "operation", "layer", "stage", "resource", "kind", "capacity"]].reset_index(drop=True)
    frame["time_ns"] = (held["critical_ps"] / units.PS_PER_NS).to_numpy()
    frame["percent"] = percent(held["critical_ps"], execution.makespan_ps).to_numpy()
    return frame


def percent(part_ps: Series[Any], whole_ps: int) -> Series[Any]:
    """Return shares in per cent; zeros of nothing."""
    return part_ps * (100.0 / whole_ps if whole_ps else 0.0)


# -- why it took so long -----------------------------------------------------------------------------------------------


def bottleneck(path: DataFrame) -> list[dict[str, Any]]:
    """Return the kinds of resources by share of a critical path, with the resource and the layer that hold most."""
    shares = percent_by_kind(path)
    return [_blame(kind, share, path[path["kind"] == kind]) for kind, share in shares.items() if share >= LEAST_PERCENT]


def _blame(kind: str, share: float, held: DataFrame) -> dict[str, Any]:
    """Say: 61.3 % of the time goes to writing crossbars, 256 at once; the largest part is layer fc (20.1 %)."""
    worst = {}
    for column in ("resource", "layer"):
        sums = held.groupby(column, sort=False)["percent"].sum()
        worst[column] = str(sums.idxmax()), float(sums.max())
    resource, layer = worst["resource"], worst["layer"]
    place = ResourceKind(kind).label.format(n=int(held["capacity"].max()))
    sentence = f"{share:.1f} % of the time goes to {place}; the largest part is layer {layer[0]} ({layer[1]:.1f} %)"
    if held["resource"].nunique() > 1 and layer[0] not in resource[0]:
        sentence += f", the busiest place {resource[0]} ({resource[1]:.1f} %)"
    return {"kind": kind, "percent": share, "resource": resource[0], "resource_percent": resource[1],
            "layer": layer[0], "layer_percent": layer[1], "sentence": sentence}  # fmt: skip


def percent_by_kind(path: DataFrame) -> dict[str, float]:
    """Return the shares of a critical path by kind of resource, the largest first."""
    by_kind = path.groupby("kind")["percent"].sum().sort_values(ascending=False, kind="stable")
    return {str(kind): float(share) for kind, share in by_kind.items()}


def waiting_ns(table: DataFrame, period_ps: int) -> dict[str, dict[str, float]]:
    """Return the time queued for resources by kind, and waited for inputs and room by operations that mainly use it."""
    columns = {"queued_cycles": "queued", "starved_cycles": "starved", "blocked_cycles": "blocked"}
    sums = table.groupby("kind", sort=False)[list(columns)].sum().rename(columns=columns) * period_ps / units.PS_PER_NS
    return {str(kind): {str(name): float(value) for name, value in row.items()} for kind, row in sums.iterrows()}


# -- layers ------------------------------------------------------------------------------------------------------------


def layers(
    execution: Execution,
    costs: CostTable,
    stage_table: DataFrame,
    operation_table: DataFrame,
    layer_values: Sequence[Mapping[str, Any]] = (),
) -> DataFrame:
    """Return a row per layer that has operations of its own, in execution order; what has another name comes last.

    ``stage_table``, ``operation_table``: what ``stages`` and ``operations`` return. ``layer_values``: the layers of
    ``values``.
    """
    import pandas as pd

    kinds = {layer.name: layer.kind for layer in execution.workload.layers}
    names = [*kinds, *(name for name in dict.fromkeys(operation_table["layer"]) if name not in kinds)]
    spans = operation_table.groupby("layer").agg(start=("start_ps", "min"), end=("end_ps", "max"))
    spans = spans.reindex([name for name in names if name in spans.index])
    index, period = spans.index, execution.hardware.period_ps
    held = stage_table.groupby("layer")[["busy_ps", "queued_ps", "critical_ps"]].sum().reindex(index)
    waits = operation_table.groupby("layer")[["starved_ps", "blocked_ps"]].sum().reindex(index)
    amounts = _priced(execution.amounts(), costs)
    energy_pj = (amounts["amount"] * amounts["price_pj"]).groupby(amounts["layer"]).sum()
    converts = (amounts["component"] == ADC_CONVERT.component) & (amounts["action"] == ADC_CONVERT.action)
    conversions = amounts[converts].groupby("layer")["amount"].sum()
    saturated = {values["layer"]: values["saturated_frac"] for values in layer_values}
    snr_db = {values["layer"]: values["snr"].get("db") for values in layer_values}
    frame = pd.DataFrame({
        "kind": [kinds.get(name, "other") for name in index],
        "start_cycle": spans["start"] / period,
        "span_cycles": (spans["end"] - spans["start"]) / period,
        "busy_cycles": held["busy_ps"] / period,
        "crossbar_utilisation_frac": _crossbar_utilisation(stage_table).reindex(index),
        "cell_utilisation_frac": pd.Series(_cell_utilisation(execution), dtype=float).reindex(index),
        "energy_pj": energy_pj.reindex(index).fillna(0.0) / execution.batch,
        "adc_conversions": conversions.reindex(index).fillna(0.0) / execution.batch,
        "cells_written": pd.Series(cells_written_by_layer(execution), dtype=float).reindex(index).fillna(0.0),
        "queued_cycles": held["queued_ps"] / period,
        "starved_cycles": waits["starved_ps"] / period,
        "blocked_cycles": waits["blocked_ps"] / period,
        "critical_percent": percent(held["critical_ps"], execution.makespan_ps),
        "snr_db": pd.Series(snr_db, dtype=float).reindex(index),
        "saturated_frac": pd.Series(saturated, dtype=float).reindex(index),
    })  # fmt: skip
    return frame.rename_axis("layer").reset_index()


def cells_written_by_layer(execution: Execution) -> dict[str, float]:
    """Return the cells that one batch programs, by layer: those of all copies, without those that were skipped."""
    written: dict[str, float] = {}
    for operation, work in execution.batch_work:
        written[operation.layer] = written.get(operation.layer, 0.0) + work.cells
    return written


def _crossbar_utilisation(stage_table: DataFrame) -> Series[float]:
    """Return the busy share of the crossbars that a layer uses, over the phases in which it uses them."""
    bars = stage_table[(stage_table["kind"] == ResourceKind.CROSSBAR) & (stage_table["capacity"] != UNLIMITED)]
    present = bars.drop_duplicates(["job", "resource", "layer"])
    offered = (present["phase_ps"] * present["capacity"]).groupby(present["layer"]).sum()
    return bars.groupby("layer")["busy_ps"].sum() / offered.where(offered > 0)


def _cell_utilisation(execution: Execution) -> dict[str, float]:
    """Return the cells that hold weights, as a share of all cells of the crossbars of a layer's passes."""
    used: dict[str, list[int]] = {}
    for operation in execution.plan.operations():
        if isinstance(operation, Compute) and operation.stored:
            cells = used.setdefault(operation.layer.name, [0, 0])
            cells[0] += sum(operation.stored.cells)
            cells[1] += operation.stored.crossbars
    bar = execution.hardware.crossbar
    return {name: cells / (crossbars * bar.rows * bar.columns) for name, (cells, crossbars) in used.items()}
