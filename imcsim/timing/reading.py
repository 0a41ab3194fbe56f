"""A layer on weights that are there: fetch the window, evaluate and convert, add partial sums, write back."""

from __future__ import annotations

from imcsim.floorplan import lanes
from imcsim.hardware import Hardware, Mesh
from imcsim.plan import Mvm, TileGrid
from imcsim.steps import bus_step, digital_step, n_bytes, partial_bytes
from imcsim.timing._base import Actions, Context, Recipe, recipe, times
from imcsim.timing.arrays import array_steps
from imcsim.timing.counting import absorbed_operations
from imcsim.workload import WeightedLayer


@recipe.register
def _(operation: Mvm, context: Context) -> Recipe:
    """One vector is one output position.

    Where the row tiles of an output lie on several tiles, its partial sums pass from tile to neighbour (no time is
    charged for that, it overlaps the conversions).
    """
    hw, layer, grid = context.hardware, operation.layer, operation.grid
    lane, sum_bytes = lanes(operation.region, hw), partial_bytes(layer, hw)
    results = _results(operation, hw)
    behind = absorbed_operations(operation) / layer.elements
    work = results * (grid.row_tiles - 1) / grid.row_tiles + _finished(operation, hw) * (1 + behind)
    in_bytes = n_bytes(layer, _fetched(grid, hw)) + read_back_bytes(operation, hw)
    out_bytes = left_bytes(operation, hw)
    phases = {(hw.input_phases(layer.input_quant.bits, rows), columns) for rows, columns, _ in grid.kinds}
    stages = (
        *bus_step(in_bytes / lane.tiles, lane, hw),
        *array_steps(layer.name, operation.region, phases, hw),
        *digital_step(work, 0, lane, hw),
        *bus_step(out_bytes / lane.tiles, lane, hw),
    )
    passed_on = _results_passed_on(grid, layer, hw) if isinstance(hw.chip.noc, Mesh) else 0
    per_vector = {
        **_read_actions(grid, layer, hw),
        ("output_register", "byte"): results * sum_bytes,
        ("buffer", "read_byte"): in_bytes,
        ("buffer", "write_byte"): out_bytes,
        ("bus", "byte"): in_bytes + out_bytes,
        ("router", "byte_hop"): passed_on * sum_bytes,
        ("digital", "op"): work,
    }
    return Recipe(layer.positions, stages, times(per_vector, layer.positions))


def left_bytes(operation: Mvm, hw: Hardware) -> float:
    """Bytes of one vector that an operation leaves in the buffer: outputs, or partial sums of an earlier pass."""
    if operation.partial and operation.grid.row_tiles > 1:
        return _touched(operation, hw) * partial_bytes(operation.layer, hw)
    return n_bytes(operation.layer, _finished(operation, hw))


def read_back_bytes(operation: Mvm, hw: Hardware) -> float:
    """Bytes of one vector's partial sums of earlier passes to which a pass adds; the last pass takes all of them."""
    if not operation.resumed or operation.grid.row_tiles == 1:
        return 0.0
    outputs = _touched(operation, hw) if operation.partial else operation.layer.channels
    return outputs * partial_bytes(operation.layer, hw)


def _fetched(grid: TileGrid, hw: Hardware) -> int:
    """Inputs of one vector that the buses of all tiles carry; on a tile, crossbars of one block row share theirs."""
    per_tile = hw.tile.n_crossbars
    blocks = {(i // per_tile, i // grid.column_tiles): rows for i, rows in enumerate(grid.rows)}
    return sum(blocks.values())


def _results(operation: Mvm, hw: Hardware) -> float:
    """Results of all crossbars for one vector, one for each output and row tile."""
    return sum(operation.grid.columns) / hw.weight_columns(operation.layer.weight_quant.bits)


def _results_passed_on(grid: TileGrid, layer: WeightedLayer, hw: Hardware) -> float:
    """Partial sums of one vector that go on to the next tile: all but the last tile of each column of crossbars."""
    if grid.row_tiles == 1:
        return 0.0
    per_tile, group = hw.tile.n_crossbars, grid.row_tiles * grid.column_tiles
    columns = {(i // per_tile, i // group, i % grid.column_tiles): n for i, n in enumerate(grid.columns)}
    ends = {(i // group, i % grid.column_tiles): n for i, n in enumerate(grid.columns)}
    return (sum(columns.values()) - sum(ends.values())) / hw.weight_columns(layer.weight_quant.bits)


def _finished(operation: Mvm, hw: Hardware) -> float:
    """Outputs of one vector that an operation completes: all in the last pass, or its own where nothing is added."""
    if operation.grid.row_tiles == 1:
        return _results(operation, hw)
    return 0 if operation.partial else operation.layer.channels


def _touched(operation: Mvm, hw: Hardware) -> float:
    """Outputs of one vector to which a pass contributes."""
    layer, grid = operation.layer, operation.grid
    n_groups = -(-grid.crossbars // (grid.row_tiles * grid.column_tiles))
    return min(_results(operation, hw), layer.channels // layer.groups * min(n_groups, layer.groups))


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
