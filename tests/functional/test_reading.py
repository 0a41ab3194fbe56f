"""Are programmed cells read as wires, converters, drift and its compensation say, and charged for what is used?"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import imcsim
from imcsim.functional.accuracy import evaluate
from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.reading import Reading
from imcsim.functional.trial import Trial
from imcsim.hardware.devices import DeviceSpec, load_device
from imcsim.hardware.devices.ideal import IdealDevice
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.hardware.wires import Network, Wires
from imcsim.workload.datasets import load_dataset
from imcsim.workload.quantised import IntegerLayer, Integers, load_quantised
from tests.functional.test_arrays import IDEAL, NOISY, chip, vectors_of
from tests.support.crossbars import arrays_of, placed, random_weights, small_chip
from tests.workload.test_quantised import small_network as small_model

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
PRIVATE = {"kind": "private", "n_per_crossbar": 1}


def wires(word_ohm: float, bit_ohm: float, driver_ohm: float = 0.0, sense_ohm: float = 0.0) -> dict[str, Any]:
    ends = {"driver_ohm": driver_ohm, "sense_ohm": sense_ohm}
    return {"kind": "resistive", "wordline_ohm": word_ohm, "bitline_ohm": bit_ohm, **ends}


def exact_adc(**errors: float) -> dict[str, Any]:
    """A code for every whole sum."""
    adc: dict[str, Any] = {"kind": "ideal", "bits": 12, "convert_ns": 1, "sharing": PRIVATE}
    return adc | {"errors": {"kind": "normal", "noise_lsb": 0.0, "offset_lsb": 0.0, **errors}}


def sums(layer: IntegerLayer, vectors: Integers, hardware: Hardware, device: DeviceSpec, **reading: Any) -> Integers:
    return np.asarray(arrays_of([layer], hardware, device, **reading)(layer, vectors))


# -- wires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [IDEAL, NOISY], ids=["ideal", "noisy"])
def test_wires_without_resistance_are_ideal_wires(device: DeviceSpec) -> None:
    layer = random_weights("layer", 6, 40)
    vectors = vectors_of(layer, np.random.default_rng(0))
    without, ideal = (sums(layer, vectors, chip(**more), device, age_s=20.0)
                      for more in ({"crossbar__wires": wires(0, 0)}, {}))  # fmt: skip
    np.testing.assert_array_equal(without, ideal)


def nodal_sums(layer: IntegerLayer, vectors: Integers, arrays: AnalogArrays, ohms: Wires) -> Integers:
    """From the solution of all nodes, vector by vector of digits, through a converter of whole levels."""
    bar, n_codes = arrays.reading.hardware.crossbar, 1 << arrays.reading.hardware.tile.adc.bits
    driven = vectors.reshape(-1, layer.groups * layer.rows) + layer.input.zero + 128
    found = np.zeros((len(driven), layer.channels), np.int64)
    for part in arrays.layout.placements[layer.name].parts:
        g_usiemens = Network(arrays.cells[part.content, part.number].programmed_usiemens, ohms).effective_usiemens()
        levels = np.rint((g_usiemens - 2.0) / 16.0 * 256)  # as fixed-point numbers, 256 to a level
        columns = np.zeros((len(driven), levels.shape[1]), np.int64)
        for shift in range(0, 8, bar.dac_bits):
            digits = driven[:, part.rows] >> shift & (1 << bar.dac_bits) - 1
            for first in range(0, len(part.rows), bar.wordlines_active):
                group = slice(first, first + bar.wordlines_active)
                codes = np.floor((digits[:, group] @ levels[group] + 128) / 256)
                columns += np.clip(codes, 0, n_codes - 1).astype(np.int64) << shift
        digits_of = columns.reshape(len(driven), -1, 4, 2)
        found[:, part.channels] += (digits_of[..., 0] - digits_of[..., 1]) @ 4 ** np.arange(4)
    shift_sum = (layer.input.zero + 128) * layer.weights.sum(axis=1)
    return (found + layer.bias - shift_sum).reshape(*vectors.shape[:2], -1)


@pytest.mark.parametrize(("dac_bits", "wordlines"), [(1, 32), (2, 8)])
@pytest.mark.parametrize("ohms", [Wires(3.0, 3.0), Wires(1.0, 2.0, 100.0, 50.0)])
def test_sums_behind_wires_are_those_of_all_nodes(ohms: Wires, dac_bits: int, wordlines: int) -> None:
    hardware = chip(
        crossbar__wires=wires(ohms.wordline_ohm, ohms.bitline_ohm, ohms.driver_ohm, ohms.sense_ohm),
        crossbar__dac_bits=dac_bits, crossbar__wordlines_active=wordlines,
    )  # fmt: skip
    layer = random_weights("layer", 6, 40)
    vectors = vectors_of(layer, np.random.default_rng(1))
    arrays = arrays_of([layer], hardware, IDEAL)
    found = arrays(layer, vectors)
    np.testing.assert_array_equal(found, nodal_sums(layer, vectors, arrays, ohms))
    assert (found != layer.sums(vectors)).any()


def test_accuracy_falls_with_resistance() -> None:
    """Of all crossbars of the shipped network, each line ending behind so many ohm per cell."""
    network, data = load_quantised(MODEL), load_dataset(DATA).first(20)
    found = []
    for ohm in (0.0, 4.0, 16.0):
        hardware = load_hardware("rram-256", {"crossbar.wires": wires(ohm, ohm), "tile.adc.bits": 9})
        arrays = arrays_of(network.layers, hardware, load_device("ideal", g_max_usiemens=40.0))
        found.append(evaluate(network, data.scaled((0.0,), (1.0,)), data.labels, arrays))
    print("agreement at 0, 4 and 16 ohm:", [each.agreement_frac for each in found])
    agreement = [each.agreement_frac for each in found]
    assert agreement[0] == 1
    assert agreement == sorted(agreement, reverse=True)
    assert agreement[-1] < 0.5
    for less, more in pairwise(found):
        assert all(more.snr_db[name] < less.snr_db[name] for name in less.snr_db)


# -- errors of converters ----------------------------------------------------------------------------------------------


def column_results(hardware: Hardware, number: int, digits: list[int], n: int = 3000, seed: int = 0) -> Any:
    """(n, columns) results of the same vector again and again, and the exact ones."""
    layer = random_weights("layer", 8, 32)
    arrays = arrays_of([layer], hardware, IDEAL)
    code, cells = arrays.layout.contents["layer"].code, arrays.cells["layer", 0]
    part = replace(arrays.layout.placements["layer"].parts[0], number=number)
    read = Reading(hardware, IDEAL, seed).readable([cells], code, part, "layer")
    inputs = np.tile(np.asarray(digits, np.int64), (n, 1))
    levels = code.encode(arrays.layout.contents["layer"].blocks[0].weights)
    return read.products(inputs, 8, np.arange(n)).results, np.asarray(digits) @ levels


def test_noise_of_conversions_adds_up_over_the_digits() -> None:
    """Of a result: sum over 4^bit (sigma^2 + 1/12 of rounding), for sigma is well above the step."""
    results, exact = column_results(chip(tile__adc=exact_adc(noise_lsb=1.5)), 0, list(range(0, 256, 8)))
    wanted = (4.0 ** np.arange(8)).sum() * (1.5**2 + 1 / 12)
    errors = (results - exact).ravel()
    assert errors.var() == pytest.approx(wanted, rel=5 * math.sqrt(2 / errors.size))
    assert errors.mean() == pytest.approx(0, abs=5 * math.sqrt(wanted / errors.size))
    assert np.corrcoef(results[:, 0], results[:, 1])[0, 1] == pytest.approx(0, abs=5 / math.sqrt(len(results)))


def test_an_offset_belongs_to_its_column() -> None:
    hardware = chip(tile__adc=exact_adc(noise_lsb=1.0, offset_lsb=2.0))
    spread = math.sqrt((4.0 ** np.arange(8)).sum() * (1.0 + 1 / 12) / 3000) / 255

    def offsets(number: int, digits: list[int], seed: int = 0) -> NDArray[np.float64]:
        results, exact = column_results(hardware, number, digits, seed=seed)
        return np.asarray((results - exact).mean(axis=0) / 255)

    one, other = offsets(0, list(range(0, 256, 8))), offsets(0, [77] * 32)
    assert np.abs(one - other).max() < 5 * math.sqrt(2) * spread
    assert np.abs(one - offsets(0, [77] * 32, seed=1)).max() > 1
    assert np.abs(one - offsets(1, [77] * 32)).max() > 1
    many = np.concatenate([offsets(number, [77] * 32) for number in range(8)])
    assert many.var() == pytest.approx(2.0**2, rel=5 * math.sqrt(2 / many.size))
    assert many.mean() == pytest.approx(0, abs=5 * 2 / math.sqrt(many.size))


# -- drift -------------------------------------------------------------------------------------------------------------


class Grown(IdealDevice):
    """After one second conductances are twice what they were, in one column of so many."""

    one_in: int = 1

    def drifted_usiemens(self, cells: Any, age_s: Any) -> Any:
        is_grown = np.arange(cells.programmed_usiemens.shape[1]) % self.one_in == 0
        return cells.programmed_usiemens * np.where(is_grown & (np.asarray(age_s) >= 1), 2.0, 1.0)


@pytest.mark.parametrize(("one_in", "undone_by"), [(1, ["global", "column"]), (3, ["column"])])
def test_compensation_undoes_what_it_can_see(one_in: int, undone_by: list[str]) -> None:
    """Twice the conductance lets converters with a code for every sum lose nothing."""
    device = Grown(kind="ideal", g_max_usiemens=50.0, one_in=one_in)
    layer = random_weights("layer", 6, 40)
    vectors = vectors_of(layer, np.random.default_rng(3))
    for compensation in ("none", "global", "column"):
        found = sums(layer, vectors, chip(tile__adc=exact_adc()), device, age_s=1.0, compensation=compensation)
        assert (found == layer.sums(vectors)).all() == (compensation in undone_by), compensation
        fresh = sums(layer, vectors, chip(tile__adc=exact_adc()), device, compensation=compensation)
        np.testing.assert_array_equal(fresh, layer.sums(vectors))


# -- use of the arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"scheme": "basis_broadcast", "basis": "hadamard"}], ids=["own", "basis"])
@pytest.mark.parametrize("polarity", ["differential", "offset", "paired"])
def test_activity_is_a_count_of_digits_and_levels(options: dict[str, Any], polarity: str) -> None:
    here = placed(small_chip(2, crossbar__dac_bits=2, crossbar__polarity=polarity), **options)
    arrays = AnalogArrays(here.layout, here.written(IDEAL).cells, Reading(here.hardware, IDEAL))
    for layer in here.layers:
        vectors = np.random.default_rng(0).integers(-128, 128, (2, 2, layer.groups, layer.rows)) - layer.input.zero
        arrays(layer, vectors)
        driven = drivable = charge = chargeable = 0
        for part in here.layout.placements[layer.name].parts:
            content = here.layout.contents[part.content]
            levels = content.code.encode(content.blocks[part.number].weights).sum(axis=1).tolist()
            highest = content.code.levels - 1
            n_devices = content.code.encode(content.blocks[part.number].weights).shape[1]
            for vector in vectors.reshape(4, -1):
                for row, x in enumerate((vector[part.rows] + layer.input.zero + 128).tolist()):
                    digits = sum(x >> shift & 3 for shift in (0, 2, 4, 6))
                    driven, drivable = driven + digits, drivable + 4 * 3
                    charge, chargeable = charge + digits * levels[row], chargeable + 4 * 3 * highest * n_devices
        counts = arrays.counts[layer.name]
        assert (counts.driven, counts.drivable, counts.chargeable) == (driven, drivable, chargeable)
        assert counts.charge == pytest.approx(charge)


def test_stated_activity_prices_reads_by_what_values_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    onnx.save(small_model(rng, np.int8, 2, 1, 1), tmp_path / "small.onnx")
    np.savez(tmp_path / "data.npz", images=rng.integers(0, 256, (4, 3, 7, 6), np.uint8), labels=rng.integers(0, 5, 4))
    model, trial = str(tmp_path / "small.onnx"), {"images": 4, "device": "ideal", "ages_s": (0.0,)}
    stated, unstated = {"kind": "stated", "driven_frac": 0.4, "charge_frac": 0.2}, {"kind": "unstated"}

    def run(activity: dict[str, Any], values: bool) -> Any:
        found = Trial(model, str(tmp_path / "data.npz"), **trial) if values else None  # type: ignore[arg-type]
        return imcsim.run(model, small_chip(16, crossbar__activity=activity), "static", trial=found)

    plain, priced = run(unstated, True), run(stated, True)
    found = {each["layer"]: each for each in priced.summary["values"]["layers"]}
    amounts, seen = plain.execution.amounts(), set()
    scales = {("dac", "drive"): ("driven_frac", 0.4), ("array", "read"): ("charge_frac", 0.2)}
    for (layer, component, action), amount in priced.execution.amounts().items():
        name, at = scales.get((component, action), ("", 1.0))
        seen |= {(layer, name)} if name else set()
        ratio = found[layer][name] / at if name else 1.0
        assert amount == pytest.approx(ratio * amounts[layer, component, action]), (layer, component, action)
    assert seen == {(layer, name) for layer in found for name in ("driven_frac", "charge_frac")}
    assert priced.summary["makespan_ns"] == plain.summary["makespan_ns"]
    without = [run(activity, False) for activity in (stated, unstated)]
    assert without[0].energy.equals(without[1].energy)
    assert plain.energy["energy_pj"].sum() == pytest.approx(without[1].energy["energy_pj"].sum())
