"""Is a step of training what its closed forms say, on every engine, and does it refuse what it cannot do?"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.experiments.run import execute
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.figures_of_merit import mvm_energy_pj, mvm_latency_ns
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.hardware.update_circuit import UpdateCircuit, load_circuit
from imcsim.mapping.plan import AccumulatorUpdate, OuterProduct, Region, TransposeMvm
from imcsim.mapping.tiling import cut
from imcsim.mapping.update_rates import UpdateRates, assumed_rates, load_rates
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing import engine
from imcsim.timing.compile import compile_plan
from imcsim.timing.engine.contract import UNLIMITED, Job, Stage
from imcsim.timing.recipes import Context, recipe
from imcsim.timing.recipes.steps import n_bytes
from imcsim.timing.recipes.transpose_mvm import scattered
from imcsim.timing.recipes.update import row_ns
from imcsim.training.step.anchor import full_products
from imcsim.training.step.calibration import simulate_calibration
from imcsim.training.step.events import EVENTS
from imcsim.training.step.gradients import backward
from imcsim.training.step.options import StepOptions
from imcsim.training.step.plan import TrainingPlan, training_plan
from imcsim.training.step.prices import ROWS_ADC, price_table, with_shared_converters
from imcsim.training.step.report import StepReport
from imcsim.training.step.step import assumed_for, train_step
from imcsim.util import units
from imcsim.util.errors import ImcsimError
from imcsim.workload.layers import (
    Activation,
    Concat,
    Conv,
    Elementwise,
    GlobalPool,
    Layer,
    Linear,
    MatMul,
    Pool,
    Slice,
    Window,
)
from imcsim.workload.workload import Workload, load_workload, n_macs
from tests.conftest import Outcome
from tests.support.networks import conv, image, linear, network, residual
from tests.support.ticking import Ticking
from tests.timing.test_engine import assert_same_times, assert_same_totals, most_at_once

HERMES = load_hardware("hermes-64")
CIRCUIT = load_circuit("pcm_binary")
RATES = UpdateRates(1.25, 1.0, 0.01, 0.5, 2.0, 0.25, 3.0, "made for a test")
POOLED = {"tile.n_crossbars": 2, "tile.adc.sharing.kind": "pooled", "tile.adc.sharing.crossbars_per_pool": 2,
          "tile.adc.sharing.n_per_pool": 8}  # fmt: skip


def small_chip(**overrides: object) -> Hardware:
    """Return 16 tiles with a crossbar of 16 x 16 pairs and 8 converters, 3 ns to settle and 2 ns to convert."""
    size = {"chip.n_tiles": 16, "crossbar.rows": 16, "crossbar.columns": 16, "crossbar.wordlines_active": 16,
            "crossbar.evaluate_ns": 3, "tile.adc.convert_ns": 2, "tile.adc.sharing.n_per_crossbar": 8}  # fmt: skip
    if "tile.adc.sharing.kind" in overrides:
        del size["tile.adc.sharing.n_per_crossbar"]
    return load_hardware("hermes-64", size | overrides)


def strided(name: str, source: str, channels: tuple[int, int], size: int, kernel: int, stride: int = 1) -> Conv:
    """Return a square convolution that leaves ``size`` positions on a side."""
    window = Window(kernel=(kernel,) * 2, stride=(stride,) * 2, padding=(kernel // 2,) * 4, dilation=(1, 1))
    return Conv(name=name, inputs=(source,), output_shape=(channels[1], size, size), in_channels=channels[0],
                window=window)  # fmt: skip


def act(name: str, source: Layer) -> Activation:
    return Activation(name=name, inputs=(source.name,), output_shape=source.output_shape, function="relu")


def add(name: str, one: Layer, other: Layer) -> Elementwise:
    return Elementwise(name=name, inputs=(one.name, other.name), output_shape=one.output_shape, function="add")


def tiny(channels: int = 3, size: int = 3) -> Workload:
    """Build a convolution with an activation, a residual block with a stride, a pooling and a classifier."""
    first = conv("a", "image", (2, channels), size)
    relu = act("a/relu", first)
    second = conv("b", "a/relu", (channels, channels), size)
    both = add("sum", second, relu)
    third = strided("c", "sum", (channels, 4), -(-size // 2), 3, 2)
    pool = GlobalPool(name="pool", inputs=("c",), output_shape=(4,), mode="avg")
    last = Linear(name="fc", inputs=("pool",), output_shape=(5,), in_channels=4)
    return network(image(2, size), first, relu, second, both, third, pool, last, name="tiny")


def planned(workload: Workload, chip: Hardware, options: StepOptions, circuit: UpdateCircuit = CIRCUIT) -> TrainingPlan:
    return training_plan(workload, chip, options, {layer.name: RATES for layer in workload.weighted}, circuit)


def compiled(workload: Workload, chip: Hardware, options: StepOptions, circuit: UpdateCircuit = CIRCUIT) -> list[Job]:
    training = planned(workload, chip, options, circuit)
    shared = with_shared_converters(chip) if options.transpose_adc == "shared" else chip
    return list(compile_plan(training.plan, Context(shared, training.workload), options.batch).jobs)


def stepped(
    workload: Workload, chip: Hardware, rates: Mapping[str, UpdateRates] | None = None, **options: Any
) -> StepReport:
    known = rates or {layer.name: RATES for layer in workload.weighted}
    return train_step(workload, chip, StepOptions(**{"batch": 2, **options}), known)


# -- anchors -----------------------------------------------------------------------------------------------------------


def test_a_full_product_of_hermes_takes_what_the_paper_says_both_ways() -> None:
    """131,072 operations at 63.1 / 64 TOPS and 9.76 TOPS/W."""
    products, operations = full_products(HERMES), 2 * 256 * 256
    for product in products.values():
        assert (product.rows, product.columns) == (256, 256)
        assert product.time_ns == 133 == round(operations / (63.1 / 64) / 1000)
        assert product.energy_pj / 1000 == pytest.approx(operations / 9.76 / 1000, rel=1e-3)
        assert round(product.energy_pj / 1000, 1) == 13.4
    assert products["forward"].energy_pj == pytest.approx(mvm_energy_pj(HERMES, HERMES.precision), rel=1e-12)
    assert products["forward"].time_ns == mvm_latency_ns(HERMES, HERMES.precision)


def resnet32_projected() -> Workload:
    """Build 16, 28 and 56 channels, five blocks of each, 1 x 1 projections where the channels change."""
    layers: list[Layer] = [image(3, 32), strided("first", "image", (3, 16), 32, 3)]
    before, size = 16, 32
    for stage, channels in enumerate((16, 28, 56)):
        for block in range(5):
            stride = 2 if stage and not block else 1
            size //= stride
            name, source = f"{stage}.{block}", layers[-1]
            one = strided(f"{name}.1", source.name, (before, channels), size, 3, stride)
            two = strided(f"{name}.2", one.name, (channels, channels), size, 3)
            skip: list[Layer] = [strided(f"{name}.skip", source.name, (before, channels), size, 1, 2)] * (stride > 1)
            layers += [one, two, *skip, add(f"{name}.sum", two, skip[0] if skip else source)]
            before = channels
    pool = GlobalPool(name="pool", inputs=(layers[-1].name,), output_shape=(56,), mode="avg")
    return network(*layers, pool, Linear(name="fc", inputs=("pool",), output_shape=(10,), in_channels=56))


def test_counts_of_the_network_with_projections() -> None:
    """33 convolutions, 361,712 weights, 43 crossbars; products are of one crossbar each, so wide layers count twice."""
    workload = resnet32_projected()
    report = train_step(workload, HERMES, StepOptions(batch=1))
    assert sum(isinstance(layer, Conv) for layer in workload.layers) == 33
    assert report.counts["weights"] == 361_712
    assert report.summary["crossbars_used"] == 43
    assert report.counts["forward_products_per_image"] == 15_361
    assert report.counts["transposed_products_per_image"] == 15_361 - 32 * 32  # none of the first layer
    assert report.counts["outer_macs_per_image"] == pytest.approx(58.7e6, rel=1e-3)
    assert report.counts["flips_per_update"] / report.counts["weights"] == pytest.approx(2507 / 1200, rel=1e-9)
    assert report.counts["carry_pulses_per_update"] == pytest.approx(3000, rel=1e-9)


# -- engines -----------------------------------------------------------------------------------------------------------

VARIANTS = [
    {}, {"update": "sample"}, {"transpose_adc": "shared"}, {"outer": "pulses", "pulse_length": 3},
    {"accumulator": "sram"}, {"accumulator": "dram", "update": "sample"},
]  # fmt: skip
QUICK = CIRCUIT.model_copy(
    update={
        "accumulator": CIRCUIT.accumulator.model_copy(update={"read_ns": 1.0, "set_ns": 2.0, "reset_ns": 1.0}),
        "pair": CIRCUIT.pair.model_copy(update={"read_ns": 1.0, "set_ns": 2.0, "reset_ns": 1.0}),
    }
)


def in_cycles(job: Job, period_ps: int) -> Job:
    """Return the same job with a clock cycle as the unit of time, so that time can be ticked through."""

    def scaled(times_ps: Any) -> Any:
        assert (np.asarray(times_ps) % period_ps == 0).all()
        return times_ps // period_ps

    def shortened(stage: Stage) -> Stage:
        return replace(stage, hold_ps=scaled(stage.hold_ps), latency_ps=scaled(stage.latency_ps))

    ops = (replace(op, stages=tuple(map(shortened, op.stages))) for op in job.operations)
    return replace(job, operations=tuple(ops))


CASES = [({}, options) for options in VARIANTS]
CASES += [(POOLED, {}), (POOLED, VARIANTS[2]), ({"tile.buffer.capacity_bytes": 64}, {})]


@pytest.mark.parametrize(("chip", "options"), CASES, ids=str)
def test_engines_and_oracle_agree_on_steps(chip: dict[str, Any], options: dict[str, Any]) -> None:
    hardware = small_chip(**chip, **{"chip.dram.latency_ns": 5})
    n_images = 1 if options.get("update") == "sample" else 2
    for job in compiled(tiny(2, 2), hardware, StepOptions(batch=2, **options), QUICK):
        short = in_cycles(job, hardware.period_ps)
        oracle = Ticking(short, n_images)
        for name in engine.ENGINES:
            result = engine.run(short, n_images, name, extrapolate=False)
            assert_same_times(result, oracle)
            assert_same_totals(result, oracle)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_both_engines_report_the_same_step(options: dict[str, Any]) -> None:
    fast, readable = (
        train_step(tiny(), small_chip(), StepOptions(batch=3, **options), engine=name).summary
        for name in ("fast", "simpy")
    )
    assert fast.pop("engine") != readable.pop("engine")
    assert fast == readable


def test_extrapolated_images_are_those_that_would_have_been_simulated() -> None:
    job = compiled(residual(8, 4), small_chip(), StepOptions(batch=60))[0]
    short = engine.run(job, 60)
    assert short.n_simulated < 60
    assert_same_totals(short, engine.run(job, 60, extrapolate=False))


# -- time --------------------------------------------------------------------------------------------------------------


def test_forward_and_transposed_products_share_their_crossbars() -> None:
    (job, _) = compiled(tiny(), small_chip(), StepOptions(batch=4))
    result = engine.run(job, 4, extrapolate=False)
    used = {name: {s.resource for s in op.stages if job.resources[s.resource].kind == "crossbar"}
            for op in job.operations for name in [op.name]}  # fmt: skip
    assert used["b"] == used["error of a/relu by b"]
    assert used["c"] == used["error of sum by c"]
    for number, resource in enumerate(job.resources):
        if resource.capacity != UNLIMITED:
            assert most_at_once(job, result, number) <= resource.capacity


@pytest.mark.parametrize("update", ["batch", "sample"])
@pytest.mark.parametrize("name", engine.ENGINES)
def test_an_update_begins_with_the_end_of_the_last_outer_product(update: str, name: str) -> None:
    """Nothing of it is granted before, and the first of it at that instant; each slot more puts it off by as much."""
    chip = small_chip()
    ends = []
    for slots in (200, 201):
        options = StepOptions(batch=1, update=update, outer="pulses", pulse_length=slots)
        training = planned(tiny(), chip, options)
        back, change = compile_plan(training.plan, Context(chip, training.workload), 1).jobs
        first, second = engine.run(back, 1, name), engine.run(change, 1, name)
        outer = [op.name for op in training.plan.operations() if isinstance(op, OuterProduct)]
        done = [int(t.end_ps.max()) for op, t in zip(back.operations, first.times, strict=True) if op.name in outer]
        start = first.makespan_ps + min(int(times.start_ps.min()) for times in second.times)
        assert start == max(done) == first.makespan_ps
        ends.append(start)
    assert ends[1] - ends[0] == 9 * chip.period_ps  # the nine positions of the layer that ends last, one behind another


def test_time_of_a_row_by_hand() -> None:
    """16 weights, 1.25 bits of each set and 1 reset: 20 and 16 pulses; 0.9 mA are 6 SET or 3 RESET pulses at once."""
    layer = linear("a", "x", 16, 16)
    chip, circuit = small_chip(), CIRCUIT.model_copy(update={"row_current_ma": 0.9})
    update = AccumulatorUpdate(
        name="u", layer="a", grid=cut(layer, chip), region=Region(0, 1), weight_bits=8, rates=RATES, circuit=circuit,
        after=None, per_image=False, store="pcm", bits=7,
    )  # fmt: skip
    assert row_ns(update, 16) == 133 + 5 + 4 * 150 + 6 * 40
    asked = recipe(update, Context(chip, network(linear_input(16), layer)))
    assert asked.steps[0].hold_ps.tolist() == [16 * (133 + 5 + 600 + 240) * 1000]
    assert row_ns(replace(update, rates=replace(RATES, bits_set=0.0, bits_reset=0.0)), 16) == 133 + 5


def linear_input(features: int) -> Layer:
    from imcsim.workload.layers import Input

    return Input(name="x", inputs=(), output_shape=(features, 1))


def test_carries_and_refresh_follow_on_each_crossbar() -> None:
    (_, job) = compiled(network(image(3, 2), conv("a", "image", (3, 20), 2)), small_chip(), StepOptions(batch=20))
    result = engine.run(job, 1)
    accumulate, carry, refresh = result.times
    assert [op.name for op in job.operations] == ["accumulate a", "carry a", "refresh a"]
    for before, after in ((accumulate, carry), (carry, refresh)):  # not before the crossbars in front of it
        assert (after.start_ps[0, 0] == np.maximum.accumulate(before.end_ps[0])).all()
    rows, weights = np.array([16, 16, 11, 11]), np.array([16, 4, 16, 4])
    assert (carry.end_ps[0] - carry.start_ps[0, 0]).tolist() == (rows * 0.5 * 2 * 150 * 1000).tolist()
    pair_ns = 2 * 133 + 2 * 40 + 3 * (150 + 133)
    expected = rows * (2 * 133 + 0.25 * weights * pair_ns) / 10
    assert (refresh.end_ps[0] - refresh.start_ps[0, 0]).tolist() == (np.ceil(expected) * 1000).tolist()


def test_a_sample_drains_the_pipeline() -> None:
    """A step of n samples takes n times the step of one, and none takes less than its place in a batch."""
    one, four = (stepped(tiny(), small_chip(), batch=n, update="sample", refresh_every=4 // n) for n in (1, 4))
    assert four.step_s == pytest.approx(4 * one.step_s, rel=1e-12)
    batch = stepped(tiny(), small_chip(), batch=1, refresh_every=4)
    assert one.step_s == batch.step_s


# -- work --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("update", "batch"), [("batch", 3), ("sample", 3), ("batch", 1)])
@pytest.mark.parametrize("accumulator", ["pcm", "sram", "dram"])
def test_amounts_of_updates_are_their_closed_forms(update: str, batch: int, accumulator: str) -> None:
    workload = tiny()
    report = stepped(workload, small_chip(), batch=batch, update=update, accumulator=accumulator)
    counted = totals(report, "update")
    updates, w = (batch if update == "sample" else 1), workload.n_weights
    between = 10 * (batch if update == "sample" else 1)
    expected = {
        ("pair", "set"): updates * w * (0.01 + 0.25 * 3 / between),
        ("pair", "reset"): updates * w * 2 * 0.25 / between,
        ("pair", "read"): updates * w * (2 + 0.25 * (2 + 3)) / between,
    }
    if accumulator == "pcm":
        expected |= {("accumulator", "read"): 7 * updates * w, ("accumulator", "set"): 1.25 * updates * w,
                     ("accumulator", "reset"): updates * w, ("digital", "op"): updates * w,
                     ("buffer", "read_byte"): 4 * updates * w, ("bus", "byte"): 4 * updates * w}  # fmt: skip
    else:
        inside = accumulator == "sram"
        expected |= {("digital", "op"): 2 * updates * w, ("buffer", "read_byte"): (8 if inside else 4) * updates * w,
                     ("bus", "byte"): (12 if inside else 4) * updates * w}  # fmt: skip
        place = ("buffer", "write_byte") if inside else ("dram", "byte")
        expected[place] = (4 if inside else 8) * updates * w
    assert counted == pytest.approx(expected, rel=1e-12)


def totals(report: StepReport, phase: str) -> dict[tuple[str, str], float]:
    """Return amounts of a step by component and action, of one phase."""
    sums: dict[tuple[str, str], float] = {}
    for job, result in zip(report.execution.jobs, report.execution.results, strict=True):
        for op in job.operations if job.name == phase else ():
            for key, amount in op.actions.items():
                sums[key] = sums.get(key, 0.0) + amount * (result.n_images if op.per_image else 1)
    return sums


def of_kind(report: StepReport, kind: type) -> dict[tuple[str, str], float]:
    """Return amounts of one image by component and action, of one kind of operation."""
    context = Context(report.hardware, report.training_plan.workload)
    sums: dict[tuple[str, str], float] = {}
    for op in report.execution.plan.operations():
        if isinstance(op, kind):
            for key, amount in recipe(op, context).actions.items():
                sums[key] = sums.get(key, 0.0) + amount
    return sums


@pytest.mark.parametrize("slots", [1, 5])
def test_outer_products_multiply_once_or_meet_in_every_slot(slots: int) -> None:
    workload = tiny()
    macs = sum(n_macs(layer) for layer in workload.weighted)
    operands = sum(layer.positions * (layer.rows + layer.channels) for layer in workload.weighted)
    digital = of_kind(stepped(workload, small_chip()), OuterProduct)
    pulses = of_kind(stepped(workload, small_chip(), outer="pulses", pulse_length=slots), OuterProduct)
    assert digital["digital", "mac"] == macs
    assert pulses["pulses", "coincide"] == slots * macs
    assert pulses["pulses", "compare"] == slots * operands
    assert ("digital", "mac") not in pulses
    same = {key: amount for key, amount in digital.items() if key[0] in ("buffer", "bus")}
    assert same == {key: amount for key, amount in pulses.items() if key[0] in ("buffer", "bus")}
    assert digital["buffer", "write_byte"] == 4 * workload.n_weights


def test_transposed_products_of_one_layer_by_hand() -> None:
    """3 x 3 x 3 inputs to 20 channels at 4 positions: 27 rows and 20 columns on 2 x 2 crossbars."""
    workload = network(image(3, 2), conv("first", "image", (3, 3), 2, 1), conv("a", "first", (3, 20), 2))
    chip = small_chip()
    report = stepped(workload, chip)
    (op,) = [op for op in report.execution.plan.operations() if isinstance(op, TransposeMvm)]
    asked, n = recipe(op, Context(chip, report.training_plan.workload)), 4
    assert asked.n_vectors == n
    assert asked.actions["array", "read"] == n * 27 * 20
    assert asked.actions["dac", "drive"] == n * 2 * 20  # each error on the bitlines of two crossbars
    assert asked.actions["adc", "convert"] == n * 2 * 27  # each result from the wordlines of two
    inside = 4 * 4 * 3  # of 9 taps, 4 fall into a map of 2 x 2, at each of 4 positions, in 3 channels
    additions = n * 27 + (inside - 4 * 3)  # of two crossbars each; then all but the first into each input
    assert asked.actions["digital", "op"] == additions + 4 * 3
    assert asked.actions["buffer", "write_byte"] == inside * 3 + 4 * 3  # sums of 20 bits in 3 bytes, then errors
    assert asked.actions["buffer", "read_byte"] == inside * 3 + n * (2 * 20)  # two tiles of each block column
    assert asked.actions["router", "byte_hop"] == n * 27 * 3  # from the first tile of each block row to the second
    crossbar = next(step for step in asked.steps if step.resource.kind == "crossbar")
    assert crossbar.hold_ps == 4 * chip.period_ps  # 16 results from 8 converters of 2 ns


@given(
    size=st.integers(1, 7), kernel=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_results_are_scattered_where_windows_lie(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    """Loops over positions and taps say the same, on a map that is one longer than wide."""
    window = Window(kernel=(kernel,) * 2, stride=(stride,) * 2, padding=(padding,) * 4, dilation=(dilation,) * 2)
    shape = (size, size + 1)
    out = window.output_size(shape)
    if 0 in out:
        return
    layer = Conv(name="a", inputs=("x",), output_shape=(1, *out), in_channels=2, window=window)
    error = Elementwise(name="e", inputs=("a",), output_shape=(2, *shape), function="transposed")
    scatter = scattered(TransposeMvm("e", error, layer, cut(layer, HERMES), Region(0, 1)))
    hits: dict[tuple[int, int], list[int]] = {place: [] for place in itertools.product(*map(range, shape))}
    for number, (y, x) in enumerate(itertools.product(*map(range, out))):
        for ky, kx in itertools.product(range(kernel), repeat=2):
            place = y * stride - padding + ky * dilation, x * stride - padding + kx * dilation
            if place in hits:
                hits[place].append(number)
    times = [len(numbers) for numbers in hits.values()]
    assert scatter.contributions == 2 * sum(times)
    assert scatter.additions == 2 * sum(max(0, count - 1) for count in times)
    latest = [max(numbers, default=-1) + 1 for numbers in hits.values()]
    ready = np.maximum.accumulate(latest)
    assert (scatter.needed[1:-1] >= ready[:-1]).all()
    assert scatter.needed[0] == 0
    assert scatter.needed[-1] == out[0] * out[1]
    assert (np.diff(scatter.needed) >= 0).all()
    assert (scatter.needed[1:] <= out[0] * out[1]).all()


# -- prices ------------------------------------------------------------------------------------------------------------


def test_events_and_layers_sum_to_the_step() -> None:
    report = stepped(tiny(), small_chip(), batch=5)
    step = report.summary["step"]
    assert list(report.events["event"]) == list(EVENTS)
    assert report.events["time_ns"].sum() == pytest.approx(step["time_ns"], rel=1e-12)
    assert report.layers["energy_pj"].sum() == pytest.approx(report.energy_pj, rel=1e-12)  # nothing leaks here
    moved = report.events.set_index("event")["energy_pj"]["data movement"]
    assert report.movement["energy_pj"].sum() == pytest.approx(moved, rel=1e-12)
    assert step["energy_pj"] == pytest.approx(priced(report), rel=1e-12)
    assert step["edp_pj_ns"] == pytest.approx(step["energy_pj"] * step["time_ns"], rel=1e-12)
    assert report.step_s == pytest.approx(step["time_ns"] / units.NS_PER_S, rel=1e-12)
    assert step["cycles"] == report.execution.makespan_ps / report.hardware.period_ps
    assert set(report.layers["layer"]) <= {layer.name for layer in report.workload.layers}


def priced(report: StepReport) -> float:
    amounts = report.execution.amounts()
    return sum(n * report.costs.price_pj(component, action) for (_, component, action), n in amounts.items())


def test_an_epoch_is_as_many_steps_as_it_takes() -> None:
    report = stepped(tiny(), small_chip(), batch=3, epoch_images=100)
    step, epoch = report.summary["step"], report.summary["epoch"]
    assert (epoch["images"], epoch["steps"]) == (100, 34)
    assert epoch["time_ns"] == pytest.approx(34 * step["time_ns"], rel=1e-12)
    assert epoch["edp_pj_ns"] == pytest.approx(34**2 * step["edp_pj_ns"], rel=1e-12)


@pytest.mark.parametrize(("accumulator", "bits"), [("pcm", 7), ("sram", 32), ("dram", 32)])
def test_memory_of_accumulators(accumulator: str, bits: int) -> None:
    workload = tiny()
    memory = stepped(workload, small_chip(), accumulator=accumulator).memory
    assert memory["accumulator_bits"] == bits * workload.n_weights
    assert memory["accumulator_devices"] == (7 * workload.n_weights if accumulator == "pcm" else 0)
    assert memory["pair_devices"] == 2 * workload.n_weights
    kept = sum(workload.by_name[name].elements for name in ("image", "a/relu", "sum", "pool"))
    assert memory["kept_input_bits_per_image"] == 8 * kept


def test_a_second_bank_takes_area() -> None:
    listed = load_hardware("isaac")
    table, plain = price_table(listed, CIRCUIT, StepOptions()), CostTable.of(listed)
    assert table.area_um2 - plain.area_um2 == pytest.approx(plain.parts["adc"].area_um2 * listed.n_groups("unit"))
    fitted = price_table(HERMES, CIRCUIT, StepOptions())
    assert 1000 < fitted.parts[ROWS_ADC].area_um2 / 256 * 1000 < 10_000_000
    assert fitted.area_um2 > CostTable.of(HERMES).area_um2
    shared = price_table(HERMES, CIRCUIT, StepOptions(transpose_adc="shared"))
    assert shared.area_um2 == CostTable.of(HERMES).area_um2


def test_energies_of_the_cell_are_the_computed_ones() -> None:
    """I^2 R t at 1 kOhm."""
    for cell in (CIRCUIT.accumulator, CIRCUIT.pair):
        assert cell.set_pj == pytest.approx((150e-6) ** 2 * 1000 * 150e-9 * 1e12, rel=1e-12)
        assert cell.reset_pj == pytest.approx((300e-6) ** 2 * 1000 * 40e-9 * 1e12, rel=1e-12)
    assert (CIRCUIT.sets_at_once, CIRCUIT.resets_at_once) == (256, 128)


# -- laws --------------------------------------------------------------------------------------------------------------

networks = st.builds(lambda channels, size: tiny(channels, size), st.integers(2, 5), st.integers(2, 5))


@given(networks, st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_longer_pulse_trains_cost_more(workload: Workload, length: int, more: int, batch: int) -> None:
    """In energy always; in time for an image alone, for in a batch the order of what waits may change."""
    short, long = (
        stepped(workload, small_chip(), batch=batch, outer="pulses", pulse_length=n) for n in (length, length + more)
    )
    assert long.energy_pj > short.energy_pj
    if batch == 1:
        assert long.step_s >= short.step_s


@given(networks, st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_an_update_per_sample_is_never_cheaper_than_one_per_batch(workload: Workload, batch: int) -> None:
    per_sample, once = (stepped(workload, small_chip(), batch=batch, update=when) for when in ("sample", "batch"))
    assert per_sample.step_s >= once.step_s
    written = [totals(report, "update")["accumulator", "set"] for report in (per_sample, once)]
    assert written[0] == pytest.approx(batch * written[1], rel=1e-12)


def with_converters(sharing: Mapping[str, object], n: int) -> Hardware:
    """Return a small chip with so many converters for a crossbar or a pool."""
    key, kind = ("n_per_pool", "pooled") if sharing else ("n_per_crossbar", "private")
    return small_chip(**{**sharing, "tile.adc.sharing.kind": kind, f"tile.adc.sharing.{key}": n})


@given(networks, st.sampled_from([{}, POOLED]), st.sampled_from([1, 2, 8]))
@settings(max_examples=12, deadline=None)
def test_for_an_image_alone_a_second_bank_is_area_and_nothing_else(
    workload: Workload, sharing: dict[str, object], converters: int
) -> None:
    """Its errors begin when its forward pass has ended, so the two directions never meet."""
    chip = with_converters(sharing, converters)
    bank, shared = (stepped(workload, chip, batch=1, transpose_adc=how) for how in ("bank", "shared"))
    assert bank.step_s == shared.step_s
    assert bank.energy_pj == pytest.approx(shared.energy_pj, rel=1e-12)
    assert bank.costs.area_um2 > shared.costs.area_um2


@pytest.mark.parametrize("channels", [4, 5])
@pytest.mark.parametrize("converters", [1, 2])
def test_in_a_batch_both_directions_wait_for_shared_converters(channels: int, converters: int) -> None:
    chip = with_converters({}, converters)
    bank, shared = (
        stepped(tiny(channels, 4), chip, batch=4, transpose_adc=how).execution for how in ("bank", "shared")
    )
    assert bank.results[0].makespan_ps < shared.results[0].makespan_ps


def test_shared_pools_do_the_work_of_both_banks() -> None:
    chip, busy = with_converters(POOLED, 2), []
    for how in ("bank", "shared"):
        trace = stepped(tiny(), chip, batch=3, transpose_adc=how).execution
        held: dict[str, int] = {}
        for resource, ps in zip(trace.jobs[0].resources, trace.results[0].busy_ps, strict=True):
            if resource.kind == "adc":
                name = resource.name.replace(" rows", "")
                held[name] = held.get(name, 0) + int(ps)
        busy.append(held)
    assert busy[0] == busy[1]
    assert busy[0]


@given(networks, st.floats(0, 7), st.floats(0, 7))
@settings(max_examples=15, deadline=None)
def test_more_flips_cost_more(workload: Workload, flips: float, more: float) -> None:
    reports = [
        stepped(workload, small_chip(), {x.name: replace(RATES, bits_set=n, bits_reset=n) for x in workload.weighted})
        for n in (flips, flips + more)
    ]
    assert reports[0].energy_pj <= reports[1].energy_pj
    assert reports[0].step_s <= reports[1].step_s


# -- the way back ------------------------------------------------------------------------------------------------------


def test_errors_go_back_to_every_layer_with_weights_before_it() -> None:
    way_back = backward(tiny(), 8)
    gradients = [(g.layer.name, g.role, [layer.name for layer in g.absorbed]) for g in way_back.gradients]
    assert gradients == [
        ("error of fc", "loss", []),
        ("error of pool by fc", "transposed", []),
        ("gradient of fc", "outer", []),
        ("error of c by pool", "digital", []),
        ("error of sum by c", "transposed", []),
        ("gradient of c", "outer", []),
        ("error of a/relu by b", "transposed", []),
        ("gradient of b", "outer", []),
        ("error of a/relu", "digital", ["error of a by a/relu"]),  # from the block and past it; then the derivative
        ("gradient of a", "outer", []),
    ]
    for gradient in way_back.gradients:
        assert all(name in way_back.workload.by_name for name in gradient.layer.inputs)
    assert way_back.workload.by_name["error of a/relu"].inputs == ("error of sum by c", "error of a/relu by b")


def test_an_error_has_the_shape_of_its_layer() -> None:
    workload = network(
        image(4, 4), conv("a", "image", (4, 4), 4), conv("b", "image", (4, 2), 4),
        Concat(name="both", inputs=("a", "b"), output_shape=(6, 4, 4)),
        Slice(name="part", inputs=("both",), output_shape=(3, 4, 4)),
        Pool(name="half", inputs=("part",), output_shape=(3, 2, 2), mode="max",
             window=Window(kernel=(2, 2), stride=(2, 2), padding=(0,) * 4, dilation=(1, 1))),
        strided("c", "half", (3, 3), 2, 3),
    )  # fmt: skip
    way_back = backward(workload, 6)
    for gradient in way_back.gradients:
        target = gradient.layer.name.removeprefix("error of ").split(" by ")[0]
        assert gradient.layer.input_quant.bits == 6
        if gradient.role == "outer":
            assert gradient.layer.elements == gradient.of.rows * gradient.of.channels
        else:
            assert gradient.layer.output_shape == workload.by_name[target].output_shape
    assert n_bytes(way_back.gradients[0].layer, 4) == 3
    report = stepped(workload, small_chip())
    assert report.step_s > 0


def test_the_softmax_of_a_network_is_its_loss() -> None:
    from imcsim.workload.layers import Softmax

    workload = network(*tiny().layers, Softmax(name="answer", inputs=("fc",), output_shape=(5,)))
    first = backward(workload, 8).gradients[0]
    assert (first.layer.name, first.layer.inputs, first.role) == ("error of fc", ("answer",), "loss")
    assert stepped(workload, small_chip()).step_s > 0


# -- calibration -------------------------------------------------------------------------------------------------------


def test_calibration_is_a_forward_pass_with_two_operations_more_for_each_output() -> None:
    workload, chip = tiny(), small_chip()
    cost = simulate_calibration(workload, chip, 6)
    plain = execute(RunSpec(workload, chip, "static", 6, {"replication": "none"}))
    mine, theirs = cost.execution.amounts(), plain.execution.amounts()
    outputs = sum(layer.elements for layer in workload.weighted)
    more = {key: mine[key] - theirs[key] for key in mine if mine[key] != theirs[key]}
    assert {key[1:] for key in more} == {("digital", "op")}
    assert sum(more.values()) == pytest.approx(6 * 2 * outputs, rel=1e-12)
    assert not [key for key in mine if key[1] in ("cell", "pair", "accumulator")]
    assert cost.time_s >= plain.execution.makespan_ps / units.PS_PER_NS / units.NS_PER_S
    price = CostTable.of(chip).price_pj("digital", "op")
    assert cost.energy_pj == pytest.approx(6 * plain.summary["energy_pj"] + 6 * 2 * outputs * price, rel=1e-9)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workload", "chip", "words"), [
    (tiny(), small_chip(**{"chip.n_tiles": 2}), ("crossbars, and the chip has 2", "--set chip.n_tiles=")),
    (tiny(), load_hardware("rram-256"), ("lies in 4 cells", "--set crossbar.bits_per_cell=8")),
    (network(image(2, 2)), small_chip(), ("no layer with weights",)),
    (network(image(2, 2), conv("a", "image", (2, 2), 2), conv("b", "image", (2, 2), 2)), small_chip(),
     ("one output", "a, b")),
])  # fmt: skip
def test_a_step_that_cannot_be_is_refused(workload: Workload, chip: Hardware, words: tuple[str, ...]) -> None:
    with pytest.raises(ImcsimError) as error:
        stepped(workload, chip)
    assert all(word in str(error.value) for word in words)


def test_a_layer_without_a_known_way_back_is_named() -> None:
    gate = Elementwise(name="gate", inputs=("a", "b"), output_shape=(2, 2, 2), function="mul")
    product = MatMul(name="scores", inputs=("a", "b"), output_shape=(4, 4), heads=1, inner=2)
    for layer, kind in ((gate, "elementwise 'mul'"), (product, "matmul")):
        workload = network(image(2, 2), conv("a", "image", (2, 2), 2), conv("b", "a", (2, 2), 2), layer)
        with pytest.raises(ImcsimError, match=f"layer '{layer.name}': the way back through a layer of kind {kind}"):
            stepped(workload, small_chip())


@pytest.mark.parametrize(("change", "word"), [
    ({"bits_set": -1.0}, "bits_set"), ({"carry_rows_frac": 1.5}, "more than all"),
    ({"refresh_pulses": float("nan")}, "refresh_pulses"),
])  # fmt: skip
def test_rates_that_cannot_be_are_refused(change: dict[str, float], word: str) -> None:
    with pytest.raises(ImcsimError, match=word):
        replace(RATES, **change)


def test_rates_of_every_layer_are_needed() -> None:
    with pytest.raises(ImcsimError, match="no update rates of layer 'fc'"):
        train_step(tiny(), small_chip(), rates={"a": RATES, "b": RATES, "c": RATES})


def test_measured_rates_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text(json.dumps({layer.name: vars(RATES) for layer in tiny().weighted}))
    assert load_rates(path) == {layer.name: RATES for layer in tiny().weighted}
    report = train_step(tiny(), small_chip(), StepOptions(batch=2), load_rates(path))
    assert report.summary["rates"] == ["made for a test"]
    assert not [text for text in report.summary["assumed"] if "prototype" in text]
    path.write_text(json.dumps({"a": {**vars(RATES), "bits": 1}}))
    with pytest.raises(ImcsimError, match="unknown rate 'bits'"):
        load_rates(path)
    path.write_text(json.dumps({"a": {"bits_set": 1}}))
    with pytest.raises(ImcsimError, match="lacks bits_reset"):
        load_rates(path)


def test_assumed_rates_say_so() -> None:
    report = train_step(tiny(), small_chip(), StepOptions(batch=1))
    assert [text for text in report.summary["assumed"] if "prototype" in text]
    assert assumed_rates(1).carry_rows_frac == pytest.approx(assumed_rates(1).carry_pulses, rel=1e-12)
    assert assumed_for(load_workload("resnet20_cifar"), HERMES)["fc"] == assumed_rates(10)


def test_a_circuit_needs_its_sources(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: pcm_binary\nname: mine\ndescription: less current\nrow_current_ma: 0.1\n")
    with pytest.raises(ImcsimError, match=r"row_current_ma is 0\.1, less than the 300 uA"):
        load_circuit(str(path))
    assert load_circuit("pcm_driven").accumulator.reset_pj == 15
    assert all("assumed" in load_circuit("pcm_driven").source(f"{part}.set_pj") for part in ("pair", "accumulator"))
    text = Path(__file__).parents[2].joinpath("hwconfigs/update/pcm_binary.yaml").read_text()
    path.write_text(text.replace("  add_ns: assumed", "  name: assumed"))
    with pytest.raises(ImcsimError, match="add_ns: the number has no source"):
        load_circuit(str(path))


# -- command line ------------------------------------------------------------------------------------------------------

Command = Callable[..., Outcome]


def test_the_command_prints_a_step(imcsim: Command) -> None:
    outcome = imcsim("train-step", "resnet20_cifar", "--hardware", "hermes-64", "--batch", "2")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(event in outcome.out for event in EVENTS)
    assert "forward 133 ns and 13.43 nJ, transposed 133 ns and 13.43 nJ" in outcome.out
    assert "update rates: assumed" in outcome.out


def test_the_command_prints_json_and_nothing_else(imcsim: Command) -> None:
    outcome = imcsim("train-step", "resnet20_cifar", "-H", "hermes-64", "--batch", "1", "--update", "sample", "--json")
    printed = json.loads(outcome.out)
    assert outcome.code == 0
    assert printed["options"]["update"] == "sample"
    assert printed["counts"]["forward_products_per_image"] == 11_073
    assert printed.keys() >= {"step", "epoch", "events", "layers", "movement", "memory", "assumed", "full_products"}


@pytest.mark.parametrize(("words", "expected"), [
    (("resnet50", "-H", "hermes-64"), "--set chip.n_tiles="),
    (("resnet20_cifar", "-H", "hermes-64", "--update", "never"), "update"),
    (("resnet20_cifar", "-H", "hermes-64", "--batch", "0"), "batch"),
    (("resnet20_cifar", "-H", "hermes-64", "--circuit", "pcm_binry"), "did you mean 'pcm_binary'?"),
    (("resnet20_cifar", "-H", "hermes-64", "--engine", "quick"), "engine"),
])  # fmt: skip
def test_bad_input_is_one_line(words: tuple[str, ...], expected: str, imcsim: Command) -> None:
    outcome = imcsim("train-step", *words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("imcsim: ")
    assert outcome.err.count("\n") == 1
    assert expected in outcome.err


def test_help_of_the_command(imcsim: Command) -> None:
    outcome = imcsim("train-step", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(
        option in outcome.out for option in ("--update", "--accumulator", "--outer", "--transpose-adc", "--rates")
    )
