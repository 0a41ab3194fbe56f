"""Do coefficients that are fitted to a measured basis stand for the weights better than those they replace?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imcsim as package
from imcsim.basis.fit import FitOptions, fit_file
from imcsim.basis.fitted import save_fitted
from imcsim.basis.refitting import _integers, _segments, measured, refitted
from imcsim.devices import DeviceSpec, load_device
from imcsim.errors import ImcsimError
from imcsim.functional.chip import write_chip
from imcsim.functional.placement import BASIS, Content, Layout, Placement, layout
from imcsim.functional.reading import Reading
from imcsim.hardware import load_hardware
from imcsim.importers import load_network
from imcsim.plan import BasisMvm
from imcsim.quantised import IntegerLayer, load_quantised
from imcsim.schemes import load_scheme
from imcsim.values import Trial
from tests.conftest import Outcome
from tests.test_arrays import IDEAL

MODELS = Path(__file__).parents[1] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
NETWORK = load_quantised(MODEL)
ERRORS = {"g_max_usiemens": 100.0, "on_off_ratio": 17.0, "n_levels": "continuous", "read_sigma_frac": 0.0}
NOISY = load_device("rram_generic", sigma_frac=0.03, **ERRORS)
LINEAR = {"crossbar.polarity": "paired", "crossbar.bits_per_cell": 8, "tile.adc.bits": 14}  # converters undo nothing


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("basis") / "fitted.safetensors"
    options = FitOptions(nonzeros=48, coeff_bits=5, init="svd", rounds=1, resident=("first", "last"))
    save_fitted(fit_file(MODEL, options), path)
    return str(path)


class Refit:
    """A chip, its measured basis, and the layouts before and after."""

    def __init__(
        self, basis: str, device: DeviceSpec, scheme: str = "basis_broadcast", seed: int = 0, **overrides: Any
    ) -> None:
        hardware = load_hardware("rram-256", {key.replace("__", "."): value for key, value in overrides.items()})
        self.plan = load_scheme(scheme, {"basis": basis}).plan(load_network(MODEL), hardware, 1, 0)
        self.before = layout(self.plan, NETWORK.layers, hardware)
        cells = write_chip(self.plan, self.before.contents, hardware, device, seed).cells
        reading = Reading(hardware, device, seed)
        self.elements = measured(self.content, cells, reading)
        self.after = refitted(self.before, self.plan, NETWORK.layers, cells, reading)

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
            values = np.concatenate([_integers(part) for part in parts])
            whole[np.ix_(parts[0].rows, parts[0].channels)] += self.elements[: len(parts[0].rows)] @ values
        return whole * placement.scale

    def errors(self, layout_: Layout) -> np.ndarray:
        """By layer and channel: the length of what its weights miss, relative to all the layer's."""
        found = []
        for layer in self.layers:
            missed = self.matrix(layout_.placements[layer.name], layer) - layer.weights.T
            found.append(np.linalg.norm(missed, axis=0) / np.linalg.norm(layer.weights) * np.sqrt(layer.channels))
        return np.concatenate(found)


def test_ideal_cells_are_measured_exactly_and_gain_nothing_to_speak_of(file: str) -> None:
    chip = Refit(file, IDEAL)
    np.testing.assert_allclose(chip.elements, chip.exact, atol=1e-4)
    before, after = chip.errors(chip.before), chip.errors(chip.after)
    assert (after <= before + 1e-6).all()
    assert after.mean() > 0.9 * before.mean()


@pytest.mark.parametrize("polarity", ["differential", "offset"])
def test_errors_of_the_cells_are_measured(polarity: str, file: str) -> None:
    """The elements miss by what independent errors of all digits add up to."""
    chip = Refit(file, NOISY, crossbar__polarity=polarity)
    level = 100 * (1 - 1 / 17) / 3
    columns = 2 if polarity == "differential" else 1
    expected = 3.0 / level * np.sqrt(columns * sum(16**digit for digit in range(4)))
    assert np.std(chip.elements - chip.exact) == pytest.approx(expected, rel=0.1)


def test_wires_are_part_of_what_is_measured(file: str) -> None:
    wires = {"kind": "resistive", "wordline_ohm": 1.0, "bitline_ohm": 1.0, "driver_ohm": 0.0, "sense_ohm": 0.0}
    chip = Refit(file, IDEAL, crossbar__wires={**wires, "model": "ladder"})
    slope = (chip.elements * chip.exact).sum() / np.square(chip.exact).sum()
    assert 0.9 < slope < 0.999
    assert chip.errors(chip.after).mean() < chip.errors(chip.before).mean()


@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_no_channel_gets_worse_and_all_together_clearly_better(scheme: str, file: str) -> None:
    chip = Refit(file, NOISY, scheme)
    before, after = chip.errors(chip.before), chip.errors(chip.after)
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.85 * before.mean()
    for layer in chip.layers:
        found = chip.after.placements[layer.name]
        np.testing.assert_allclose(found.row_sums, chip.matrix(found, layer).sum(axis=0), atol=1e-6)


def test_coefficients_keep_their_places_and_bits(file: str) -> None:
    chip = Refit(file, NOISY)
    for layer in chip.layers:
        old, new = (places.placements[layer.name].parts for places in (chip.before, chip.after))
        for before, after in zip(old, new, strict=True):
            assert not _integers(after)[_integers(before) == 0].any()
            assert np.abs(_integers(after)).max() < 32
    kept = set(chip.before.placements) - {layer.name for layer in chip.layers}
    assert kept
    assert all(chip.after.placements[name] is chip.before.placements[name] for name in kept)


def test_dense_coefficients_are_refitted_too() -> None:
    chip = Refit("hadamard", NOISY)
    before, after = chip.errors(chip.before), chip.errors(chip.after)
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.5 * before.mean()


def ran(file: str, refit: bool, seed: int = 0) -> dict[str, Any]:
    options = {**ERRORS, "sigma_frac": 0.03}
    trial = Trial(MODEL, DATA, images=40, device="rram_generic", device_options=options, refit=refit)
    report = package.run(
        MODEL, "rram-256", "basis_broadcast", overrides=LINEAR, options={"basis": file}, seed=seed, trial=trial
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
    assert fitted == again
    assert fitted["layers"] != other["layers"]


def test_two_chips_have_coefficients_of_their_own(file: str) -> None:
    first, second = (Refit(file, NOISY, seed=seed) for seed in (0, 1))
    name = first.layers[0].name
    parts = [chip.after.placements[name].parts[0] for chip in (first, second)]
    assert (_integers(parts[0]) != _integers(parts[1])).any()


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
