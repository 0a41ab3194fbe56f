"""Compute a layer on weights that are there: fetch the window, evaluate and convert, add partial sums, write back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from imcsim.mapping.floorplan import lanes, tiles_of
from imcsim.mapping.plan import Mvm, Region
from imcsim.mapping.tiling import TileGrid
from imcsim.timing.recipes.arrays import array_steps
from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe, scaled
from imcsim.timing.recipes.counting import absorbed_operations
from imcsim.timing.recipes.flows import LayerFlow, flow
from imcsim.timing.recipes.steps import bus_step, digital_step, fetch_step, n_bytes, partial_bytes
from imcsim.workload.workload import WeightedLayer


@recipe.register
def _(operation: Mvm, context: Context) -> Recipe:
    """Return the recipe in which one vector is one output position.

    Where the row tiles of an output lie on several tiles, its partial sums pass from tile to neighbour (no time is
    charged for that, it overlaps the conversions).
    """
    hw, layer, grid = context.hardware, operation.layer, operation.grid
    lane, sums, sum_bytes = lanes(operation.region, hw), _sums(operation), partial_bytes(layer, hw)
    work = sums.additions + sums.finished_outputs * (1 + absorbed_operations(operation) / layer.elements)
    in_bytes = n_bytes(layer, fetched_rows(grid, operation.region, hw)) + read_back_bytes(operation, hw)
    out_bytes = left_bytes(operation, hw)
    phases = [hw.input_phases(layer.input_quant.bits, rows) for rows in grid.rows]
    stages = (
        *fetch_step(in_bytes / lane.tiles, lane, hw),
        *array_steps(layer.name, operation.region, list(zip(phases, grid.columns, strict=True)), hw),
        *digital_step(work, 0, lane, hw),
        *bus_step(out_bytes / lane.tiles, lane, hw),
    )
    passed_on = _passed_on(operation, hw) if isinstance(hw.chip.noc, Mesh) else 0
    per_vector = {
        **context.as_used(_read_actions(grid, layer, hw), layer.name),
        OUTPUT_REGISTER_BYTE: float(sums.outputs @ sums.results) * sum_bytes,
        BUFFER_READ_BYTE: in_bytes,
        BUFFER_WRITE_BYTE: out_bytes,
        BUS_BYTE: in_bytes + out_bytes,
        ROUTER_BYTE_HOP: passed_on * sum_bytes,
        DIGITAL_OP: work,
    }
    return Recipe(layer.positions, stages, scaled(per_vector, layer.positions))


@flow.register(Mvm)
class MvmFlow(LayerFlow[Mvm]):
    """Let passes of a layer larger than the chip leave partial sums, and go on with those of the pass before."""

    spreads = True

    @property
    def written_bytes(self) -> float:
        return left_bytes(self.operation, self.context.hardware) * self.operation.layer.positions

    @property
    def live_bytes(self) -> float:
        layer = self.operation.layer
        if self.operation.partial and self.operation.grid.row_tiles > 1:
            return layer.elements * partial_bytes(layer, self.context.hardware)
        return n_bytes(layer, layer.elements)

    @property
    def resumed_bytes(self) -> Mapping[str, float]:
        size = read_back_bytes(self.operation, self.context.hardware) * self.operation.layer.positions
        return {self.operation.partial_sums: size}


@dataclass(frozen=True)
class _PartialSums:
    """Hold what a pass adds up, for each column of crossbars that it touches: arrays of one entry per column.

    ``outputs`` of the column; ``results`` for each of them in this pass; whether an earlier pass has ``begun`` their
    sums; whether they are ``finished`` by this one.
    """

    outputs: NDArray[np.int64]
    results: NDArray[np.int64]
    begun: NDArray[np.bool_]
    finished: NDArray[np.bool_]

    @property
    def additions(self) -> float:
        return float(self.outputs @ (self.results - 1 + self.begun))

    @property
    def finished_outputs(self) -> float:
        return float(self.outputs @ self.finished)


def _sums(operation: Mvm) -> _PartialSums:
    grid = operation.grid
    _, first, results = np.unique(grid.block_column, return_index=True, return_counts=True)
    row = grid.row_tile[first]
    return _PartialSums(grid.outputs[first], results, row > 0, row + results == grid.row_tiles)


def left_bytes(operation: Mvm, hw: Hardware) -> float:
    """Return the bytes that one vector leaves in the buffer: outputs, and sums that a later pass goes on with."""
    sums = _sums(operation)
    unfinished = float(sums.outputs @ ~sums.finished)
    return n_bytes(operation.layer, sums.finished_outputs) + unfinished * partial_bytes(operation.layer, hw)


def read_back_bytes(operation: Mvm, hw: Hardware) -> float:
    """Return the bytes of one vector's partial sums of earlier passes to which a pass adds."""
    sums = _sums(operation)
    return float(sums.outputs @ sums.begun) * partial_bytes(operation.layer, hw)


def fetched_rows(grid: TileGrid, region: Region, hw: Hardware) -> int:
    """Return the inputs of one vector on all buses; on a tile, crossbars of a block row share theirs."""
    _, first = np.unique(np.stack([tiles_of(region, hw), grid.block_row]), axis=1, return_index=True)
    return int(np.array(grid.rows)[first].sum())


def fetched_columns(grid: TileGrid, region: Region, hw: Hardware) -> int:
    """Return the errors of one vector on all buses; on a tile, crossbars of a block column share theirs."""
    _, first = np.unique(np.stack([tiles_of(region, hw), grid.block_column]), axis=1, return_index=True)
    return int(grid.outputs[first].sum())


def _passed_on(operation: Mvm, hw: Hardware) -> float:
    """Return the partial sums of one vector that go on to the next tile: not those of a column's last tile."""
    column, outputs = operation.grid.block_column, operation.grid.outputs
    _, on_tiles = np.unique(np.stack([tiles_of(operation.region, hw), column]), axis=1, return_index=True)
    _, ends = np.unique(column, return_index=True)
    return float(outputs[on_tiles].sum() - outputs[ends].sum())


def _read_actions(grid: TileGrid, layer: WeightedLayer, hw: Hardware) -> Actions:
    """Return the actions of one vector on crossbars that are all evaluated and converted in full."""
    bits = layer.input_quant.bits
    digits = -(-bits // hw.crossbar.dac_bits)
    conversions = sum(n * hw.input_phases(bits, rows) * columns for (rows, columns, _), n in grid.kinds.items())
    return {
        INPUT_REGISTER_BYTE: n_bytes(layer, sum(grid.rows)),
        DAC_DRIVE: digits * sum(grid.rows),
        ARRAY_READ: digits * sum(grid.cells),
        SAMPLE_HOLD_HOLD: conversions,
        ADC_CONVERT: conversions,
        SHIFT_ADD_ADD: conversions,
    }
