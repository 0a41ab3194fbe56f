"""Writing weights: fetch them crossbar by crossbar, and hold a share of the write power while rows are written."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from imcsim import streams
from imcsim.engine.contract import Resource
from imcsim.hardware import Hardware
from imcsim.plan import Program
from imcsim.steps import Step, dram_step
from imcsim.timing._base import Context, Recipe, recipe


@recipe.register
def _(operation: Program, context: Context) -> Recipe:
    """One vector is one crossbar of one copy; it is written for as long as its rows take."""
    hw, grid, copies = context.hardware, operation.grid, operation.region.copies
    write = hw.cell.write
    times_ns = _times_ns(operation, context)
    rounded = {time_ns: hw.cycles(time_ns) * hw.period_ps for time_ns in set(times_ns)}
    time_ps = np.array([rounded[time_ns] for time_ns in times_ns], np.int64)
    driver = Resource("write", "write", write.crossbars_at_once(hw.n_crossbars))
    moved = sum(weight_bytes(operation, hw)) * copies
    actions: dict[tuple[str, str], float] = defaultdict(float, {("bus", "byte"): moved, ("buffer", "read_byte"): moved})
    for (rows, columns, cells), n in grid.kinds.items():
        for action, amount in write.amounts(rows, columns, cells, operation.unchanged_frac).items():
            actions["cell", action] += amount * n * copies
    return Recipe(len(time_ps), (Step(driver, time_ps, time_ps),), actions, per_image=False)


def _times_ns(operation: Program, context: Context) -> list[float]:
    """Write time of each crossbar of each copy, expected or drawn."""
    write, grid, copies = context.hardware.cell.write, operation.grid, operation.region.copies
    sizes = [size for size in zip(grid.rows, grid.columns, strict=True) for _ in range(copies)]
    if context.sampled_writes:
        random = streams.rng(context.seed, "write", operation.name)
        return [write.sample_time_ns(*size, operation.unchanged_frac, random) for size in sizes]
    known = {size: write.time_ns(*size, operation.unchanged_frac) for size in set(sizes)}
    return [known[size] for size in sizes]


def weight_bytes(operation: Program, hw: Hardware) -> list[float]:
    """Bytes of weights on each crossbar of one copy."""
    per_cell = operation.weight_bits / 8 / hw.weight_columns(operation.weight_bits)
    return [cells * per_cell for cells in operation.grid.cells]


def weight_fetch(operation: Program, context: Context) -> Recipe:
    """Weights from DRAM, crossbar by crossbar; all copies of a crossbar are written from one fetch."""
    sizes = weight_bytes(operation, context.hardware)
    known = {size: dram_step(size, context.hardware) for size in set(sizes)}
    total = sum(sizes)
    actions = {("dram", "byte"): total, ("buffer", "write_byte"): total}
    if not all(known.values()):  # ideal DRAM
        return Recipe(len(sizes), (), actions, per_image=False)
    bursts = [known[size][0] for size in sizes]
    hold = np.array([burst.hold_ps for burst in bursts], np.int64)
    late = np.array([burst.latency_ps for burst in bursts], np.int64)
    return Recipe(len(sizes), (Step(bursts[0].resource, hold, late),), actions, per_image=False)
