"""Does one file with a dataclass, a recipe and a flow make a new operation, in every part of the simulator?

The operation, the chip and the scheme are those of the page on extending. Four channels of 4 x 4 positions are pooled
to 2 x 2 on a crossbar's converters, between two layers that take one crossbar each. A cycle is 10 ns, in which an ADC
converts a column.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

import imcsim
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.plan import Compute, Phase, Plan, Region, Source
from imcsim.reporting.report import Report
from imcsim.timing.compile import compile_plan
from imcsim.timing.recipes import Context, recipe
from imcsim.workload.layers import Conv, Input, Pool, Quantisation, Window
from imcsim.workload.workload import Workload
from tests.house.test_api import ROOT, block_with
from tests.support.networks import network

PAGE = ROOT / "docs" / "extend.md"
BITS = {"input_quant": Quantisation(bits=4)}  # half a byte
SMALL = {
    "chip.n_tiles": 2, "tile.n_crossbars": 4, "tile.unit_crossbars": 4, "tile.adc.convert_ns": 10, "crossbar.rows": 4,
    "crossbar.columns": 8, "crossbar.wordlines_active": 4, "tile.buffer.capacity_bytes": 24,
}  # fmt: skip
NEVER_WAITS = ("bus", "noc", "dram", "digital")


def window(size: int) -> Window:
    return Window(kernel=(size, size), stride=(size, size), padding=(0,) * 4, dilation=(1, 1))


def one_by_one(name: str, source: str, channels: int, size: int) -> Conv:
    """A convolution of 1 x 1 to four channels: with weights of 2 bits, the 8 columns of one crossbar."""
    return Conv(name=name, inputs=(source,), output_shape=(4, size, size), in_channels=channels, window=window(1),
                weight_quant=Quantisation(bits=2), **BITS)  # fmt: skip


X = Input(name="x", inputs=(), output_shape=(2, 4, 4), **BITS)
POOL = Pool(name="p", inputs=("a",), output_shape=(4, 2, 2), mode="max", window=window(2), **BITS)
NETWORK = network(X, one_by_one("a", "x", 2, 4), POOL, one_by_one("b", "p", 4, 2))


@dataclass(frozen=True)
class DroppedIn:
    """Files of the page as they lie in some folder, and the module of the operation."""

    chip: str
    scheme: str
    operation: ModuleType


@pytest.fixture(scope="module")
def dropped_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DroppedIn]:
    folder = tmp_path_factory.mktemp("mine")
    for name, language, text in (
        ("converter_pool.py", "python", "class ConverterPool(Compute)"),
        ("pool_on_converters.py", "python", "class PoolOnConverters"),
        ("comparators.yaml", "yaml", "comparator:"),
    ):
        (folder / name).write_text(block_with(PAGE, language, text))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        operation = importlib.import_module("converter_pool")
        yield DroppedIn(str(folder / "comparators.yaml"), str(folder / "pool_on_converters.py"), operation)


def report(dropped_in: DroppedIn, engine: str, batch: int = 2) -> Report:
    hardware = load_hardware(dropped_in.chip, SMALL, ideal=NEVER_WAITS)
    return imcsim.run(NETWORK, hardware, dropped_in.scheme, batch=batch, engine=engine)


@pytest.mark.parametrize("engine", ["fast", "simpy"])
def test_cycles_of_two_images(dropped_in: DroppedIn, engine: str) -> None:
    """``a`` takes 32 cycles for each of its 32 vectors (4 bits x 8 columns), and 42 to the end of the last one.

    A position is pooled within 10 cycles: 4 columns are evaluated and converted, shift and add take 2. The last one
    makes the last position of ``p``, on which ``b`` works for 42 cycles.
    """
    made = report(dropped_in, engine)
    assert made.summary["cycles_per_inference"] == (31 * 32 + 42 + 10 + 42) / 2
    spans = made.layers.set_index("layer")[["start_cycle", "span_cycles", "busy_cycles"]]
    assert spans.loc["p"].tolist() == [42, 31 * 32 + 10, 32 * 4]
    assert spans.loc["b"].tolist() == [5 * 32 + 42 + 10, 26 * 32 + 42, 8 * 32]  # six positions make the first of p


def test_positions_arrive_one_by_one_and_outputs_when_their_window_is_there(dropped_in: DroppedIn) -> None:
    (job,) = report(dropped_in, "fast").execution.jobs
    (from_a,), (from_p,) = job.operations[2].edges, job.operations[3].edges
    assert [op.name for op in job.operations] == ["x", "a", "p", "b"]
    assert from_a.needs.tolist() == from_a.frees.tolist() == [*range(1, 17)]
    assert from_p.needs.tolist() == [6, 8, 14, 16]


def test_buffers(dropped_in: DroppedIn) -> None:
    """24 bytes for three outputs of 4, 2 and 1/2 byte; windows that wait for two rows would need 6 vectors of a."""
    made = report(dropped_in, "fast")
    assert [op.capacity for op in made.execution.jobs[0].operations[:3]] == [8 // 4, 8 // 2, 8 * 2]
    assert made.execution.spilled == made.execution.overfull == ()
    static = imcsim.run(NETWORK, made.spec.hardware, "static", batch=2, options={"replication": "none"})
    assert "a" in static.execution.spilled


def test_actions_and_energy(dropped_in: DroppedIn) -> None:
    made = report(dropped_in, "fast")
    amounts = {key[1:]: amount / 2 for key, amount in made.execution.amounts().items() if key[0] == "p"}
    assert amounts == {
        ("comparator", "compare"): 64, ("adc", "convert"): 16,
        ("buffer", "read_byte"): 32, ("buffer", "write_byte"): 8, ("bus", "byte"): 40,
    }  # fmt: skip
    energy = made.energy.set_index(["component", "action"])
    assert energy.loc[("comparator", "compare"), "energy_pj"] == 64 * 0.01
    assert energy.loc[("adc", "convert"), "amount"] == 16 + 4 * 8 * (16 + 4)
    row = made.layers.set_index("layer").loc["p"]
    price_of_byte = {key: made.costs.price_pj(*key) for key in amounts if "byte" in key[1]}
    of_bytes = sum(amounts[key] * price for key, price in price_of_byte.items())
    assert row["energy_pj"] == pytest.approx(64 * 0.01 + 16 * 1.5625 + of_bytes)
    assert row["adc_conversions"] == 16


def test_an_action_without_a_price_is_refused(dropped_in: DroppedIn) -> None:
    hardware = load_hardware("rram-256", SMALL)
    with pytest.raises(imcsim.ImcsimError, match="component 'comparator' has no row in the price table"):
        imcsim.run(NETWORK, hardware, dropped_in.scheme)


def compiled(operation: Any, dropped_in: DroppedIn, workload: Workload) -> list[str]:
    """The operations of a job of an image and one operation more, both on all tiles."""
    hardware = load_hardware(dropped_in.chip, SMALL, ideal=NEVER_WAITS)
    plan = Plan("hand", (Phase("all", (Source("x", X, Region(0, 8)), operation)),), 0, 8)
    return [op.name for op in compile_plan(plan, Context(hardware, workload), 1).jobs[0].operations]


def test_inputs_spread_over_the_tiles_of_a_lane(dropped_in: DroppedIn) -> None:
    pool = POOL.model_copy(update={"inputs": ("x",), "output_shape": (2, 2, 2)})
    operation = dropped_in.operation.ConverterPool("p", pool, Region(0, 8))
    assert compiled(operation, dropped_in, network(X, pool)) == ["x", "x > 0-1/1", "p"]


@dataclass(frozen=True)
class WithoutRecipe(Compute):
    """An operation of which nothing is told."""

    name: str
    layer: Pool
    region: Region


def test_an_operation_without_a_recipe_is_one_sentence() -> None:
    with pytest.raises(imcsim.ImcsimError, match="operation 'p': no recipe is known for a WithoutRecipe"):
        recipe(WithoutRecipe("p", POOL, Region(0, 1)), Context(load_hardware("rram-256"), NETWORK))
