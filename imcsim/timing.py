"""Recipes: what one operation asks of each resource, vector by vector, and the actions that it performs.

Everything below one vector (input phases, column multiplexing, conversions, shift-add, wordline groups) is closed form
here, because nothing contends for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from imcsim import streams
from imcsim.dataflow import steps
from imcsim.engine.contract import Resource
from imcsim.floorplan import lanes
from imcsim.hardware import Hardware
from imcsim.plan import BasisMvm, Digital, Load, Mvm, Program, Source, TileGrid
from imcsim.steps import Step, bus_step, digital_step, dram_step, n_bytes, partial_bytes
from imcsim.workload import (
    Concat,
    Conv,
    GlobalPool,
    Layer,
    Linear,
    MatMul,
    Normalisation,
    Pool,
    Reshape,
    Slice,
    Softmax,
    Unknown,
    Workload,
    n_macs,
)

Actions = Mapping[tuple[str, str], float]

OPERATIONS_PER_ELEMENT = {"layer": 5, "lrn": 5, "rms": 4, "batch": 2}  # counting rule for normalisations, by function
SOFTMAX_OPERATIONS = 3  # exponential, sum, division


@dataclass(frozen=True)
class Recipe:
    """``actions``: amounts of all vectors of one image, or of the phase where ``per_image`` is false."""

    n_vectors: int
    steps: tuple[Step, ...]
    actions: Actions
    per_image: bool = True


@dataclass(frozen=True)
class Context:
    """What recipes depend on beside the operation."""

    hardware: Hardware
    workload: Workload
    seed: int = 0
    sampled_writes: bool = False  # draw each crossbar's write time instead of taking the expected one


@singledispatch
def recipe(operation: object, context: Context) -> Recipe:
    """The recipe of an operation of a plan."""
    raise TypeError(f"no recipe for {type(operation).__name__}")


# -- crossbars ---------------------------------------------------------------------------------------------------------


@recipe.register
def _(operation: Mvm, context: Context) -> Recipe:
    """Fetch the window, evaluate and convert all phases, add partial sums, write back."""
    hw, layer, grid = context.hardware, operation.layer, operation.grid
    bits, lane = layer.input_quant.bits, lanes(operation.region, hw)
    hold = max(hw.input_phases(bits, rows) * hw.phase_cycles(columns) for rows, columns, _ in grid.kinds)
    fill = hw.phase_cycles(max(grid.columns)) + hw.crossbar.shift_add_cycles
    results = sum(grid.columns) / hw.weight_columns(layer.weight_quant.bits)
    adds = results * (grid.row_tiles - 1) / grid.row_tiles
    outputs = 0 if operation.partial else layer.channels
    work = adds + outputs * (1 + len(operation.absorbed))
    in_bytes = n_bytes(layer, _inputs_per_tile(grid.rows, grid.column_tiles, hw))
    out_bytes = results * partial_bytes(layer, hw) if operation.partial else n_bytes(layer, outputs)
    crossbars = _crossbar_steps(operation, hold, fill, hw)
    stages = (
        *bus_step(in_bytes, lane, hw),
        *crossbars,
        *digital_step(work, 0, lane, hw),
        *bus_step(out_bytes / lane.tiles, lane, hw),
    )
    per_vector = {
        **_read_actions(grid, layer, hw),
        ("output_register", "byte"): results * partial_bytes(layer, hw),
        ("buffer", "read_byte"): in_bytes * lane.tiles,
        ("buffer", "write_byte"): out_bytes,
        ("bus", "byte"): in_bytes * lane.tiles + out_bytes,
        ("digital", "op"): work,
    }
    return Recipe(layer.positions, stages, _times(per_vector, layer.positions))


def _crossbar_steps(operation: Mvm, hold: int, fill: int, hw: Hardware) -> tuple[Step, ...]:
    """The crossbar group, and the ADC pool behind it where crossbars share one.

    With private ADCs conversion is part of the group's time. With a pool, the group passes its first phase on after one
    evaluation and the pool converts the phases of all its crossbars in turn.
    """
    layer, grid, region = operation.layer, operation.grid, operation.region
    period, sharing = hw.period_ps, hw.tile.adc.sharing
    group = Resource(f"crossbars[{layer.name}]", "crossbar", region.copies)
    if sharing.kind == "private":
        return (Step(group, hold * period, (hold + fill) * period),)
    crowd = min(sharing.crossbars_per_pool, region.crossbars)
    phases = hw.input_phases(layer.input_quant.bits, max(grid.rows))
    convert = phases * hw.phase_cycles(crowd * max(grid.columns))
    small = region.total < sharing.crossbars_per_pool
    count = 1 if small else max(1, region.total // max(sharing.crossbars_per_pool, region.crossbars))
    pool_name = f"adc[{region.first // sharing.crossbars_per_pool if small else layer.name}]"
    evaluate = hw.cycles(hw.crossbar.evaluate_ns)
    pool = Step(Resource(pool_name, "adc", count), convert * period, (convert + hw.crossbar.shift_add_cycles) * period)
    return (Step(group, max(hold, convert) * period, evaluate * period), pool)


def _inputs_per_tile(rows: tuple[int, ...], column_tiles: int, hw: Hardware) -> int:
    """Distinct inputs that the bus of one tile carries: crossbars of one block row share theirs."""
    on_tile = min(len(rows), hw.tile.n_crossbars)
    return min(math.ceil(sum(rows) / column_tiles), max(rows) * math.ceil(on_tile / column_tiles))


def _read_actions(grid: TileGrid, layer: Layer, hw: Hardware) -> Actions:
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


@recipe.register
def _(operation: Program, context: Context) -> Recipe:
    """One vector is one crossbar of one copy; it holds a share of the write power for as long as its rows take."""
    hw, grid, copies = context.hardware, operation.grid, operation.region.copies
    write, unchanged = hw.cell.write, operation.unchanged_frac
    if context.sampled_writes:
        random = streams.rng(context.seed, "write", operation.name)
        sizes = np.repeat(np.array([grid.rows, grid.columns]), copies, axis=1).T.tolist()
        times_ns = [write.sample_time_ns(rows, columns, unchanged, random) for rows, columns in sizes]
    else:
        known = {(rows, columns): write.time_ns(rows, columns, unchanged) for rows, columns, _ in grid.kinds}
        times_ns = [known[size] for size in zip(grid.rows, grid.columns, strict=True) for _ in range(copies)]
    rounded = {time_ns: hw.cycles(time_ns) * hw.period_ps for time_ns in set(times_ns)}
    time_ps = np.array([rounded[time_ns] for time_ns in times_ns], np.int64)
    driver = Resource("write", "write", write.crossbars_at_once(hw.n_crossbars))
    moved = sum(weight_bytes(operation, hw)) * copies
    actions: dict[tuple[str, str], float] = defaultdict(float, {("bus", "byte"): moved, ("buffer", "read_byte"): moved})
    for (rows, columns, cells), n in grid.kinds.items():
        for action, amount in write.amounts(rows, columns, cells, unchanged).items():
            actions["cell", action] += amount * n * copies
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


@recipe.register
def _(operation: BasisMvm, context: Context) -> Recipe:
    """One segment: broadcast its rows to a basis copy, convert, combine."""
    hw, layer, basis, segments = context.hardware, operation.layer, operation.basis, operation.segments
    lane, count = lanes(operation.region, hw), operation.segments.count
    digits, c_b = -(-layer.input_quant.bits // hw.crossbar.dac_bits), hw.weight_columns(basis.basis_bits)
    masks = segments.kernels * basis.coeff_bits if basis.sum == "analog" else basis.vectors
    columns = masks * c_b
    tau = hw.phase_cycles(-(-columns // operation.region.crossbars))
    slots = np.array(segments.slots or (1,) * count, np.int64)
    evaluate = hw.cycles(hw.crossbar.evaluate_ns)
    cycles = digits * (np.maximum(tau, slots * evaluate) if basis.sum == "analog" else np.full(count, tau))
    rows = layer.rows * layer.groups / count
    macs = segments.kernels * basis.nonzeros if basis.sum == "digital" else 0
    adds = 0 if basis.sum == "digital" else segments.kernels * (count - 1) / count
    work = adds + layer.channels * (1 + len(operation.absorbed)) / count
    crossing = int(slots.max()) if segments.slots and basis.sum == "digital" else 0
    alike = bool((cycles == cycles[0]).all())
    hold = int(cycles[0]) * hw.period_ps if alike else np.tile(cycles, layer.positions) * hw.period_ps
    fill = (tau + hw.crossbar.shift_add_cycles) * hw.period_ps
    group = Step(Resource(f"basis[{lane.key}]", "crossbar", operation.region.copies), hold, hold + fill)
    in_bytes, out_bytes = n_bytes(layer, rows), n_bytes(layer, layer.channels / count)
    coefficients = segments.kernels * basis.nonzeros * basis.coefficient_bits / 8
    stages = (
        *bus_step(in_bytes, lane, hw),
        group,
        *digital_step(work, macs, lane, hw, crossing),
        *bus_step(out_bytes, lane, hw),
    )
    per_segment = {
        ("input_register", "byte"): in_bytes,
        ("dac", "drive"): digits * rows * (slots.mean() if basis.sum == "analog" else 1),
        ("array", "read"): digits * rows * c_b * (segments.selected if basis.sum == "analog" else basis.vectors),
        ("sample_hold", "hold"): digits * columns,
        ("adc", "convert"): digits * columns,
        ("shift_add", "add"): digits * columns,
        ("output_register", "byte"): masks * partial_bytes(layer, hw),
        ("buffer", "read_byte"): in_bytes + coefficients,
        ("buffer", "write_byte"): out_bytes,
        ("bus", "byte"): in_bytes + out_bytes,
        ("digital", "op"): work,
        ("digital", "mac"): macs,
    }
    return Recipe(layer.positions * count, stages, _times(per_segment, layer.positions * count))


# -- digital units and DRAM --------------------------------------------------------------------------------------------


@recipe.register
def _(operation: Digital, context: Context) -> Recipe:
    hw, layer = context.hardware, operation.layer
    inputs = [context.workload.by_name[name] for name in layer.inputs]
    count = steps(layer, inputs)
    work = (digital_operations(layer, inputs) + sum(other.elements for other in operation.absorbed)) / count
    macs = n_macs(layer) / count
    lane = lanes(operation.region, hw)
    moved = 0.0 if isinstance(layer, Reshape | Slice | Concat | Unknown) else 1.0
    actions = {
        ("digital", "op"): work,
        ("digital", "mac"): macs,
        ("buffer", "read_byte"): moved * n_bytes(layer, sum(source.elements for source in inputs) / count),
        ("buffer", "write_byte"): moved * n_bytes(layer, layer.elements / count),
    }
    return Recipe(count, digital_step(work, macs, lane, hw), _times(actions, count))


def digital_operations(layer: Layer, inputs: list[Layer]) -> float:
    """Element-wise operations of a layer: a counting rule, one per element and input where nothing else is said."""
    match layer:
        case Pool():
            return layer.elements * math.prod(layer.window.kernel)
        case GlobalPool():
            return inputs[0].elements
        case Normalisation():
            return layer.elements * OPERATIONS_PER_ELEMENT.get(layer.function, 2)
        case Softmax():
            return layer.elements * SOFTMAX_OPERATIONS
        case Reshape() | Slice() | Concat() | Unknown():
            return 0
        case Conv() | Linear() | MatMul():
            return layer.elements  # requantisation of each result
    return layer.elements * len(inputs)


@recipe.register
def _(operation: Source, context: Context) -> Recipe:
    layer = operation.layer
    rows = layer.output_shape[1] if len(layer.output_shape) == 3 else layer.positions
    size = n_bytes(layer, layer.elements)
    actions = {("dram", "byte"): size, ("buffer", "write_byte"): size}
    return Recipe(rows, dram_step(size / rows, context.hardware), actions)


@recipe.register
def _(operation: Load, context: Context) -> Recipe:
    actions = {("dram", "byte"): operation.n_bytes, ("buffer", "write_byte"): operation.n_bytes}
    return Recipe(1, dram_step(operation.n_bytes, context.hardware), actions, operation.per_image)


def _times(actions: Actions, count: int) -> Actions:
    """Amounts of ``count`` vectors, without the actions that do not happen."""
    total: dict[tuple[str, str], float] = defaultdict(float)
    for key, amount in actions.items():
        if amount:
            total[key] += float(amount) * count
    return dict(total)
