"""A layer on weights that are there: fetch the window, evaluate and convert, add partial sums, write back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.hardware import Hardware, Mesh
from imcsim.mapping.floorplan import lanes, tiles_of
from imcsim.mapping.plan import Mvm, Region
from imcsim.mapping.tiling import TileGrid
from imcsim.timing.recipes.arrays import array_steps
from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe, scaled
from imcsim.timing.recipes.counting import absorbed_operations
from imcsim.timing.recipes.steps import bus_step, digital_step, fetch_step, n_bytes, partial_bytes
from imcsim.workload.workload import WeightedLayer


@recipe.register
def _(operation: Mvm, context: Context) -> Recipe:
    """One vector is one output position.

    Where the row tiles of an output lie on several tiles, its partial sums pass from tile to neighbour (no time is
    charged for that, it overlaps the conversions).
    """
    hw, layer, grid = context.hardware, operation.layer, operation.grid
    lane, sums, sum_bytes = lanes(operation.region, hw), _sums(operation, hw), partial_bytes(layer, hw)
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
        ("output_register", "byte"): float(sums.outputs @ sums.results) * sum_bytes,
        ("buffer", "read_byte"): in_bytes,
        ("buffer", "write_byte"): out_bytes,
        ("bus", "byte"): in_bytes + out_bytes,
        ("router", "byte_hop"): passed_on * sum_bytes,
        ("digital", "op"): work,
    }
    return Recipe(layer.positions, stages, scaled(per_vector, layer.positions))


@dataclass(frozen=True)
class _PartialSums:
    """What a pass adds up, for each column of crossbars that it touches: arrays of one entry per column.

    ``outputs`` of the column; ``results`` for each of them in this pass; whether an earlier pass has ``begun`` their
    sums; whether they are ``finished`` by this one.
    """

    outputs: NDArray[np.float64]
    results: NDArray[np.int64]
    begun: NDArray[np.bool_]
    finished: NDArray[np.bool_]

    @property
    def additions(self) -> float:
        return float(self.outputs @ (self.results - 1 + self.begun))

    @property
    def finished_outputs(self) -> float:
        return float(self.outputs @ self.finished)


def _sums(operation: Mvm, hw: Hardware) -> _PartialSums:
    grid = operation.grid
    row, column = _places(grid)
    _, first, results = np.unique(column, return_index=True, return_counts=True)
    outputs = np.array(grid.columns)[first] / hw.weight_columns(operation.layer.weight_quant.bits)
    return _PartialSums(outputs, results, row[first] > 0, row[first] + results == grid.row_tiles)


def _places(grid: TileGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(crossbars,) the row tile of each crossbar, and the number of its column among those of all groups."""
    number = grid.start + np.arange(grid.crossbars)
    group, within = np.divmod(number, grid.row_tiles * grid.column_tiles)
    row, column = np.divmod(within, grid.column_tiles)
    return row, group * grid.column_tiles + column


def left_bytes(operation: Mvm, hw: Hardware) -> float:
    """Bytes of one vector that an operation leaves in the buffer: outputs, and sums that a later pass goes on with."""
    sums = _sums(operation, hw)
    unfinished = float(sums.outputs @ ~sums.finished)
    return n_bytes(operation.layer, sums.finished_outputs) + unfinished * partial_bytes(operation.layer, hw)


def read_back_bytes(operation: Mvm, hw: Hardware) -> float:
    """Bytes of one vector's partial sums of earlier passes to which a pass adds."""
    sums = _sums(operation, hw)
    return float(sums.outputs @ sums.begun) * partial_bytes(operation.layer, hw)


def fetched_rows(grid: TileGrid, region: Region, hw: Hardware) -> int:
    """Inputs of one vector that the buses of all tiles carry; on a tile, crossbars of one block row share theirs."""
    block_row = (grid.start + np.arange(grid.crossbars)) // grid.column_tiles
    _, first = np.unique(np.stack([tiles_of(region, hw), block_row]), axis=1, return_index=True)
    return int(np.array(grid.rows)[first].sum())


def fetched_columns(grid: TileGrid, region: Region, layer: WeightedLayer, hw: Hardware) -> float:
    """Errors of one vector that the buses of all tiles carry; on a tile, crossbars of one block column share theirs."""
    _, first = np.unique(np.stack([tiles_of(region, hw), _places(grid)[1]]), axis=1, return_index=True)
    return float(np.array(grid.columns)[first].sum() / hw.weight_columns(layer.weight_quant.bits))


def _passed_on(operation: Mvm, hw: Hardware) -> float:
    """Partial sums of one vector that go on to the next tile: all but those of the last tile of each column."""
    column = _places(operation.grid)[1]
    outputs = np.array(operation.grid.columns) / hw.weight_columns(operation.layer.weight_quant.bits)
    _, on_tiles = np.unique(np.stack([tiles_of(operation.region, hw), column]), axis=1, return_index=True)
    _, ends = np.unique(column, return_index=True)
    return float(outputs[on_tiles].sum() - outputs[ends].sum())


def _read_actions(grid: TileGrid, layer: WeightedLayer, hw: Hardware) -> Actions:
    """Actions of one vector on crossbars that are all evaluated and converted in full."""
    bits = layer.input_quant.bits
    digits = -(-bits // hw.crossbar.dac_bits)
    conversions = sum(n * hw.input_phases(bits, rows) * columns for (rows, columns, _), n in grid.kinds.items())
    return {
        ("input_register", "byte"): n_bytes(layer, sum(grid.rows)),
        ("dac", "drive"): digits * sum(grid.rows),
        ("array", "read"): digits * sum(grid.cells),
        ("sample_hold", "hold"): conversions,
        ("adc", "convert"): conversions,
        ("shift_add", "add"): conversions,
    }
