"""Do simulated cycles and amounts equal the closed forms, for every scheme, over random layers, chips and batches?"""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.mapping.plan import Program
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.execution import Execution
from imcsim.workload.workload import Workload
from tests.support.closed_forms import Layer
from tests.support.networks import conv, ideal_chip, image, network, one_conv, residual
from tests.support.runs import simulated

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 80), st.integers(1, 9), st.sampled_from([1, 3]))
BATCHES = st.integers(1, 5)
TILES = st.integers(1, 12)
BITS_PER_CELL = st.integers(1, 8)


def traced(
    workload: Workload, tiles: int, scheme: str, batch: int, write: str = "ideal_single", bits_per_cell: int = 2,
    **options: object,
) -> Execution:  # fmt: skip
    chip = ideal_chip(write=write, chip__n_tiles=tiles, crossbar__bits_per_cell=bits_per_cell)
    request = RunSpec(workload, chip, scheme, batch, options)
    return simulated(request)


def layer_of(size: tuple[int, int, int, int], bits_per_cell: int = 2) -> tuple[Workload, Layer]:
    (c_in, c_out, width, kernel), c_w = size, 2 * ceil(8 / bits_per_cell)
    return one_conv(c_in, c_out, width, kernel), Layer(c_in * kernel**2, c_out, width**2, c_w=c_w)


def cycles(trace: Execution) -> int:
    return trace.makespan_ps // trace.hardware.period_ps


def amount(trace: Execution, component: str, action: str) -> float:
    return sum(n for (_, c, a), n in trace.amounts().items() if (c, a) == (component, action))


def cells_written(trace: Execution) -> float:
    programs = [op for op in trace.plan.operations() if isinstance(op, Program)]
    return sum(sum(op.grid.cells) * op.region.copies * (1 - op.unchanged_frac) for op in programs)


def write_cycles(layer: Layer) -> int:
    """ideal_single: 50 ns for each row of the tallest crossbar."""
    return 5 * min(layer.k, layer.r)


