"""Is a basis measured as layers see it, and do coefficients fitted to it give sums that err less?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imcsim as package
from imcsim.functional.accuracy import LayerCounts
from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.basis_measurement import SPREAD, Measurements, fitted, sample_inputs, scatter2
from imcsim.functional.basis_refit import _segments, refitted
from imcsim.functional.calibration import AdcRanges, Range
from imcsim.functional.chip import write_chip
from imcsim.functional.layout import layout
from imcsim.functional.placement import BASIS, Content, Placement, Placements
from imcsim.functional.reading import Reading
from imcsim.functional.trial import Trial
from imcsim.hardware.devices import DeviceSpec, load_device
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.plan import BasisMvm
from imcsim.mapping.schemes import load_scheme
from imcsim.util.errors import ImcsimError
from imcsim.util.random_streams import rng
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import IntegerLayer, load_quantised
from tests.conftest import Outcome
from tests.functional.test_arrays import IDEAL
from tests.functional.test_basis_run import quick_fit

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
NETWORK = load_quantised(MODEL)
ERRORS = {"g_max_usiemens": 100.0, "on_off_ratio": 17.0, "n_levels": "continuous", "read_sigma_frac": 0.0}
NOISY = load_device("rram_generic", sigma_frac=0.03, **ERRORS)
LINEAR = {"crossbar.polarity": "paired", "crossbar.bits_per_cell": 8, "tile.adc.bits": 14}  # converters undo nothing
FINE = {key.replace(".", "__"): value for key, value in LINEAR.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quick_fit(tmp_path_factory.mktemp("basis"), "first", "last")


class Refit:
    """A chip, and the layouts before and after."""

    def __init__(
        self, basis: str, device: DeviceSpec, scheme: str = "basis_broadcast", seed: int = 0, **overrides: Any
    ) -> None:
        hardware = load_hardware("rram-256", {key.replace("__", "."): value for key, value in overrides.items()})
        self.plan = load_scheme(scheme, {"basis": basis}).plan(load_network(MODEL), hardware, 1, 0)
        self.before = layout(self.plan, NETWORK.layers, hardware)
        self.cells = write_chip(self.plan, self.before.contents, hardware, device, seed).cells
        self.reading = Reading(hardware, device, seed)
        self.measurements = Measurements(self.content, self.cells, self.reading)
        self.refit = refitted(self.before, self.plan, NETWORK.layers, self.cells, self.reading)
        self.after = self.refit.layout

    def elements(self, layer: IntegerLayer, rows: int = 128) -> np.ndarray:
        """(rows, vectors) as they were measured."""
        return self.measurements.of(layer, self.before.placements[layer.name], rows).elements

    def snr_db(self, layout_: Placements) -> np.ndarray:
        """By layer, for inputs of which most are small: half-normal, 200 of them."""
        arrays, found = AnalogArrays(layout_, self.cells, self.reading), []
        for layer in self.layers:
            shape = (1, 200, layer.groups, layer.rows)
            drawn = rng(3, "inputs", layer.name).standard_normal(shape) * 16
            inputs = np.rint(drawn).clip(0, 255).astype(np.int64) + layer.input.low - layer.input.zero
            exact = layer.sums(inputs)
            missed = np.square(arrays(layer, inputs) - exact, dtype=float).sum()
            found.append(LayerCounts(np.square(exact - layer.bias, dtype=float).sum(), missed).snr_db)
        return np.array(found)

    @property
    def content(self) -> Content:
        return self.before.contents[BASIS]

    @property
    def exact(self) -> np.ndarray:
        """(length, vectors) the elements that were aimed at."""
        return np.concatenate([block.weights for block in self.content.blocks], axis=1)

    @property
    def layers(self) -> list[IntegerLayer]:
        names = {op.layer.name for op in self.plan.operations() if isinstance(op, BasisMvm)}
        return [layer for layer in NETWORK.layers if layer.name in names]

    def matrix(self, placement: Placement, layer: IntegerLayer) -> np.ndarray:
        """(inputs, channels) what a placement makes of the measured elements."""
        whole = np.zeros((layer.groups * layer.rows, layer.channels))
        for parts in _segments(placement, self.content):
            values = np.concatenate([part.by_vector for part in parts])
            whole[np.ix_(parts[0].rows, parts[0].channels)] += self.elements(layer, len(parts[0].rows)) @ values
        return whole * placement.scale


# -- the measurement ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_where_converters_give_every_sum_ideal_cells_keep_their_coefficients(scheme: str, file: str) -> None:
    chip = Refit(file, IDEAL, scheme, tile__adc__bits=17)
    np.testing.assert_array_equal(chip.elements(chip.layers[0]), chip.measurements.ideal)
    assert all(chip.after.placements[name] is placed for name, placed in chip.before.placements.items())
    assert chip.refit.before_frac == chip.refit.after_frac < 1e-6


@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_errors_of_the_cells_are_measured_where_converters_show_them(scheme: str, file: str) -> None:
    """The elements are those that the conductances add up to, but for what noise hides."""
    chip = Refit(file, NOISY, scheme, **FINE)
    code = chip.content.code
    levels = code.by_column(np.asarray(chip.reading.device_levels(chip.cells[BASIS, 0], code), float))
    off, ideal = chip.elements(chip.layers[1]) - levels, chip.measurements.ideal
    assert np.std(levels - ideal) > 5
    assert np.std(off) < 0.2 * np.std(levels - ideal)


def test_a_coarse_converter_shows_less_than_the_conductances(file: str) -> None:
    """One code for each level rounds most errors of few cells away."""
    chip = Refit(file, NOISY, tile__adc__bits=10)
    code, cells = chip.content.code, [chip.cells[BASIS, n] for n in range(len(chip.content.blocks))]
    levels = [code.by_column(np.asarray(chip.reading.device_levels(some, code), float)) for some in cells]
    by_digit = np.concatenate(levels, axis=1).reshape(128, -1, code.slices, 2)
    written = np.einsum("rvsp,s,p->rv", by_digit, 4.0 ** np.arange(code.slices), [1.0, -1.0])
    shown = np.std(chip.elements(chip.layers[0], 16) - chip.measurements.ideal[:16])
    assert shown < 0.3 * np.std(written[:16] - chip.measurements.ideal[:16])


def test_a_layer_is_measured_in_its_own_range_and_about_its_own_zero(file: str) -> None:
    chip = Refit(file, NOISY, **FINE)
    layer, other = chip.layers[:2]
    ranges = {layer.name: Range(low=-30.0, high=30.0, seen=30.0)}
    narrow = replace(chip.reading, calibration=AdcRanges(made_on={}, layers=ranges))
    measurements = Measurements(chip.content, chip.cells, narrow)
    placed = chip.before.placements
    gains = [measurements.of(own, placed[own.name], 128).gain(measurements.ideal) for own in (layer, other)]
    assert gains[0] < 0.8 < 0.95 < gains[1]
    shifted = replace(layer, input=replace(layer.input, zero=layer.input.low + 83))
    means = [sample_inputs(own, 128, 0).mean() for own in (layer, shifted)]
    assert means == pytest.approx([255 * SPREAD / np.sqrt(2 * np.pi), 83], rel=0.02)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 3.0]), st.sampled_from([0.5, 20.0, 400.0]))
@settings(max_examples=30, deadline=None)
def test_the_fit_beats_both_least_squares_and_what_was_aimed_at(seed: int, off: float, noise: float) -> None:
    """Or is as good as the better one but for the error of an estimated ratio; its doubt is what it misses."""
    drawn = np.random.default_rng(seed)
    ideal, inputs = drawn.integers(-99, 100, (24, 16)).astype(float), drawn.integers(0, 16, (200, 24)).astype(float)
    real = ideal + off * drawn.standard_normal(ideal.shape)
    results = np.rint(inputs @ real + noise * drawn.standard_normal((200, 16)))
    found = fitted(inputs, np.eye(16), results, ideal)
    plain = np.linalg.lstsq(inputs, results, rcond=None)[0]
    missed, by_plain, by_ideal = (np.square(each - real).sum() for each in (found.elements, plain, ideal))
    assert missed <= 1.1 * min(by_plain, by_ideal) + 0.02 * by_plain
    if off > 1 and noise < 100:  # beyond, 384 elements tell the ratio of the variances to no better than a third
        assert found.doubt * 16 == pytest.approx(missed, rel=0.4)


def test_noise_alone_leaves_what_was_aimed_at() -> None:
    estimates, variances = np.full(10, 0.9), np.ones(10)
    assert scatter2(estimates, variances) == 0
    assert scatter2(2 * estimates, variances) == pytest.approx(1.8**2 - 1)


def test_wires_are_part_of_what_is_measured(file: str) -> None:
    wires = {"kind": "resistive", "wordline_ohm": 1.0, "bitline_ohm": 1.0, "driver_ohm": 0.0, "sense_ohm": 0.0}
    chip = Refit(file, IDEAL, **FINE, crossbar__wires={**wires, "model": "ladder"})
    behind = chip.content.code.by_column(chip.reading.device_levels(chip.cells[BASIS, 0], chip.content.code))
    lost = np.std(behind - chip.measurements.ideal)
    assert lost > 1
    assert np.std(chip.elements(chip.layers[1]) - behind) < 0.2 * lost
    assert (chip.snr_db(chip.after) > chip.snr_db(chip.before)).all()


# -- the coefficients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
@pytest.mark.parametrize("overrides", [{}, {"tile__adc__bits": 10}, FINE], ids=["8 bits", "10 bits", "fine"])
def test_sums_err_less(scheme: str, overrides: dict[str, Any], file: str) -> None:
    """Clearly where converters show errors; never more, on average, where they round them away."""
    chip = Refit(file, NOISY, scheme, **overrides)
    gain_db = (chip.snr_db(chip.after) - chip.snr_db(chip.before)).mean()
    assert gain_db > (1.5 if overrides is FINE else 0.0)
    assert chip.refit.after_frac < chip.refit.before_frac
    for layer in chip.layers:
        found = chip.after.placements[layer.name]
        np.testing.assert_allclose(found.row_sums, chip.matrix(found, layer).sum(axis=0), rtol=1e-6, atol=1e-6)


def test_a_converter_that_loses_most_changes_nothing(file: str) -> None:
    chip = Refit(file, NOISY, **{**FINE, "tile__adc__bits": 6})
    assert all(chip.after.placements[name] is placed for name, placed in chip.before.placements.items())


def test_what_lies_beside_the_parts_stays(file: str) -> None:
    chip = Refit(file, NOISY, **FINE)
    name = chip.layers[0].name
    biased = replace(chip.before.placements[name], bias=np.arange(16))
    places = replace(chip.before, placements={**chip.before.placements, name: biased})
    again = refitted(places, chip.plan, NETWORK.layers, chip.cells, chip.reading).layout.placements[name]
    np.testing.assert_array_equal(again.bias, np.arange(16))
    np.testing.assert_array_equal(again.row_sums, chip.after.placements[name].row_sums)


def test_coefficients_keep_their_places_and_bits(file: str) -> None:
    chip = Refit(file, NOISY)
    for layer in chip.layers:
        old, new = (places.placements[layer.name].parts for places in (chip.before, chip.after))
        for before, after in zip(old, new, strict=True):
            assert not after.by_vector[before.by_vector == 0].any()
            assert np.abs(after.by_vector).max() < 32
    kept = set(chip.before.placements) - {layer.name for layer in chip.layers}
    assert kept
    assert all(chip.after.placements[name] is chip.before.placements[name] for name in kept)


def test_dense_coefficients_are_refitted_too() -> None:
    chip = Refit("hadamard", NOISY)
    assert chip.refit.after_frac < 0.8 * chip.refit.before_frac
    assert (chip.snr_db(chip.after) > chip.snr_db(chip.before)).all()


def ran(file: str, refit: bool, seed: int = 0) -> dict[str, Any]:
    options = {**ERRORS, "sigma_frac": 0.03}
    trial = Trial(MODEL, DATA, images=40, device="rram_generic", device_options=options, refit=refit)
    report = package.run(
        MODEL, package.Preset("rram-256", LINEAR), "basis_broadcast", options={"basis": file}, seed=seed, trial=trial
    )
    return dict(report.summary["values"])


def test_layers_of_a_run_err_less(file: str) -> None:
    """All but the first and the last, which keep weights of their own."""
    plain, fitted, again, other = (
        ran(file, refit, seed) for refit, seed in ((False, 0), (True, 0), (True, 0), (True, 1))
    )
    before, after = ([layer["snr"]["db"] for layer in found["layers"][1:-1]] for found in (plain, fitted))
    assert all(new > old for old, new in zip(before, after, strict=True))
    assert np.mean(after) > np.mean(before) + 1
    assert (plain["refit"], fitted["refit"]) == (False, True)
    assert plain["refits"] == []
    (refit,) = fitted["refits"]
    assert refit["seed"] == 0
    assert 0 < refit["weight_error_after_frac"] < 0.85 * refit["weight_error_before_frac"] < 1
    assert fitted == again
    assert fitted["layers"] != other["layers"]


def test_two_chips_have_coefficients_of_their_own(file: str) -> None:
    first, second = (Refit(file, NOISY, seed=seed) for seed in (0, 1))
    name = first.layers[0].name
    parts = [chip.after.placements[name].parts[0] for chip in (first, second)]
    assert (parts[0].by_vector != parts[1].by_vector).any()


def test_without_a_basis_there_is_nothing_to_refit() -> None:
    trial = Trial(MODEL, DATA, images=2, refit=True)
    with pytest.raises(ImcsimError, match=r"scheme 'static': combines no basis, so there is nothing to refit; .*"):
        package.run(MODEL, "rram-256", "static", trial=trial)
    with pytest.raises(ImcsimError, match="its coefficients are synthetic"):
        package.run(MODEL, "rram-256", "basis_broadcast", trial=trial)


def test_a_comparison_refits_where_there_is_a_basis(file: str, imcsim: Callable[..., Outcome], tmp_path: Path) -> None:
    words = ["--write", "radar2b_row", "--schemes", "basis_broadcast", "--basis", file, "--data", DATA, "--images", "4"]
    words += ["--refit", "--keep-runs", "--jobs", "1", "--out", str(tmp_path)]
    outcome = imcsim("compare", MODEL, "--hardware", "rram-256", *words)
    assert outcome.code == 0, outcome.err
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("*/report.json")]
    assert {report["scheme"]: report["values"]["refit"] for report in reports} == {
        "basis_broadcast": True, "reprogram": False,
    }  # fmt: skip
