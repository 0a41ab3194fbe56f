"""Change weights a little, row by row: accumulators, carries into the pairs, and the refresh of full pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from imcsim.hardware.actions import (
    ACCUMULATOR_READ,
    ACCUMULATOR_RESET,
    ACCUMULATOR_SET,
    BUFFER_READ_BYTE,
    BUFFER_WRITE_BYTE,
    BUS_BYTE,
    DIGITAL_OP,
    DRAM_BYTE,
    PAIR_READ,
    PAIR_RESET,
    PAIR_SET,
)
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.floorplan import lanes
from imcsim.mapping.plan import AccumulatorUpdate, Carry, RefreshPairs, Update
from imcsim.mapping.update_rates import DIGITAL_BYTES
from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe, scaled
from imcsim.timing.recipes.flows import Flow, flow
from imcsim.timing.recipes.steps import Step, bus_step, digital_step, dram_step, write_driver

DIGITAL_OPS = 2  # of a digital accumulator, for one weight: add the gradient, take the carry away


@flow.register(Update)
class UpdateFlow(Flow[Update]):
    """Let the parts of an update follow one another on each crossbar."""

    @property
    def after(self) -> str | None:
        return self.operation.after


@recipe.register
def _(operation: AccumulatorUpdate, context: Context) -> Recipe:
    """Read, add, and write what has changed."""
    if operation.store != "pcm":
        return _digital(operation, context.hardware)
    weights, rates = _weights(operation, context.hardware), operation.rates
    moved = weights * DIGITAL_BYTES
    actions = {
        ACCUMULATOR_READ: operation.bits * weights,
        ACCUMULATOR_SET: rates.bits_set * weights,
        ACCUMULATOR_RESET: rates.bits_reset * weights,
        DIGITAL_OP: weights,
        BUFFER_READ_BYTE: moved,
        BUS_BYTE: moved,
    }
    return _written(operation, context.hardware, lambda rows, per_row: rows * row_ns(operation, per_row), actions)


def row_ns(operation: AccumulatorUpdate, weights: float) -> float:
    """Return t_rd + t_add + ceil(n_set / N_set) t_set + ceil(n_reset / N_reset) t_reset of a row of weights."""
    circuit, rates = operation.circuit, operation.rates
    cell = circuit.accumulator
    sets = _rounds(rates.bits_set * weights, circuit.sets_at_once)
    resets = _rounds(rates.bits_reset * weights, circuit.resets_at_once)
    return cell.read_ns + circuit.add_ns + sets * cell.set_ns + resets * cell.reset_ns


def _rounds(pulses: float, at_once: int) -> int:
    """Return the rounds of pulses; a part in 10^9 is forgiven, for a mean that was computed as a float."""
    return math.ceil(pulses / at_once * (1 - 1e-9))


def _digital(operation: AccumulatorUpdate, hw: Hardware) -> Recipe:
    """Read, add and write back numbers in the buffer or in DRAM; one vector is the whole layer."""
    lane, weights = lanes(operation.region, hw), _weights(operation, hw)
    stored = weights * DIGITAL_BYTES
    outside = operation.store == "dram"
    there = dram_step(stored, hw) if outside else ()
    moved = stored * (1 if outside else 3)  # the gradient, and where it lies beside it the number there and back
    stages = (
        *there,
        *bus_step(moved / lane.tiles, lane, hw),
        *digital_step(DIGITAL_OPS * weights, 0, lane, hw),
        *there,
    )
    actions = {
        DRAM_BYTE: 2 * stored * outside,
        BUFFER_READ_BYTE: stored * (1 if outside else 2),
        BUFFER_WRITE_BYTE: stored * (not outside),
        BUS_BYTE: moved,
        DIGITAL_OP: DIGITAL_OPS * weights,
    }
    return Recipe(1, stages, scaled(actions, 1), operation.per_image)


@recipe.register
def _(operation: Carry, context: Context) -> Recipe:
    """Give every row with a carry as many pulses one after another as the largest of its carries takes."""
    rates = operation.rates
    each_row_ns = rates.carry_rows_frac * rates.largest_carry * operation.circuit.pair.set_ns
    actions = {PAIR_SET: rates.carry_pulses * _weights(operation, context.hardware)}
    return _written(operation, context.hardware, lambda rows, per_row: rows * each_row_ns, actions)


@recipe.register
def _(operation: RefreshPairs, context: Context) -> Recipe:
    """Read both devices of every pair, row by row; the selected pairs follow one after another.

    Each of them: two reads, two RESETs, and pulses with a read behind each. All of it divided by the updates between.
    """
    cell, rates = operation.circuit.pair, operation.rates
    share, pulses = 1 / operation.updates, rates.refresh_pulses
    pair_ns = 2 * (cell.read_ns + cell.reset_ns) + pulses * (cell.set_ns + cell.read_ns)
    weights = _weights(operation, context.hardware) * share
    selected = rates.refreshed_frac * weights
    actions = {
        PAIR_READ: 2 * weights + (2 + pulses) * selected,
        PAIR_RESET: 2 * selected,
        PAIR_SET: pulses * selected,
    }

    def time_ns(rows: int, per_row: float) -> float:
        return share * rows * (2 * cell.read_ns + rates.refreshed_frac * per_row * pair_ns)

    return _written(operation, context.hardware, time_ns, actions)


def _written(operation: Update, hw: Hardware, time_ns: Callable[[int, float], float], actions: Actions) -> Recipe:
    """Return the recipe in which one vector is one crossbar and holds a share of the write power.

    ``time_ns``: what a crossbar takes, given its rows and the weights of each row.

    A crossbar in which nothing has to change takes one clock cycle, to find that out.
    """
    grid, columns = operation.grid, hw.weight_columns(operation.weight_bits)
    sizes = [(rows, cells / rows / columns) for rows, cells in zip(grid.rows, grid.cells, strict=True)]
    known = {size: max(1, hw.cycles(time_ns(*size))) * hw.period_ps for size in set(sizes)}
    times_ps = np.array([known[size] for size in sizes], np.int64)
    return Recipe(len(sizes), (Step(write_driver(hw), times_ps, times_ps),), scaled(actions, 1), operation.per_image)


def _weights(operation: Update, hw: Hardware) -> float:
    return sum(operation.grid.cells) / hw.weight_columns(operation.weight_bits)
