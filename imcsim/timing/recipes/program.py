"""Writing weights: fetch them crossbar by crossbar, and hold a share of the write power while rows are written."""

from __future__ import annotations

import numpy as np

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Program
from imcsim.mapping.write_work import work_of
from imcsim.timing.engine.contract import Resource
from imcsim.timing.recipes.context import Context, Recipe, recipe
from imcsim.timing.recipes.steps import Step, dram_step


@recipe.register
def _(operation: Program, context: Context) -> Recipe:
    """One vector is one crossbar of one copy; it is written for as long as its rows take.

    A crossbar in which no cell has to change takes one clock cycle, to find that out.
    """
    hw, work = context.hardware, work_of(operation, context.works, context.hardware)
    rounded = {time_ns: max(1, hw.cycles(time_ns)) * hw.period_ps for time_ns in set(work.times_ns)}
    time_ps = np.array([rounded[time_ns] for time_ns in work.times_ns], np.int64)
    driver = Resource("write", "write", hw.cell.write.crossbars_at_once(hw.n_crossbars))
    moved = sum(weight_bytes(operation, hw)) * operation.region.copies
    actions = {("bus", "byte"): moved, ("buffer", "read_byte"): moved}
    actions |= {("cell", action): amount for action, amount in work.actions.items()}
    return Recipe(len(time_ps), (Step(driver, time_ps, time_ps),), actions, per_image=False)


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
