"""Read weights the other way: errors on the bitlines, results on the wordlines, added into errors of the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.actions import (
    ADC_CONVERT,
    ARRAY_READ,
    BUFFER_READ_BYTE,
    BUFFER_WRITE_BYTE,
    BUS_BYTE,
    DAC_DRIVE,
    DIGITAL_OP,
    INPUT_REGISTER_BYTE,
    OUTPUT_REGISTER_BYTE,
    ROUTER_BYTE_HOP,
    SAMPLE_HOLD_HOLD,
    SHIFT_ADD_ADD,
)
from imcsim.hardware.hardware import Hardware, Mesh
from imcsim.mapping.floorplan import lanes
from imcsim.mapping.plan import TransposeMvm
from imcsim.timing.dataflow import Reach, one_by_one
from imcsim.timing.recipes.arrays import array_steps
from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe, scaled
from imcsim.timing.recipes.counting import absorbed_operations
from imcsim.timing.recipes.flows import LayerFlow, flow
from imcsim.timing.recipes.mvm import fetched_columns, fetched_rows
from imcsim.timing.recipes.steps import bus_step, digital_step, fetch_step, n_bytes
from imcsim.workload.layers import Conv

Ints = NDArray[np.int64]


@recipe.register
def _(operation: TransposeMvm, context: Context) -> Recipe:
    """Return the recipe in which one vector is one output position of the layer.

    Its results lie in the buffer until their sums are complete: each is written, and read again for the next one or
    for the end. Of one image; the last sums become errors of the input precision.
    """
    hw, forward, grid = context.hardware, operation.forward, operation.grid
    lane, count = lanes(operation.region, hw), operation.forward.positions
    sums, sum_bytes = scattered(operation), _sum_bytes(operation, hw)
    partial = sum(grid.rows) - forward.rows * forward.groups  # results of crossbars that share an output row
    work = partial * count + sums.additions + operation.layer.elements + absorbed_operations(operation)
    in_bytes = n_bytes(operation.layer, fetched_columns(grid, operation.region, hw))
    read = sums.contributions * sum_bytes if sums.additions else 0
    left = read + n_bytes(operation.layer, operation.layer.elements)
    passed_on = fetched_rows(grid, operation.region, hw) - forward.rows * forward.groups  # from tile to neighbour
    phases = [hw.input_phases(operation.layer.input_quant.bits, columns) for columns in grid.columns]
    bank = " rows" if operation.rows_adc == "bank" else ""
    stages = (
        *fetch_step(in_bytes / lane.tiles, lane, hw),
        *array_steps(forward.name, operation.region, list(zip(phases, grid.rows, strict=True)), hw, bank=bank),
        *digital_step(work / count, 0, lane, hw),
        *bus_step((read + left) / count / lane.tiles, lane, hw),
    )
    actions = {
        **scaled(_read_actions(operation, hw), count),
        OUTPUT_REGISTER_BYTE: sum(grid.rows) * sum_bytes * count,
        BUFFER_READ_BYTE: in_bytes * count + read,
        BUFFER_WRITE_BYTE: left,
        BUS_BYTE: in_bytes * count + read + left,
        ROUTER_BYTE_HOP: passed_on * sum_bytes * count * isinstance(hw.chip.noc, Mesh),
        DIGITAL_OP: work,
    }
    return Recipe(count, stages, scaled(actions, 1))


@flow.register(TransposeMvm)
class TransposeMvmFlow(LayerFlow[TransposeMvm]):
    """Let errors come position by position; a position of the inputs is there with the last window that holds it."""

    spreads = True

    def reach(self, index: int) -> Reach:
        return one_by_one(self.operation.forward.positions)

    def needed(self, n_vectors: int) -> Ints:
        return scattered(self.operation).needed


@dataclass(frozen=True)
class Scattered:
    """Tell where the results of a transposed read go, for one image.

    ``needed``: (positions of the input + 1,) vectors that make its first p positions. ``contributions``: results that
    fall into the input. ``additions``: those that meet another one there.
    """

    needed: Ints
    contributions: int
    additions: int


def scattered(operation: TransposeMvm) -> Scattered:
    """Return where results go: one to each error of a linear layer; windows of convolutions overlap, or leave gaps."""
    forward, layer = operation.forward, operation.layer
    if not isinstance(forward, Conv):
        return Scattered(np.arange(forward.positions + 1, dtype=np.int64), layer.elements, 0)
    last = np.zeros(layer.output_shape[1:], np.int64)
    hits, covered = forward.in_channels, forward.in_channels
    for axis, (size, outputs) in enumerate(zip(layer.output_shape[1:], forward.output_shape[1:], strict=True)):
        window = forward.window
        taps = np.arange(outputs)[:, None] * window.stride[axis] - window.padding[axis]
        taps = taps + np.arange(window.kernel[axis]) * window.dilation[axis]
        inside = (taps >= 0) & (taps < size)
        latest = np.full(size, -1, np.int64)
        np.maximum.at(latest, taps[inside], np.broadcast_to(np.arange(outputs)[:, None], taps.shape)[inside])
        hits, covered = hits * int(inside.sum()), covered * int((latest >= 0).sum())
        shape = [-1 if other == axis else 1 for other in range(last.ndim)]
        last = last * outputs + np.maximum.accumulate(latest).clip(0).reshape(shape)
    needed = np.append(0, np.maximum.accumulate(last.ravel()) + 1)
    needed[-1] = prod(forward.output_shape[1:])  # what no input asks for is still done
    return Scattered(needed.astype(np.int64), hits, hits - covered)


def _sum_bytes(operation: TransposeMvm, hw: Hardware) -> int:
    """Return the bytes of one partial sum: product bits and the carry bits of one crossbar's columns."""
    bits = operation.layer.input_quant.bits + operation.forward.weight_quant.bits
    return -(-(bits + (hw.crossbar.columns - 1).bit_length()) // 8)


def _read_actions(operation: TransposeMvm, hw: Hardware) -> Actions:
    """Return the actions of one vector on crossbars that are all evaluated and converted in full."""
    grid, bits = operation.grid, operation.layer.input_quant.bits
    digits, columns_each = -(-bits // hw.crossbar.dac_bits), hw.weight_columns(operation.forward.weight_quant.bits)
    conversions = sum(n * hw.input_phases(bits, columns) * rows for (rows, columns, _), n in grid.kinds.items())
    return {
        INPUT_REGISTER_BYTE: n_bytes(operation.layer, sum(grid.columns)) / columns_each,
        DAC_DRIVE: digits * sum(grid.columns),
        ARRAY_READ: digits * sum(grid.cells),
        SAMPLE_HOLD_HOLD: conversions,
        ADC_CONVERT: conversions,
        SHIFT_ADD_ADD: conversions,
    }
