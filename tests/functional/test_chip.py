"""Does every cell end up where its plan wants it, and does writing take what its circuit says, cell by cell?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

import imcsim
from imcsim.functional.chip import WrittenChip
from imcsim.functional.encoding import WeightCode
from imcsim.functional.layout import layout
from imcsim.functional.trial import Trial
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.devices import Cells, DeviceSpec, load_device
from imcsim.hardware.pulses import Stepped
from imcsim.hardware.write_circuits import WriteSpec
from imcsim.hardware.write_circuits.verify import Verify
from imcsim.mapping.plan import Program
from imcsim.mapping.write_work import expected_work
from imcsim.util import random_streams
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import IntegerLayer, Integers, load_quantised
from tests.functional.test_cell_writing import plain_row_time_ns
from tests.hardware.test_write_circuit import PRESETS, fixed, preset, sigma_ns, verify
from tests.support.crossbars import Placed, placed, small_chip, small_network
from tests.support.networks import conv, image, network

IDEAL = load_device("ideal", g_max_usiemens=50.0, g_min_usiemens=2.0)
MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")


def generic(**fields: Any) -> DeviceSpec:
    exact = {"g_max_usiemens": 50.0, "on_off_ratio": 25.0, "n_levels": "continuous"}
    return load_device("rram_generic", **{**exact, "sigma_frac": 0.02, "read_sigma_frac": 0.0, **fields})


# -- where cells end up ------------------------------------------------------------------------------------------------


def weights_in(cells: Cells, code: WeightCode) -> Integers:
    """(rows, weights) what ideal cells stand for."""
    levels = (cells.programmed_usiemens - 2.0) / 48.0 * (code.levels - 1)
    assert np.abs(levels - np.rint(levels)).max() < 1e-9
    digits = np.rint(levels).astype(np.int64).reshape(len(levels), -1, code.slices, 1 + (code.polarity != "offset"))
    signed = digits[..., 0] - (digits[..., 1] if code.polarity != "offset" else 0)
    shift = code.levels**code.slices // 2 if code.polarity == "offset" else 0
    return np.asarray(signed @ code.levels ** np.arange(code.slices) - shift)


def rebuilt(layer: IntegerLayer, here: Placed, chip: WrittenChip) -> Integers:
    """(inputs, channels) what the cells of a layer multiply with."""
    total = np.zeros((layer.groups * layer.rows, layer.channels), np.int64)
    for part in here.layout.placements[layer.name].parts:
        weights = weights_in(chip.cells[part.content, part.number], here.layout.contents[part.content].code)
        total[np.ix_(part.rows, part.channels)] += part.weighed(weights[: len(part.rows)])
    return total


def whole_matrix(layer: IntegerLayer) -> Integers:
    """(inputs, channels) the weights, 0 from one group to another."""
    matrix, n = np.zeros((layer.groups * layer.rows, layer.channels), np.int64), layer.channels // layer.groups
    for channel, weights in enumerate(layer.weights):
        matrix[channel // n * layer.rows : (channel // n + 1) * layer.rows, channel] = weights
    return matrix


@pytest.mark.parametrize("overrides", [
    {}, {"crossbar__polarity": "offset", "crossbar__bits_per_cell": 1}, {"crossbar__polarity": "paired"},
])  # fmt: skip
@pytest.mark.parametrize(("scheme", "n_tiles", "options"), [
    ("static", 6, {}),
    ("reprogram", 1, {}),  # 'b' is larger than the chip: two passes
    ("reprogram", 1, {"differential": True}),
    ("reprogram", 2, {"grouping": "packed", "differential": True}),
    ("reprogram", 2, {"grouping": "packed", "overlap": True}),
    ("basis_broadcast", 2, {"basis": "hadamard"}),
    ("hybrid", 2, {"rest": "reprogram"}),
])  # fmt: skip
def test_ideal_cells_hold_the_weights_and_nothing_is_left_out(
    scheme: str, n_tiles: int, options: dict[str, Any], overrides: dict[str, Any]
) -> None:
    here = placed(small_chip(n_tiles, **overrides), scheme, 3, **options)
    chip = here.written(IDEAL)
    for layer in here.layers:
        found = rebuilt(layer, here, chip) * here.layout.placements[layer.name].scale
        np.testing.assert_array_equal(found, whole_matrix(layer), layer.name)
    assert set(chip.cells) == {(n, i) for n, held in here.layout.contents.items() for i in range(len(held.blocks))}
    assert set(chip.works) == set(here.plan.programs())


def test_stuck_cells_belong_to_their_crossbar_whatever_is_written() -> None:
    """Also to those that held copies: their faults are their own."""
    device, found = generic(stuck_on_frac=0.1, stuck_off_frac=0.2), {}
    for options in ({}, {"differential": True}):
        here = placed(small_chip(2), batch=9, **options)
        assert max(operation.region.copies for operation in here.batch) > 1
        chip = here.written(device)
        for operation in here.batch:
            for i in range(operation.grid.crossbars):
                cells = chip.cells[operation.layer, operation.grid.start + i]
                stuck_at = np.where(cells.stuck, cells.programmed_usiemens, np.nan)
                known = found.setdefault(operation.region.first + i, np.full((16, 32), -1.0))
                seen = known[: len(stuck_at), : stuck_at.shape[1]]
                both = seen != -1.0
                np.testing.assert_array_equal(seen[both], stuck_at[both], operation.name)
                seen[:] = stuck_at
    whole = np.concatenate([known[known != -1.0] for known in found.values()])
    for g_usiemens, frac in ((50.0, 0.1), (2.0, 0.2)):
        assert abs((whole == g_usiemens).mean() - frac) < 5 * math.sqrt(frac * (1 - frac) / whole.size)


@pytest.mark.parametrize(
    ("fields", "stuck_at"), [({}, None), ({"stuck_on_frac": 1.0}, 50), ({"stuck_off_frac": 1.0}, 2)]
)
@pytest.mark.parametrize("write", ["ideal_single", "neurram_stepped"])
def test_no_cell_or_every_cell_is_stuck(fields: dict[str, float], stuck_at: float | None, write: str) -> None:
    for cells in placed(small_chip(write=write)).written(generic(**fields)).cells.values():
        assert cells.stuck.all() if stuck_at else not cells.stuck.any()
        assert not stuck_at or (cells.programmed_usiemens == stuck_at).all()


def test_a_stuck_cell_is_pulsed_in_vain() -> None:
    here = placed(small_chip(write="neurram_stepped"), replication="none")
    chip = here.written(generic(stuck_on_frac=1.0))
    for operation, work in chip.works.items():
        numbers = range(operation.grid.start, operation.grid.start + operation.grid.crossbars)
        wrong = sum(int((chip.cells[operation.layer, i].target_usiemens < 49).sum()) for i in numbers)
        assert work.failed == wrong
        assert 100 * wrong <= work.pulses < 101 * wrong


# -- differential writing ----------------------------------------------------------------------------------------------

Changes = Mapping[Program, list[NDArray[np.bool_]]]


def batches_of_levels(here: Placed, batches: int) -> tuple[Changes, dict[int, Integers]]:
    """The last of some batches: which cells changed on each crossbar of a first copy, how often all cells were written.

    Further copies are written as the first one is.
    """
    size = (here.hardware.crossbar.rows, here.hardware.crossbar.columns)
    held: dict[int, Integers] = {}
    for _ in range(batches):
        changes: dict[Program, list[NDArray[np.bool_]]] = {}
        wear: dict[int, Integers] = {}
        for operation in here.batch:
            content, region = here.layout.contents[operation.layer], operation.region
            changes[operation] = []
            for i in range(operation.grid.crossbars):
                levels = content.code.encode(content.blocks[operation.grid.start + i].weights)
                at = np.s_[: levels.shape[0], : levels.shape[1]]
                changed = held.get(region.first + i, np.zeros(size, np.int64))[at] != levels
                for copy in range(region.copies):
                    crossbar = region.first + i + copy * region.crossbars
                    held.setdefault(crossbar, np.zeros(size, np.int64))[at] = levels
                    wear.setdefault(crossbar, np.zeros(size, np.int64))[at] += changed
                changes[operation].append(changed)
    return changes, wear


SHARED = {"differential": True, "replication": "none"}
PLANS: list[tuple[int, dict[str, Any]]] = [
    (1, SHARED), (2, {**SHARED, "grouping": "packed"}), (2, {**SHARED, "grouping": "packed", "overlap": True}),
    (2, {"differential": True}),
]  # fmt: skip
WORD = preset("ember2b_word").model_copy(update={"cells_at_once": 5})
ROW = verify(fixed(3), cells_at_once="row", row_setup_ns=7.0)
GROUPS = verify(fixed(2), cells_at_once=5, row_setup_ns=3.0)


@pytest.mark.parametrize(("n_tiles", "options"), PLANS)
@pytest.mark.parametrize("write", [WORD, ROW], ids=["word", "row"])
def test_a_batch_programs_the_cells_that_a_long_simulation_with_levels_changes(
    write: WriteSpec, n_tiles: int, options: dict[str, Any]
) -> None:
    here = placed(small_chip(n_tiles, write), batch=9, **options)
    chip, (changes, wear) = here.written(IDEAL), batches_of_levels(here, 5)
    assert (
        max(
            len({op.name for op in here.batch if op.region.first <= n < op.region.first + op.region.total})
            for n in wear
        )
        > 1
    )  # layers share crossbars
    assert {op: work.cells for op, work in chip.works.items()} == {
        op: op.region.copies * sum(mask.sum() for mask in masks) for op, masks in changes.items()
    }
    assert set(chip.programmings) == set(wear)
    for crossbar, counts in wear.items():
        np.testing.assert_array_equal(chip.programmings[crossbar], counts)
    most = max(int(counts.max()) for counts in wear.values())
    assert chip.most_programmings == (most, min(n for n, counts in wear.items() if counts.max() == most))


def test_levels_of_the_device_that_are_not_those_of_the_weights_are_kept_too() -> None:
    here = placed(small_chip(1, WORD), **SHARED)
    coarse = generic(n_levels=8, sigma_frac=0.0)  # sevenths, weights are in thirds
    found = {op: work.cells for op, work in here.written(coarse).works.items()}
    assert found == {op: work.cells for op, work in here.written(IDEAL).works.items()}


def plain_words(masks: list[NDArray[np.bool_]], at_once: int) -> list[int]:
    """Of each crossbar, the words or groups in which a cell changes."""
    return [
        sum(bool(row[start : start + at_once].any()) for row in mask for start in range(0, len(row), at_once))
        for mask in masks
    ]


def test_a_word_in_which_a_cell_changes_takes_its_time() -> None:
    here = placed(small_chip(1, WORD), **SHARED)
    chip, (changes, _) = here.written(IDEAL), batches_of_levels(here, 3)
    for operation, masks in changes.items():
        words = plain_words(masks, 5)
        assert chip.works[operation].times_ns == pytest.approx([WORD.word_ns * n for n in words])
        assert chip.works[operation].actions == {"write": sum(mask.sum() for mask in masks)}
    assert any(sum(plain_words(masks, 5)) < sum(-(-m.shape[1] // 5) * len(m) for m in masks)
               for masks in changes.values())  # fmt: skip


@pytest.mark.parametrize("write", [ROW, GROUPS], ids=["row", "groups"])
def test_a_group_in_which_a_cell_changes_takes_its_pulses(write: Verify) -> None:
    here = placed(small_chip(1, write), **SHARED)
    chip, (changes, _) = here.written(IDEAL), batches_of_levels(here, 3)
    pulse_ns = write.pulses.n * (write.pulse_ns + write.verify_ns)
    for operation, masks in changes.items():
        size = 32 if write.cells_at_once == "row" else write.cells_at_once
        groups = [len(mask) * -(-mask.shape[1] // size) for mask in masks]
        times = [n * pulse_ns + all_ * write.row_setup_ns
                 for n, all_ in zip(plain_words(masks, size), groups, strict=True)]  # fmt: skip
        pulses = write.pulses.n * sum(mask.sum() for mask in masks)
        assert chip.works[operation].times_ns == pytest.approx(times)
        assert chip.works[operation].actions == {"pulse": pulses, "verify": pulses}


# -- time, energy, copies ----------------------------------------------------------------------------------------------


def block(circuit: WriteSpec, rows: int = 40, columns: int = 33, device: DeviceSpec = IDEAL) -> Any:
    """(old conductances, targets, which are kept, cells, what it took) of a write between random conductances."""
    rng = random_streams.rng(5, "block", rows)
    low, high = device.g_min_usiemens, device.g_max_usiemens
    present, target = rng.uniform(low, high, (2, rows, columns))
    old = device.leave(present, present, rng, np.full(present.shape, np.nan))
    kept = rng.random(present.shape) < 0.3
    return present, target, kept, *circuit.write_cells(device, target, old, kept, rng)


@pytest.mark.parametrize("name", ["radar2b_row", "neurram_serial", "neurram_stepped"])
def test_each_row_takes_its_slowest_cells(name: str) -> None:
    circuit = preset(name)
    present, target, kept, cells, written = block(circuit)
    assert written.row_time_ns == pytest.approx(plain_row_time_ns(written.pulses, written.verifies, circuit))
    assert written.energy_pj == pytest.approx(sum(
        amount * circuit.prices_pj()[action] for action, amount in written.actions.items()))  # fmt: skip
    if name != "neurram_stepped":
        assert not written.pulses[kept].any()
        assert (cells.programmed_usiemens == np.where(kept, present, target)).all()


def test_copies_take_as_many_actions_and_the_same_time_on_average() -> None:
    one_layer = network(image(8, 4), conv("a", "image", (8, 4), 4, 1))
    here = placed(small_chip(32, "radar2b_row"), batch=64, workload=one_layer)
    (operation,) = here.batch
    work, copies = here.written(IDEAL).works[operation], operation.region.copies
    alone = placed(small_chip(32, "radar2b_row"), workload=one_layer, replication="none").written(IDEAL)
    (once,) = alone.works.values()
    assert copies == len(work.times_ns) == 256
    assert work.times_ns[0] == once.times_ns[0]
    assert work.actions == {action: 256 * amount for action, amount in once.actions.items()}
    assert (work.cells, work.pulses, work.failed) == (256 * once.cells, 256 * once.pulses, 256 * once.failed)
    others = np.array(work.times_ns[1:])
    assert others.std() > 0
    assert abs(others.mean() - work.times_ns[0]) < 5 * others.std() / math.sqrt(others.size)


def is_stepped(name: str) -> bool:
    return isinstance(getattr(preset(name), "pulses", None), Stepped)


@pytest.mark.parametrize("name", [name for name in PRESETS if not is_stepped(name)])
def test_writing_everything_takes_what_is_expected(name: str) -> None:
    """Within 5 standard deviations, which are 0 where nothing is random; layers in groups write more than weights."""
    circuit = preset(name)
    dense = network(image(3, 6), conv("a", "image", (3, 8), 6), conv("b", "a", (8, 8), 6))
    here = placed(small_chip(1, name), workload=dense, replication="none")
    works, variance_ns, variance = here.written(IDEAL).works, 0.0, 0.0
    wanted = {operation: expected_work(operation, here.hardware) for operation in works}
    if isinstance(circuit, Verify):
        beyond = circuit.survival
        variance = ((2 * np.arange(len(beyond)) + 1) * beyond).sum() - beyond.sum() ** 2
        for operation in works:
            for rows, columns in zip(operation.grid.rows, operation.grid.columns, strict=True):
                at_once = columns if circuit.cells_at_once == "row" else circuit.cells_at_once
                variance_ns += sigma_ns(circuit, rows, columns, at_once, 0.0) ** 2
    cells = sum(work.cells for work in wanted.values())
    assert sum(work.cells for work in works.values()) == cells == 8 * (27 * 8 + 72 * 8)
    time_ns, wanted_ns = (sum(sum(work.times_ns) for work in found.values()) for found in (works, wanted))
    assert abs(time_ns - wanted_ns) <= 5 * math.sqrt(variance_ns) + 1e-6 * wanted_ns
    pulses, wanted_pulses = (sum(work.pulses for work in found.values()) for found in (works, wanted))
    assert abs(pulses - wanted_pulses) <= 5 * math.sqrt(max(variance, 0.0) * cells) + 1e-6 * wanted_pulses
    for action in next(iter(wanted.values())).actions:
        amount, price = (sum(work.actions[action] for work in found.values()) for found in (works, wanted))
        assert abs(amount - price) <= 5 * math.sqrt(max(variance, 0.0) * cells) + 1e-6 * price
    failed, wanted_failed = (sum(work.failed for work in found.values()) for found in (works, wanted))
    assert abs(failed - wanted_failed) <= 5 * math.sqrt(wanted_failed) + 1e-6


# -- pulse by pulse ----------------------------------------------------------------------------------------------------


def test_cells_that_are_where_they_should_be_take_no_pulse() -> None:
    circuit = preset("neurram_stepped")
    still = circuit.model_copy(update={"pulses": circuit.pulses.model_copy(update={"read_sigma_frac": 0.0})})
    present, target, _, cells, written = block(still, 64)
    band = still.pulses.band_frac * 48.0
    is_there = np.abs(present - target) <= band
    assert is_there.sum() > 50
    assert ((written.pulses == 0) == is_there).all()
    assert (cells.programmed_usiemens[is_there] == present[is_there]).all()
    assert (np.abs(cells.programmed_usiemens - target) <= band).all() == (not written.failed.any())


def test_cells_end_within_the_band_and_the_noise_of_a_read() -> None:
    circuit = preset("neurram_stepped")
    _, target, _, cells, written = block(circuit, 256)
    away = np.abs(cells.programmed_usiemens - target)[~written.failed] / 48.0
    assert away.size > 8000
    assert away.max() < circuit.pulses.band_frac + 6 * circuit.pulses.read_sigma_frac
    assert away.max() > circuit.pulses.band_frac


def stepped_spread(circuit: Verify, cells: int) -> float:
    """Standard error of a mean over so many cells and the sample behind the declared distribution."""
    beyond = circuit.survival
    variance = ((2 * np.arange(len(beyond)) + 1) * beyond).sum() - beyond.sum() ** 2
    return math.sqrt(variance * (1 / cells + 1 / 65_536))


def test_neurram_takes_its_mean_pulses() -> None:
    circuit = preset("neurram_stepped")
    assert circuit.mean_pulses == pytest.approx(8.52, rel=0.01)
    written = block(circuit, 1000)[-1]
    assert written.pulses.mean() == pytest.approx(circuit.mean_pulses, abs=5 * stepped_spread(circuit, 33_000))


def test_neurram_takes_its_expected_time_and_reads_between_random_conductances() -> None:
    circuit = preset("neurram_stepped")
    written = block(circuit, 1000)[-1]
    cells, spread = written.pulses.size, stepped_spread(circuit, 33_000)
    both_ns = circuit.pulse_ns + circuit.verify_ns
    assert written.time_ns / cells == pytest.approx(circuit.time_ns(1000, 33) / cells, abs=5 * spread * both_ns)
    for action, amount in circuit.amounts(1000, 33, cells).items():
        assert written.actions[action] / cells == pytest.approx(amount / cells, abs=5 * spread)


def test_cells_that_keep_their_weights_take_no_pulse_in_the_next_batch() -> None:
    circuit = preset("neurram_stepped")
    still = circuit.model_copy(update={"pulses": circuit.pulses.model_copy(update={"read_sigma_frac": 0.0})})
    here = placed(small_chip(1, still), workload=network(image(8, 4), conv("a", "image", (8, 8), 4, 1)))
    chip = here.written(IDEAL)
    (work,) = chip.works.values()
    assert (work.pulses, work.cells, chip.most_programmings) == (0, 0, (0, 0))
    assert work.actions["verify"] == 8 * 64 * here.batch[0].region.copies


# -- seeds -------------------------------------------------------------------------------------------------------------


def assert_same(one: WrittenChip, two: WrittenChip) -> None:
    assert one.works == two.works
    assert_same_cells(one, two)
    assert one.cells.keys() == two.cells.keys()


def assert_same_cells(one: WrittenChip, two: WrittenChip) -> None:
    """Of all layers that the first one has."""
    for key, cells in one.cells.items():
        other = two.cells[key]
        np.testing.assert_array_equal(cells.programmed_usiemens, other.programmed_usiemens)
        np.testing.assert_array_equal(cells.stuck, other.stuck)
        for name, trait in cells.traits.items():
            np.testing.assert_array_equal(trait, other.traits[name])


def noisy_chip(write: str, seed: int, **options: Any) -> WrittenChip:
    return placed(small_chip(2, write), **options).written(generic(stuck_on_frac=0.05), seed)


@pytest.mark.parametrize("write", ["radar2b_row", "neurram_stepped"])
def test_the_seed_is_the_chip_on_any_number_of_threads(write: str) -> None:
    chips, before = [], numba.get_num_threads()
    try:
        for n_threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n_threads)
            chips.append(noisy_chip(write, 3, differential=True))
    finally:
        numba.set_num_threads(before)
    assert_same(*chips)
    other = noisy_chip(write, 4, differential=True)
    for key, cells in chips[0].cells.items():
        assert (cells.programmed_usiemens != other.cells[key].programmed_usiemens).mean() > 0.5
    assert any((cells.stuck != other.cells[key].stuck).any() for key, cells in chips[0].cells.items())


def test_crossbars_have_errors_and_faults_of_their_own() -> None:
    cells = list(noisy_chip("ideal_single", 0).cells.values())
    errors = [each.programmed_usiemens - each.target_usiemens for each in cells if each.stuck.shape == (16, 32)]
    whole = [each.stuck for each in cells if each.stuck.shape == (16, 32)]
    assert len(errors) > 5
    for one, other in pairwise(range(len(errors))):
        works = ~whole[one] & ~whole[other] & (cells[0].target_usiemens > 0)
        both = errors[one][works], errors[other][works]
        assert abs(np.corrcoef(*both)[0, 1]) < 5 / math.sqrt(works.sum())
        assert (whole[one] & whole[other]).sum() < whole[one].sum() / 2


@pytest.mark.parametrize(("scheme", "options"), [("reprogram", {}), ("static", {"replication": "none"})])
def test_another_layer_at_the_end_leaves_the_cells_before_it_alone(scheme: str, options: dict[str, Any]) -> None:
    device = generic(stuck_on_frac=0.05)
    few, many = (
        placed(small_chip(4, "radar2b_row"), scheme, workload=small_network(*more), **options).written(device)
        for more in ((), ("e", "f"))
    )
    assert len(many.cells) == len(few.cells) + 4
    assert_same_cells(few, many)


# -- in a report -------------------------------------------------------------------------------------------------------


def test_the_cell_that_is_programmed_most_ends_the_lifetime_and_energy_is_amounts_times_prices() -> None:
    options = {"differential": True, "grouping": "packed"}
    hardware = imcsim.load_hardware("rram-256", {"chip.n_tiles": 4}, "radar2b_row")
    trial = Trial(MODEL, DATA, images=2, device="ideal", ages_s=(0.0,))
    report = imcsim.run(MODEL, hardware, batch=4, options=options, trial=trial)
    network_ = load_quantised(MODEL)
    here = placed(hardware, batch=4, workload=load_network(MODEL), **options)
    here = Placed(hardware, here.plan, network_.layers, layout(here.plan, network_.layers, hardware))
    changes, wear = batches_of_levels(here, 3)
    most = max(int(counts.max()) for counts in wear.values())
    assert 1 < most < len(here.batch)
    lifetime = report.summary["lifetime_inferences"]
    assert (lifetime["writes_per_batch"], lifetime["inferences"]) == (most, 1e6 * 4 / most)
    assert wear[lifetime["crossbar"]].max() == most
    changed = sum(int(mask.sum()) for masks in changes.values() for mask in masks)
    assert report.summary["cells_written"] == changed
    pulses, prices = report.summary["write_pulses"], CostTable.of(hardware)
    wanted = pulses * (prices.price_pj("cell", "pulse") + prices.price_pj("cell", "verify"))
    assert report.summary["energy_by_component_pj"]["cell"] == pytest.approx(wanted / 4)
    assert pulses == pytest.approx(changed * preset("radar2b_row").mean_pulses, rel=0.02)
