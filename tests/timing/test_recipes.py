"""Does every recipe ask for the time and perform the actions that one works out by hand for a small layer?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.experiments.run import plan_for
from imcsim.hardware.hardware import Hardware, idealise, load_hardware
from imcsim.mapping.plan import Basis, BasisMvm, Digital, Load, Mvm, Plan, Program, Region, Segments, Source
from imcsim.mapping.tiling import cut
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.compile import compile_plan
from imcsim.timing.engine import run
from imcsim.timing.engine.contract import UNLIMITED, Job, JobResult, Resource
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.recipes import Context, Recipe, recipe
from imcsim.timing.recipes.mvm import left_bytes, read_back_bytes
from imcsim.timing.recipes.program import weight_fetch
from imcsim.workload import layers
from imcsim.workload.layers import Layer, Linear, Quantisation
from imcsim.workload.workload import Workload
from tests.support.networks import conv, image, network

# 2 tiles of 4 crossbars of 4x8 cells; one ADC needs a cycle (10 ns) for a column; bus 2 bytes, DRAM 5 bytes a cycle
CYCLE = 10_000
SMALL = {
    "chip.n_tiles": 2, "chip.dram.bytes_per_ns": 0.5, "tile.n_crossbars": 4, "tile.unit_crossbars": 4,
    "tile.adc.convert_ns": 10, "tile.bus.width_bits": 16, "tile.digital.op_lanes": 4, "tile.digital.mac_lanes": 2,
    "crossbar.rows": 4, "crossbar.columns": 8, "crossbar.wordlines_active": 4,
}  # fmt: skip
ADC, COLUMNS = "tile.adc.sharing", "tile.adc.sharing.n_per_crossbar"
BITS = {"input_quant": Quantisation(bits=4), "weight_quant": Quantisation(bits=2)}  # half a byte in, 2 columns a weight
RELU = layers.Activation(name="relu", inputs=("fc",), output_shape=(6, 3), function="relu")


def chip(changes: dict[str, object] | None = None, ideal: tuple[str, ...] = ()) -> Hardware:
    return load_hardware("rram-256", {**SMALL, **(changes or {})}, ideal=ideal)


def pool(crossbars: int, adcs: int) -> dict[str, object]:
    return {ADC: {"kind": "pooled", "crossbars_per_pool": crossbars, "n_per_pool": adcs}}


def fc(rows: int, columns: int, name: str = "fc", tokens: int = 3) -> Linear:
    return Linear(name=name, inputs=("x",), output_shape=(columns, tokens), in_channels=rows, **BITS)


def mvm(layer: Linear, hw: Hardware, copies: int = 1, absorbed: tuple[Layer, ...] = ()) -> Mvm:
    grid = cut(layer, hw)
    return Mvm(layer.name, layer, grid, Region(0, grid.crossbars, copies), absorbed)


def x(*shape: int, name: str = "x") -> Layer:
    return layers.Input(name=name, inputs=(), output_shape=shape)


def made(operation: object, hw: Hardware, *others: Layer) -> Recipe:
    return recipe(operation, Context(hw, network(*(others or (x(1),)))))


def told(found: Recipe) -> list[tuple[object, ...]]:
    """(resource, capacity, cycles held, cycles until the vector goes on) of every step."""
    times = [[(np.asarray(t) / CYCLE).tolist() for t in (s.hold_ps, s.latency_ps)] for s in found.steps]
    return [(s.resource.name, s.resource.capacity, *both) for s, both in zip(found.steps, times, strict=True)]


def actions_of(found: Recipe) -> dict[str, float]:
    return {f"{component}.{action}": amount for (component, action), amount in found.actions.items()}


# -- layers on weights that are there ----------------------------------------------------------------------------------


def test_a_layer_of_three_row_tiles() -> None:
    """K = 10 is 4 + 4 + 2 rows, N = 6 is 8 + 4 columns: six crossbars on two tiles, three partial sums per output."""
    found = made(mvm(fc(10, 6), chip(), absorbed=(RELU,)), chip())
    assert told(found) == [
        ("bus[0]", 1, 3, 3),  # 10 inputs of 4 bits are 5 bytes, 2 in a cycle
        ("crossbars[fc]", 1, 4 * 8, 4 * 8 + 8 + 2),  # 4 bits, 8 columns; convert the last bit, shift, add
        ("digital[0]", 1, 6, 6),  # 6 outputs x (2 additions + requantise + relu) = 24, 4 in a cycle
        ("bus[0]", 1, 2, 2),  # 6 outputs of 4 bits are 3 bytes
    ]
    rows, columns = 2 * (4 + 4 + 2), 3 * (8 + 4)  # of all six crossbars
    each = {  # of one position
        "input_register.byte": rows / 2, "dac.drive": 4 * rows, "array.read": 4 * 10 * 12,
        "sample_hold.hold": 4 * columns, "adc.convert": 4 * columns, "shift_add.add": 4 * columns,
        "output_register.byte": 18, "buffer.read_byte": 5, "buffer.write_byte": 3, "bus.byte": 8,
        "router.byte_hop": 6,  # partial sums of 4 + 2 + 2 bits; 6 of them pass from the first tile to the second
        "digital.op": 24,
    }  # fmt: skip
    assert found.n_vectors == 3
    assert found.per_image
    assert actions_of(found) == {key: 3 * amount for key, amount in each.items()}


@pytest.mark.parametrize(
    ("changes", "hold", "fill", "conversions", "drives"),
    [
        ({}, 32, 10, 4 * 36, 4 * 20),
        ({"crossbar.shift_add_cycles": 5}, 32, 13, 4 * 36, 4 * 20),
        ({COLUMNS: 3}, 4 * 3, 5, 4 * 36, 4 * 20),  # 8 columns on 3 ADCs: 26.7 ns
        ({"crossbar.evaluate_ns": 95}, 4 * 10, 12, 4 * 36, 4 * 20),  # longer than conversion
        ({"crossbar.dac_bits": 3}, 2 * 8, 10, 2 * 36, 2 * 20),  # 4 bits in 2 digits
        ({"crossbar.wordlines_active": 2}, 8 * 8, 10, 4 * (2 * 24 + 12), 4 * 20),  # 4 rows in 2 groups, 2 rows in one
        ({"crossbar.wordlines_active": 1, "crossbar.dac_bits": 4}, 4 * 8, 10, 4 * 24 + 2 * 12, 20),
    ],
)
def test_phases_times_tau(changes: dict[str, object], hold: int, fill: int, conversions: int, drives: int) -> None:
    hw = chip(changes)
    found = made(mvm(fc(10, 6), hw), hw)
    assert told(found)[1:2] == [("crossbars[fc]", 1, hold, hold + fill)]
    actions = actions_of(found)
    assert actions["adc.convert"] == actions["shift_add.add"] == 3 * conversions
    assert actions["dac.drive"] == 3 * drives
    assert actions["array.read"] == 3 * drives * 6  # columns per row: 12 on two crossbars


@pytest.mark.parametrize(
    ("layer", "copies", "lane", "times"),  # lane: name and vectors at once; times: in, hold, digital, out
    [
        (fc(4, 8), 4, ("0-1/2", 2), (1, 32, 2, 2)),  # four copies of two crossbars: each tile serves two
        (fc(16, 8), 1, ("0-1/1", 1), (2, 32, 4, 1)),  # one copy of eight: 8 bytes, 8 x (3 + 1) operations, 4 bytes
    ],
)
def test_two_tiles(layer: Linear, copies: int, lane: tuple[str, int], times: tuple[int, ...]) -> None:
    """Two tiles serve two vectors at once, or one twice as fast."""
    (name, n), (fetch, hold, work, back) = lane, times
    assert told(made(mvm(layer, chip(), copies), chip())) == [
        (f"bus[{name}]", n, fetch, fetch), ("crossbars[fc]", copies, hold, hold + 10),
        (f"digital[{name}]", n, work, work), (f"bus[{name}]", n, back, back),
    ]  # fmt: skip


# -- pools of ADCs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "copies", "group", "behind"),
    [
        (fc(4, 4), 1, ("crossbars[fc]", 1, 16, 4), ("adc[pool 0]", 1, 16, 18)),  # 8 columns on 2 ADCs
        (fc(12, 8), 1, ("crossbars[fc]", 1, 96, 4), ("adc[pool 0]", 1, 96, 98)),  # 6 crossbars wait for one pool
        (fc(8, 8), 2, ("crossbars[fc]", 2, 64, 4), ("adc[fc]", 2, 64, 66)),  # 2 copies of 4, each with a pool
        (fc(16, 8), 1, ("crossbars[fc]", 1, 64, 4), ("adc[fc]", 1, 64, 66)),  # 8 crossbars on both pools
    ],
)
def test_a_pool_converts_the_columns_of_its_crossbars_in_turn(
    layer: Linear, copies: int, group: tuple[str, int, int, int], behind: tuple[str, int, int, int]
) -> None:
    hw = chip(pool(4, 2))
    assert told(made(mvm(layer, hw, copies), hw))[1:3] == [group, behind]


def engine_run(workload: Workload, hw: Hardware, plan: Plan | None = None, batch: int = 1) -> tuple[Job, JobResult]:
    """The job of a pipeline of resident layers, and what becomes of it."""
    plan = plan or plan_for(RunSpec(workload, hw, "static", batch, {"replication": "none"}))
    (job,) = compile_plan(plan, Context(hw, workload), batch).jobs
    return job, run(job, batch)


def test_layers_in_one_pool_wait_for_each_other_unless_adcs_are_ideal() -> None:
    workload = network(x(4, 3), fc(4, 4, "a"), fc(4, 4, "b"))
    shared = chip(pool(4, 2), ("bus", "noc", "dram", "digital", "buffer"))
    job, result = engine_run(workload, shared)
    assert [r for r in job.resources if r.kind == "adc"] == [Resource("adc[pool 0]", ResourceKind.ADC, 1)]
    assert result.makespan_ps == (4 + 2 * 3 * 16 + 2) * CYCLE  # two layers of three vectors, one after another
    assert result.queued_ps.sum() > 0
    job, result = engine_run(workload, idealise(shared, ["adc"]))
    assert "adc" not in {r.kind for r in job.resources}
    assert result.makespan_ps == (4 + 3 * 16 + 2) * CYCLE  # side by side


@pytest.mark.parametrize("copies", ["none", "busiest"])
def test_a_pool_of_one_crossbar_is_a_private_adc(copies: str) -> None:
    workload = network(x(10, 5), fc(10, 6, "a", 5), fc(10, 2, "b", 5))
    private, own = (chip({"chip.n_tiles": 5} | sharing) for sharing in ({}, pool(1, 1)))
    plan = plan_for(RunSpec(workload, private, "static", 2, {"replication": copies}))
    ends = [[times.end_ps.tolist() for times in engine_run(workload, hw, plan, 2)[1].times] for hw in (private, own)]
    assert ends[0] == ends[1]


# -- passes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crossbars", "left", "back", "fetched"),
    [(4, [6, 3], [0, 6], [4, 7]), (2, [6, 6, 3], [0, 6, 6], [2, 8, 7])],  # inputs of 4, 4 and 2 rows, half a byte each
)
def test_passes_add_up(crossbars: int, left: list[int], back: list[int], fetched: list[int]) -> None:
    """Six crossbars on fewer: each pass but the last leaves six partial sums of a byte, and the next one takes them."""
    layer, hw = fc(10, 6), chip({"chip.n_tiles": 1, "tile.n_crossbars": crossbars, "tile.unit_crossbars": 1})
    plan = plan_for(RunSpec(network(x(10, 3), layer), hw, "reprogram"))
    passes = [op for op in plan.operations() if isinstance(op, Mvm)]
    assert [left_bytes(op, hw) for op in passes] == left
    assert [read_back_bytes(op, hw) for op in passes] == back
    each = [actions_of(made(op, hw)) for op in passes]
    assert [a["buffer.write_byte"] for a in each] == [3 * n for n in left]
    assert [a["buffer.read_byte"] for a in each] == [3 * n for n in fetched]
    whole = actions_of(made(mvm(layer, chip()), chip()))
    for key in ("dac.drive", "array.read", "adc.convert", "output_register.byte"):
        assert sum(a[key] for a in each) == whole[key]
    assert sum(a.get("digital.op", 0) for a in each) == whole["digital.op"]  # 2 x 6 additions and 6 results, each once


def test_passes_over_columns_leave_outputs() -> None:
    """K = 4, N = 12 on two of three crossbars: eight outputs, then four; nothing is added."""
    hw, layer = chip(), fc(4, 12)
    first = Mvm("fc", layer, cut(layer, hw).part(0, 2), Region(0, 2), partial=True)
    last = Mvm("fc", layer, cut(layer, hw).part(2, 3), Region(0, 1))
    assert [left_bytes(op, hw) for op in (first, last)] == [4, 2]
    assert [read_back_bytes(op, hw) for op in (first, last)] == [0, 0]
    assert [actions_of(made(op, hw))["digital.op"] for op in (first, last)] == [3 * 8, 3 * 4]


# -- writing -----------------------------------------------------------------------------------------------------------

VERIFY = {
    "pulse_ns": 100, "verify_ns": 50, "row_setup_ns": 10, "cap": 2, "missed_frac": 0, "max_crossbars_at_once": 3,
    "pulses": {"kind": "quantiles", "points": [[0, 0], [0.5, 1], [1, 2]]},  # one pulse or two, as often
}  # fmt: skip


def written(changes: dict[str, object], copies: int = 2, unchanged: float = 0.0) -> tuple[Program, Hardware]:
    """K = 6, N = 4: 4 rows and 2 rows of 8 cells."""
    changes = {f"cell.write.{key}": value for key, value in (VERIFY | changes).items()}
    hw = load_hardware("rram-256", SMALL | changes, write="radar2b_row")
    return Program("write fc", "fc", cut(fc(6, 4), hw), Region(0, 2, copies), 2, unchanged), hw


def test_a_row_waits_for_its_slowest_cell_and_pays_for_all() -> None:
    program, hw = written({})
    found = made(program, hw)
    # a row: 2 - 2^-8 pulses with verify, 150 ns each, and 10 ns: 309.4 ns; 4 rows 1237.7 ns, 2 rows 618.8 ns
    assert told(found) == [("write", 3, [124, 124, 62, 62], [124, 124, 62, 62])]
    pulses = 2 * (6 * 8) * 1.5
    moved = 2 * (6 * 4) * 2 / 8  # both copies, 2 bits a weight
    expected = {"bus.byte": moved, "buffer.read_byte": moved, "cell.pulse": pulses, "cell.verify": pulses}
    assert actions_of(found) == expected
    assert not found.per_image


def test_cells_one_by_one_take_the_sum_and_unchanged_cells_nothing() -> None:
    program, hw = written({"cells_at_once": 1, "max_crossbars_at_once": "all"}, copies=1, unchanged=0.25)
    found = made(program, hw)
    # a cell: 0.75 x 1.5 pulses of 150 ns, and 10 ns: 178.75 ns; 32 cells 5720 ns, 16 cells 2860 ns
    assert told(found) == [("write", 8, [572, 286], [572, 286])]
    assert actions_of(found)["cell.pulse"] == 48 * 0.75 * 1.5


def test_weights_come_once_for_all_copies() -> None:
    program, hw = written({})
    found = weight_fetch(program, Context(hw, network(x(1))))
    # 16 weights are 4 bytes, 8 ns; 8 weights 2 bytes, 4 ns: a cycle each, and 100 ns until the first byte
    assert told(found) == [("dram", 2, [1, 1], [11, 11])]
    assert actions_of(found) == {"dram.byte": 6, "buffer.write_byte": 6}
    assert not found.per_image


# -- combinations of a basis -------------------------------------------------------------------------------------------


def combined(route: str, total: str, slots: tuple[int, ...], hw: Hardware) -> Recipe:
    """K = 12, N = 6 in 3 segments; 4 basis vectors of 2 columns, 2 coefficients of 2 bits; two copies."""
    basis = Basis(4, 4, 2, 2, 2, route, total, 4)  # type: ignore[arg-type]
    segments = Segments(3, 6, 4, 3, 2, 2, slots, 7.0 if slots else 0.0)
    return made(BasisMvm("fc", fc(12, 6), Region(0, 1, 2), basis, segments), hw)


@pytest.mark.parametrize(("wordlines", "groups"), [(4, 1), (2, 2)])
def test_broadcast_columns_are_combined_digitally(wordlines: int, groups: int) -> None:
    found = combined("broadcast", "digital", (), chip({"crossbar.wordlines_active": wordlines}))
    assert told(found) == [
        ("bus[0]", 1, 1, 1),  # 4 inputs of half a byte
        ("crossbars[basis 0]", 2, groups * 4 * 8, groups * 4 * 8 + 8 + 2),
        ("digital[0]", 1, 7, 7),  # 6 kernels x 2 coefficients = 12 MACs, 2 in a cycle; 6 outputs / 3 segments
        ("bus[0]", 1, 1, 1),  # a third of 3 bytes
    ]
    coefficients = 6 * 2 * (2 + 1 + 2) / 8  # magnitude, sign, index
    each = {
        "input_register.byte": 2, "dac.drive": 4 * 4, "array.read": 4 * 4 * 8, "sample_hold.hold": groups * 4 * 8,
        "adc.convert": groups * 4 * 8, "shift_add.add": groups * 4 * 8, "output_register.byte": 4,
        "buffer.read_byte": 2 + coefficients, "buffer.write_byte": 1, "bus.byte": 3, "digital.op": 2, "digital.mac": 12,
    }  # fmt: skip
    assert found.n_vectors == 9
    assert actions_of(found) == {key: 9 * amount for key, amount in each.items()}


@pytest.mark.parametrize(
    ("slots", "wordlines", "hold"),
    [((1, 5, 9), 4, [96, 100, 180] * 3), ((2, 2, 2), 4, 96), ((6, 6, 6), 4, 120), ((1, 5, 9), 2, [192, 200, 360] * 3)],
)
def test_exclusive_columns_settle_slot_after_slot(
    slots: tuple[int, ...], wordlines: int, hold: list[int] | int
) -> None:
    """A slot takes 5 cycles; the masks of 6 kernels and 2 bit planes take 24 columns, so a phase at least 24 cycles."""
    changes = {"crossbar.wordlines_active": wordlines, "crossbar.evaluate_ns": 50}
    found = combined("exclusive", "analog", slots, chip(changes))
    late = (np.array(hold) + 24 + 2).tolist()  # private ADCs: 24 columns
    assert told(found)[1:3] == [("crossbars[basis 0]", 2, hold, late), ("digital[0]", 1, 2, 2)]
    actions, groups, mean = actions_of(found), 4 // wordlines, sum(slots) / 3
    assert actions["dac.drive"] == 9 * 4 * 4 * mean
    assert actions["array.read"] == 9 * 4 * 4 * 2 * 7
    assert actions["adc.convert"] == actions["sample_hold.hold"] == 9 * groups * 4 * 24
    assert actions["output_register.byte"] == 9 * 12
    assert actions["digital.op"] == 9 * (6 * 2 / 3 + 2)  # add segments, and requantise
    assert "digital.mac" not in actions


def test_exclusive_results_cross_the_routing_slot_after_slot() -> None:
    found = combined("exclusive", "digital", (1, 5, 12), chip())
    assert told(found)[1:3] == [("crossbars[basis 0]", 2, 32, 42), ("digital[0]", 1, 12, 12)]


# -- digital units and DRAM --------------------------------------------------------------------------------------------

SQUARE = layers.Window(kernel=(2, 2), stride=(2, 2), padding=(0,) * 4, dilation=(1, 1))
POOL = layers.Pool(name="pool", inputs=("x",), output_shape=(3, 2, 2), mode="max", window=SQUARE)
MEAN = layers.GlobalPool(name="mean", inputs=("x",), output_shape=(3,), mode="avg")
SOFTMAX = layers.Softmax(name="softmax", inputs=("x",), output_shape=(6, 3))
SCORES = layers.MatMul(name="scores", inputs=("x", "y"), output_shape=(8, 2), heads=2, inner=3)
SUM = layers.Elementwise(name="sum", inputs=("x", "y"), output_shape=(6, 3), function="add")
VIEW = layers.Reshape(name="flat", inputs=("x",), output_shape=(18,))
NORM = layers.Normalisation(name="norm", inputs=("sum",), output_shape=(6, 3), function="layer")


@pytest.mark.parametrize(
    ("inputs", "layer", "absorbed", "vectors", "time", "amounts"),  # amounts: op, mac, bytes read and written
    [
        ([(3, 4, 4)], POOL, (), 4, 3, (12 * 4, 0, 48, 12)),
        ([(3, 4, 4)], MEAN, (), 16, 1, (48, 0, 48, 3)),  # one vector is a position of the input
        ([(6, 3)], SOFTMAX, (), 3, 5, (18 * 3, 0, 18, 18)),  # 18 a vector
        ([(6, 2), (6, 4)], SCORES, (), 2, 2 + 12, (16, 16 * 3, 12 + 24, 16)),  # 8 and 24 a vector
        ([(6, 3), (6, 3)], SUM, (), 3, 3, (2 * 18, 0, 36, 18)),
        ([(6, 3), (6, 3)], SUM, (NORM, RELU), 3, 12, ((2 + 5 + 1) * 18, 0, 36, 18)),
        ([(6, 3)], VIEW, (), 1, 0, (0, 0, 0, 0)),
    ],
)
def test_a_digital_layer(
    inputs: list[tuple[int, ...]], layer: Layer, absorbed: tuple[Layer, ...], vectors: int, time: int,
    amounts: tuple[float, ...],
) -> None:  # fmt: skip
    """4 operations and 2 MACs a cycle, in turn; elements are bytes."""
    sources = [x(*shape, name=name) for name, shape in zip("xy", inputs, strict=False)]
    found = made(Digital(layer.name, layer, Region(1, 2), absorbed), chip(), *sources, layer)
    assert found.n_vectors == vectors
    assert told(found) == ([("digital[0]", 1, time, time)] if time else [])
    keys = ("digital.op", "digital.mac", "buffer.read_byte", "buffer.write_byte")
    assert actions_of(found) == {key: n for key, n in zip(keys, amounts, strict=True) if n}


def test_a_weighted_layer_on_digital_units_reads_windows_and_weights() -> None:
    """K = 18, N = 4, P = 9 on two tiles: 72 MACs and 4 operations a vector; both tiles read 72 bytes of weights."""
    layer = conv("c", "image", (2, 4), 3)
    found = made(Digital("c", layer, Region(0, 2, 4)), chip(), image(2, 3), layer)
    assert told(found) == [("digital[0-1/2]", 2, 36 + 1, 36 + 1)]
    assert actions_of(found) == {
        "digital.op": 36, "digital.mac": 9 * 72, "buffer.read_byte": 9 * 18 + 2 * 72, "buffer.write_byte": 36,
    }  # fmt: skip


# rows of 12 bytes, tokens of 6, one vector of 20
@pytest.mark.parametrize(("shape", "vectors", "burst"), [((3, 4, 4), 4, 3), ((6, 3), 3, 2), ((20,), 1, 4)])
def test_a_source_comes_row_by_row_or_token_by_token(shape: tuple[int, ...], vectors: int, burst: int) -> None:
    found = made(Source("x", x(*shape), Region(0, 1)), chip(), x(*shape))
    assert found.n_vectors == vectors
    assert told(found) == [("dram", 2, burst, burst + 10)]
    assert actions_of(found) == {"dram.byte": np.prod(shape), "buffer.write_byte": np.prod(shape)}


@pytest.mark.parametrize("per_image", [True, False])
def test_a_load_is_one_burst(per_image: bool) -> None:
    found = made(Load("coefficients", "fc", 101, Region(0, 1), per_image), chip())
    assert told(found) == [("dram", 2, 21, 31)]
    assert (found.n_vectors, found.per_image) == (1, per_image)
    assert actions_of(found) == {"dram.byte": 101, "buffer.write_byte": 101}


# -- ideal parts -------------------------------------------------------------------------------------------------------

KINDS = {"bus": "bus", "dram": "dram", "digital": "digital", "noc": "link", "adc": "adc"}


def small_net(channels: list[int], size: int) -> Workload:
    """A first layer that fills a tile, others elsewhere, a skip connection."""
    stack, before = [image(2, size)], 2
    for i, n in enumerate((4, *channels)):
        stack.append(conv(f"conv{i}", stack[-1].name, (before, n), size, 1 + 2 * (i % 2)))
        before = n
    last = conv("last", stack[-1].name, (before, before), size)
    both = {"inputs": ("last", stack[-1].name), "output_shape": last.output_shape}
    return network(*stack, last, layers.Elementwise(name="sum", function="add", **both))


def asked(job: Job, without: set[str]) -> Counter[tuple[str, Resource, str, str]]:
    """Every step of every layer, except those on some kinds of resources."""
    stages = [(op.layer, job.resources[s.resource], str(s.hold_ps), str(s.latency_ps))
              for op in job.operations for s in op.stages]  # fmt: skip
    return Counter(stage for stage in stages if stage[1].kind not in without)


@pytest.mark.parametrize("part", KINDS)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_an_ideal_part_takes_away_its_steps_and_no_others(
    part: str, channels: list[int], size: int, batch: int
) -> None:
    """With buffers that never fill, nor does it cost time; a private ADC is part of its crossbars' time."""
    workload = small_net(channels, size)
    hw = chip({"chip.n_tiles": 120} | pool(2, 1), ("buffer",))
    plan = plan_for(RunSpec(workload, hw, "static", batch, {"replication": "none"}))
    (job, result), (rest, faster) = (engine_run(workload, h, plan, batch) for h in (hw, idealise(hw, [part])))
    own = {KINDS[part], "none"} | ({"crossbar"} if part == "adc" else set())
    assert asked(job, own) == asked(rest, own)
    assert KINDS[part] not in {r.kind for r in rest.resources}
    assert KINDS[part] in {r.kind for r in job.resources}
    assert faster.makespan_ps <= result.makespan_ps


@pytest.mark.parametrize(("ideal", "limited"), [((), True), (("buffer",), False)])
def test_ideal_buffers_hold_everything(ideal: tuple[str, ...], limited: bool) -> None:
    """In 16 bytes line buffers do not fit, and go through DRAM; everything else has room for a few vectors."""
    workload, hw = small_net([2, 3], 4), chip({"chip.n_tiles": 120, "tile.buffer.capacity_bytes": 16}, ideal)
    plan = plan_for(RunSpec(workload, hw, "static", options={"replication": "none"}))
    compiled = compile_plan(plan, Context(hw, workload), 1)
    operations = compiled.jobs[0].operations
    read = {edge.producer for op in operations for edge in op.edges}
    assert bool(compiled.spilled) == any(operations[i].capacity < UNLIMITED for i in read) == limited
