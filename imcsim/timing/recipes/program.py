"""Write weights: fetch them crossbar by crossbar, and hold a share of the write power while rows are written."""

from __future__ import annotations

import numpy as np

from imcsim.hardware.actions import BUFFER_READ_BYTE, BUFFER_WRITE_BYTE, BUS_BYTE, DRAM_BYTE, Component
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Program
from imcsim.mapping.write_work import work_of
from imcsim.timing.dataflow import Reach
from imcsim.timing.recipes.context import Context, Recipe, recipe
from imcsim.timing.recipes.flows import Flow, flow
from imcsim.timing.recipes.steps import Step, dram_step, write_driver


@recipe.register
def _(operation: Program, context: Context) -> Recipe:
    """Return the recipe in which one vector is one crossbar of one copy, written for as long as its rows take.

    A crossbar in which no cell has to change takes one clock cycle, to find that out.
    """
    hw, work = context.hardware, work_of(operation, context.works, context.hardware)
    rounded = {time_ns: max(1, hw.cycles(time_ns)) * hw.period_ps for time_ns in set(work.times_ns)}
    time_ps = np.array([rounded[time_ns] for time_ns in work.times_ns], np.int64)
    moved = sum(weight_bytes(operation, hw)) * operation.region.copies
    actions = {BUS_BYTE: moved, BUFFER_READ_BYTE: moved}
    actions |= {Component.CELL.does(action): amount for action, amount in work.actions.items()}
    return Recipe(len(time_ps), (Step(write_driver(hw), time_ps, time_ps),), actions, per_image=False)


@flow.register(Program)
class ProgramFlow(Flow[Program]):
    """Let weights come before they are written; every copy of a crossbar waits for the same burst."""

    def fetch(self) -> tuple[Recipe, Reach]:
        fetched = weight_fetch(self.operation, self.context)
        bursts = np.repeat(np.arange(1, fetched.n_vectors + 1, dtype=np.int64), self.operation.region.copies)
        return fetched, Reach(bursts, bursts)


def weight_bytes(operation: Program, hw: Hardware) -> list[float]:
    """Return the bytes of weights on each crossbar of one copy."""
    per_cell = operation.weight_bits / 8 / hw.weight_columns(operation.weight_bits)
    return [cells * per_cell for cells in operation.grid.cells]


def weight_fetch(operation: Program, context: Context) -> Recipe:
    """Return the recipe of weights from DRAM; all copies of a crossbar are written from one fetch."""
    sizes = weight_bytes(operation, context.hardware)
    known = {size: dram_step(size, context.hardware) for size in set(sizes)}
    total = sum(sizes)
    actions = {DRAM_BYTE: total, BUFFER_WRITE_BYTE: total}
    if not all(known.values()):  # ideal DRAM
        return Recipe(len(sizes), (), actions, per_image=False)
    bursts = [known[size][0] for size in sizes]
    hold = np.array([burst.hold_ps for burst in bursts], np.int64)
    late = np.array([burst.latency_ps for burst in bursts], np.int64)
    return Recipe(len(sizes), (Step(bursts[0].resource, hold, late),), actions, per_image=False)