@given(SIZES, TILES, BATCHES, BITS_PER_CELL)
@settings(max_examples=60, deadline=None)
def test_static(size: tuple[int, int, int, int], tiles: int, batch: int, bits_per_cell: int) -> None:
    workload, layer = layer_of(size, bits_per_cell)
    enough = ceil(layer.crossbars / 8) + tiles
    trace = traced(workload, enough, "static", batch, bits_per_cell=bits_per_cell)
    copies = min(enough * 8 // layer.crossbars, layer.p)
    assert cycles(trace) == layer.static_cycles(batch, copies)
    assert amount(trace, "adc", "convert") == batch * layer.conversions
    assert not cells_written(trace)


@given(SIZES, TILES, BATCHES, BITS_PER_CELL)
@settings(max_examples=60, deadline=None)
def test_reprogram_layer_by_layer(size: tuple[int, int, int, int], tiles: int, batch: int, bits_per_cell: int) -> None:
    workload, layer = layer_of(size, bits_per_cell)
    trace = traced(workload, tiles, "reprogram", batch, bits_per_cell=bits_per_cell)
    bars = tiles * 8
    writes = layer.reprogram_cycles(batch, bars, write_cycles(layer))
    if layer.crossbars <= bars:
        assert cycles(trace) == writes
        copies = min(bars // layer.crossbars, batch * layer.p)
        assert cells_written(trace) == layer.cells * copies
    else:  # passes with fewer rows are written faster, with fewer columns converted faster
        assert cycles(trace) <= writes
        assert cells_written(trace) == layer.cells
    assert amount(trace, "adc", "convert") == pytest.approx(batch * layer.conversions)
    assert amount(trace, "cell", "pulse") == pytest.approx(cells_written(trace))


@given(SIZES, st.integers(1, 10), BATCHES)
@settings(max_examples=60, deadline=None)
def test_broadcast_basis(size: tuple[int, int, int, int], tiles: int, batch: int) -> None:
    workload, layer = layer_of(size)
    trace = traced(workload, tiles, "basis_broadcast", batch)
    assert cycles(trace) == layer.broadcast_cycles(batch, tiles * 8)
    assert amount(trace, "adc", "convert") == batch * layer.broadcast_conversions()
    assert amount(trace, "digital", "mac") == batch * layer.broadcast_macs(8)
    assert trace.plan.facts["coefficient_bytes"] == ceil(layer.coefficient_bits(8, 4) / 8)
    assert not cells_written(trace)


@given(SIZES, BATCHES)
@settings(max_examples=40, deadline=None)
def test_exclusive_basis(size: tuple[int, int, int, int], batch: int) -> None:
    workload, layer = layer_of(size)
    trace = traced(workload, 4, "basisn_inferred", batch)
    assert amount(trace, "adc", "convert") == batch * layer.exclusive_conversions(4)
    slots = trace.plan.facts["slots_first_fit"]
    assert slots >= trace.plan.facts["slots_lower_bound"]
    adc = ceil(round(layer.n * 4 * 8 / 8 * 10 / 128, 9))
    least = ceil(batch * layer.p / 4) * 8 * max(slots, adc * layer.segments()) / 1
    assert cycles(trace) >= least * 0.99 - 8 * max(slots, adc)


@given(
    st.lists(st.tuples(st.integers(1, 64), st.sampled_from([1, 3])), min_size=1, max_size=5), st.integers(1, 6), BATCHES
)
@settings(max_examples=40, deadline=None)
def test_packed_partitions_cost_their_writes_and_their_layers(
    shape: list[tuple[int, int]], tiles: int, batch: int
) -> None:
    layers, workload = _chain(shape)
    trace = traced(workload, tiles, "reprogram", batch, grouping="packed", layers="serial")
    if any(layer.crossbars > tiles * 8 for layer in layers):
        return
    compute = sum(layer.static_cycles(batch, 1) for layer in layers)
    writes = sum(
        result.makespan_ps
        for job, result in zip(trace.jobs, trace.results, strict=True)
        if job.name.startswith("write")
    )
    assert cycles(trace) == compute + writes // trace.hardware.period_ps
    assert cells_written(trace) == sum(layer.cells for layer in layers)


@given(st.lists(st.tuples(st.integers(1, 64), st.sampled_from([1, 3])), min_size=1, max_size=5), BATCHES)
@settings(max_examples=40, deadline=None)
def test_a_static_pipeline_lies_between_its_slowest_layer_and_the_sum(shape: list[tuple[int, int]], batch: int) -> None:
    layers, workload = _chain(shape)
    tiles = ceil(sum(layer.crossbars for layer in layers) / 8)
    trace = traced(workload, tiles, "static", batch, replication="none")
    serial = traced(workload, tiles, "static", batch, replication="none", layers="serial")
    assert cycles(serial) == sum(layer.static_cycles(batch, 1) for layer in layers)
    slowest = max(layer.static_cycles(batch, 1) for layer in layers)
    assert slowest <= cycles(trace) <= cycles(serial)


@pytest.mark.parametrize("scheme", ["reprogram", "basis_broadcast", "digital"])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_cycles_are_writes_over_batch_plus_compute(scheme: str, batch: int) -> None:
    """cyc(B) = W / B + c_inf, as far as positions divide among the copies."""
    trace = traced(residual(16, 8), 1, scheme, batch, "ember2b_word")
    one = traced(residual(16, 8), 1, scheme, 1, "ember2b_word")
    writes = sum(r.makespan_ps for j, r in zip(one.jobs, one.results, strict=True) if j.name.startswith("write"))
    fills = 12 * one.hardware.period_ps * len(one.jobs)
    assert trace.makespan_ps - writes == pytest.approx(batch * (one.makespan_ps - writes), abs=batch * fills, rel=0.02)


def test_double_buffering_hides_the_shorter_of_write_and_compute() -> None:
    _, workload = _chain([(32, 3), (32, 3), (32, 3)])
    plain = traced(workload, 1, "reprogram", 4, grouping="packed")
    two_banks = traced(workload, 2, "reprogram", 4, grouping="packed", overlap=True)
    names = [job.name for job in two_banks.jobs]
    assert [name.startswith("write") for name in names] == [True] + [False] * (len(names) - 1)
    assert two_banks.makespan_ps < plain.makespan_ps
    assert cells_written(two_banks) == cells_written(plain)


def test_differential_writing_skips_unchanged_cells() -> None:
    full = traced(one_conv(32, 16, 4), 4, "reprogram", 1, "radar2b_serial")
    skipped = traced(one_conv(32, 16, 4), 4, "reprogram", 1, "radar2b_serial", differential=True)
    assert cells_written(skipped) == 0.75 * cells_written(full)
    assert amount(skipped, "cell", "pulse") == pytest.approx(0.75 * amount(full, "cell", "pulse"))
    assert skipped.makespan_ps < 0.8 * full.makespan_ps


def _chain(shape: list[tuple[int, int]]) -> tuple[list[Layer], Workload]:
    """Convolutions in a row on 5 x 5 positions; ``shape``: (channels, kernel) of each."""
    stack, layers, before = [image(3, 5)], [], 3
    for i, (channels, kernel) in enumerate(shape):
        stack.append(conv(f"conv{i}", stack[-1].name, (before, channels), 5, kernel))
        layers.append(Layer(before * kernel**2, channels, 25))
        before = channels
    return layers, network(*stack)
