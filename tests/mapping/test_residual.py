"""Does a residual correct the weights that a basis misses most, exactly, and at its price?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays

import imcsim as package
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.basis.fit import FitOptions, fit, fit_basis
from imcsim.mapping.basis.fitted import FittedBasis, check_fits, load_fitted
from imcsim.mapping.basis.residual import Residual
from imcsim.mapping.plan import Basis, BasisMvm, Region, Segments
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, Integers
from tests.conftest import Outcome
from tests.functional.test_basis_run import MODEL, NETWORK, inputs_of, placed, planned, slow_sums
from tests.mapping.test_basis_fit import SMALL, relative, small_layers
from tests.timing.test_recipes import actions_of, chip, fc, made, told

CORRECTED = ("layer2.conv1", "layer3.shortcut")
OPTIONS = FitOptions(
    nonzeros=16, init="svd", rounds=1, resident=("first", "last"), residual=0.05, residual_layers=CORRECTED
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("residual") / "fitted.safetensors"
    fit_basis(MODEL, OPTIONS).write(path)
    return str(path)


@pytest.fixture(scope="module")
def fitted(file: str) -> FittedBasis:
    return load_fitted(file)


def without(fitted: FittedBasis) -> FittedBasis:
    return replace(fitted, layers={k: replace(own, residual=Residual.none()) for k, own in fitted.layers.items()})


# -- what is corrected -------------------------------------------------------------------------------------------------

MISSED = drawn_arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-1e5, 1e5, width=32))


@given(missed=MISSED, share=st.floats(0, 1))
@settings(deadline=None)
def test_what_is_missed_most_is_corrected_and_nothing_gets_worse(missed: np.ndarray, share: float) -> None:
    residual = Residual.of(missed, share)
    left = np.abs(missed - residual.dense(*missed.shape))
    assert (left <= np.abs(missed)).all()
    n_chosen = round(share * missed.size)
    assert len(residual) <= n_chosen
    largest = np.sort(np.abs(missed).ravel())[::-1][:n_chosen]
    assert len(residual) >= (largest > 0.5).sum()
    inside = np.abs(missed).ravel()[residual.at] <= np.iinfo(np.int16).max
    assert (left.ravel()[residual.at][inside] <= 0.5).all()
    untouched = np.delete(np.abs(missed).ravel(), residual.at)
    if len(residual):
        assert untouched.max(initial=0.0) <= max(0.5, np.abs(missed).ravel()[residual.at].min())
    assert residual.is_sound()


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_error_falls_with_the_share(groups: int) -> None:
    layers = small_layers(groups)
    found = [fit(layers, replace(SMALL, residual=share), {}) for share in (0.0, 0.02, 0.1, 0.5, 1.0)]
    for layer in layers:
        errors = [relative(basis.weights(layer) - layer.weights, layer.weights) for basis in found]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > errors[-1]
        assert np.abs(found[-1].weights(layer) - layer.weights).max() <= 0.5
    rows = [basis.made_on["layers"][-1] for basis in found]
    assert [row["relative_error"] for row in rows] == sorted((row["relative_error"] for row in rows), reverse=True)


def test_share_0_changes_nothing() -> None:
    layers = small_layers()
    plain, none = fit(layers, SMALL, {}), fit(layers, replace(SMALL, residual=0.0), {})
    assert plain.made_on == none.made_on
    for layer in layers:
        np.testing.assert_array_equal(plain.weights(layer), none.weights(layer))
        assert not len(none.layers[layer.name].residual)


def test_only_the_named_layers_are_corrected(fitted: FittedBasis) -> None:
    plain = fit_basis(MODEL, replace(OPTIONS, residual=0.0, residual_layers=()))
    for layer in (layer for layer in NETWORK.layers if layer.name in fitted.layers):
        residual, before = fitted.layers[layer.name].residual, plain.weights(layer)
        np.testing.assert_array_equal(fitted.layers[layer.name].values, plain.layers[layer.name].values)
        if layer.name not in CORRECTED:
            assert not len(residual)
            continue
        assert len(residual) == round(0.05 * layer.weights.size)
        missed = np.abs(layer.weights - before).ravel()
        assert missed[residual.at].min() >= np.delete(missed, residual.at).max()
        corrected = before.ravel()[residual.at] + residual.values
        np.testing.assert_array_equal(fitted.weights(layer).ravel()[residual.at], corrected)


def test_the_summary_has_its_error_and_its_bits(fitted: FittedBasis) -> None:
    for row in fitted.made_on["layers"][:-1]:
        layer = next(layer for layer in NETWORK.layers if layer.name == row["layer"])
        missed = relative(fitted.weights(layer) - layer.weights, layer.weights)
        assert row["relative_error"] == pytest.approx(missed, rel=1e-5)
        own, kernels = fitted.layers[layer.name], layer.channels * -(-layer.rows // 128)
        index = (min(layer.rows, 128) - 1).bit_length()
        assert row["residual_bits"] == len(own.residual) * (8 + index)
        assert row["bits"] == kernels * 16 * (4 + 1 + 7) + row["residual_bits"]
    total = fitted.made_on["layers"][-1]
    assert total["residual_bits"] == sum(row["residual_bits"] for row in fitted.made_on["layers"][:-1]) > 0


def test_values_take_as_many_bits_as_the_largest() -> None:
    at = np.arange(2, dtype=np.int32)
    bits = [Residual(at, np.array([1, most], np.int16)).bits(100) for most in (3, 127, -127, 128, 255, 32767)]
    assert bits == [8 + 7, 8 + 7, 8 + 7, 9 + 7, 9 + 7, 16 + 7]


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_gives_the_residual_back(fitted: FittedBasis, tmp_path: Path) -> None:
    fitted.write(tmp_path / "again.safetensors")
    again = load_fitted(tmp_path / "again.safetensors")
    for name, own in fitted.layers.items():
        np.testing.assert_array_equal(again.layers[name].residual.at, own.residual.at)
        np.testing.assert_array_equal(again.layers[name].residual.values, own.residual.values)
    check_fits(again, NETWORK.layers, 128)


def test_a_file_without_one_has_none(fitted: FittedBasis, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "plain.safetensors"
    without(fitted).write(path)
    with safe_open(path, "numpy") as content:
        assert not [name for name in content.keys() if "residual" in name]  # noqa: SIM118
    assert not any(len(own.residual) for own in load_fitted(path).layers.values())


@pytest.mark.parametrize("at", [[3, 2], [2, 2], [-1, 2], [1, 2, 3], [[1, 2]]])
def test_corrections_that_are_none_are_refused(at: Any, fitted: FittedBasis, tmp_path: Path) -> None:
    wrong = Residual(np.array(at, np.int32), np.array([5, 6], np.int16))
    layers = {**fitted.layers, CORRECTED[0]: replace(fitted.layers[CORRECTED[0]], residual=wrong)}
    replace(fitted, layers=layers).write(tmp_path / "wrong.safetensors")
    with pytest.raises(ImcsimError, match="do not fit its own sizes"):
        load_fitted(tmp_path / "wrong.safetensors")


def test_corrections_beyond_the_layer_are_of_another_network(fitted: FittedBasis, tmp_path: Path) -> None:
    wrong = Residual(np.array([10**7], np.int32), np.array([5], np.int16))
    layers = {**fitted.layers, CORRECTED[0]: replace(fitted.layers[CORRECTED[0]], residual=wrong)}
    replace(fitted, layers=layers).write(tmp_path / "wrong.safetensors")
    with pytest.raises(ImcsimError, match=f"layer '{CORRECTED[0]}' has other sizes"):
        check_fits(load_fitted(tmp_path / "wrong.safetensors"), NETWORK.layers, 128)
    with pytest.raises(ImcsimError, match=f"the file has no layer like '{CORRECTED[0]}'"):
        planned(str(tmp_path / "wrong.safetensors"), "basis_broadcast", load_hardware("rram-256"))


# -- values ------------------------------------------------------------------------------------------------------------


def slow_products(layer: IntegerLayer, vectors: Integers, residual: Residual) -> Integers:
    """Weight by weight, (images, positions, channels)."""
    found = np.zeros((*vectors.shape[:2], layer.channels), np.int64)
    for at, value in zip(residual.at, residual.values, strict=True):
        channel, row = divmod(int(at), layer.rows)
        found[..., channel] += int(value) * vectors[:, :, channel // (layer.channels // layer.groups), row]
    return found


@pytest.mark.parametrize("overrides", [{}, {"crossbar.polarity": "offset"}])
@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_sums_are_those_of_the_basis_and_the_residual(
    scheme: str, overrides: dict[str, Any], file: str, fitted: FittedBasis
) -> None:
    _, arrays = placed(file, scheme, **overrides)
    for layer in (layer for layer in NETWORK.layers if layer.name in fitted.layers):
        vectors, residual = inputs_of(layer), fitted.layers[layer.name].residual
        exact = slow_sums(layer, vectors, fitted) + slow_products(layer, vectors, residual)
        assert np.abs(arrays(layer, vectors) - exact).max() <= 0.5 + 1e-6, layer.name


def test_with_all_weights_corrected_sums_are_nearly_exact(tmp_path: Path) -> None:
    """A residual for every weight leaves at most half a step of each."""
    fit_basis(MODEL, replace(OPTIONS, residual=1.0)).write(tmp_path / "all.safetensors")
    _, arrays = placed(str(tmp_path / "all.safetensors"), "basis_broadcast")
    for layer in (layer for layer in NETWORK.layers if layer.name in CORRECTED):
        vectors = inputs_of(layer)
        most = 0.5 + 0.5 * np.abs(vectors).sum(axis=(2, 3))[..., None]
        assert (np.abs(arrays(layer, vectors) - layer.sums(vectors)) <= most).all()


# -- costs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("route", "total", "cycles", "macs"), [
    ("broadcast", "digital", 6 * (2 + 1) // 2 + 1, 6 * (2 + 1)),  # 2 in a cycle; 4 operations in one
    ("exclusive", "analog", 6 * 1 // 2 + 2, 6 * 1),  # 4 operations that add segments, 4 of the outputs
])  # fmt: skip
def test_products_hold_the_digital_lanes_and_corrections_are_read(
    route: str, total: str, cycles: int, macs: int
) -> None:
    """K = 12, N = 6 in 3 segments; 2 coefficients and 1 correction of each kernel in a segment."""
    basis = Basis(4, 4, 2, 2, 2, route, total, 4)  # type: ignore[arg-type]
    slots, hw = ((1, 1, 1), 1.0) if route == "exclusive" else ((), 0.0), chip()
    segments = Segments(3, 6, 4, 3, 2, 2, *slots)
    plain = made(BasisMvm("fc", fc(12, 6), Region(0, 1, 2), basis, segments), hw)
    corrected = replace(segments, corrections=1.0, correction_bits=10)
    found = made(BasisMvm("fc", fc(12, 6), Region(0, 1, 2), basis, corrected), hw)
    assert ("digital[0]", 1, cycles, cycles) in told(found)
    before, after = actions_of(plain), actions_of(found)
    assert after["digital.mac"] == 9 * macs
    assert after["buffer.read_byte"] - before["buffer.read_byte"] == pytest.approx(9 * 6 * 10 / 8)
    assert after["digital.op"] - before["digital.op"] == 9 * 6 / 3  # one more for each output
    changed = {"digital.mac", "buffer.read_byte", "digital.op"}
    assert {key: after[key] for key in after if key not in changed} == {
        key: before[key] for key in before if key not in changed
    }


@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_a_run_pays_for_every_correction(scheme: str, file: str, fitted: FittedBasis, tmp_path: Path) -> None:
    without(fitted).write(tmp_path / "plain.safetensors")
    hardware = load_hardware("rram-256")
    plain, full = (
        package.run(MODEL, hardware, scheme, options={"basis": path})
        for path in (str(tmp_path / "plain.safetensors"), file)
    )
    operations = {op.layer.name: op for op in full.execution.plan.operations() if isinstance(op, BasisMvm)}
    products = sum(len(own.residual) * operations[name].layer.positions for name, own in fitted.layers.items())
    amounts = [report.energy.set_index("action")["amount"].to_dict() for report in (plain, full)]
    assert products > 0
    assert amounts[1]["mac"] - amounts[0].get("mac", 0) == pytest.approx(products)
    bits = sum(row["residual_bits"] for row in fitted.made_on["layers"][:-1])
    stored = [report.execution.plan.facts["coefficient_bytes"] for report in (plain, full)]
    assert stored[1] - stored[0] == pytest.approx(bits / 8, abs=len(CORRECTED))  # type: ignore[operator]
    assert full.summary["energy_pj"] > plain.summary["energy_pj"]
    assert full.summary["cycles_per_inference"] >= plain.summary["cycles_per_inference"]


# -- options and command -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "problem"), [
    ({"residual": 1.5}, "--residual: 1.5 is not from 0 to 1"),
    ({"residual": float("nan")}, "--residual: nan is not from 0 to 1"),
    ({"residual_layers": ("a",)}, "--residual-layers: no share of weights is given"),
    ({"residual": 0.1, "residual_layers": ("b",)}, "--residual-layers: there is no layer 'b' with weights"),
    ({"residual": 0.1, "resident": ("a",), "residual_layers": ("first",)}, "layer 'a' keeps its own weights; leave"),
])  # fmt: skip
def test_residuals_that_cannot_be_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImcsimError, match=problem):
        fit(small_layers(), replace(SMALL, **change), {})


def test_the_command_stores_and_shows_it(imcsim: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "basis.safetensors"
    words = ["basis", "fit", MODEL, "-o", str(path), "--nonzeros", "4", "--rounds", "0", "--resident", "first,fc"]
    outcome = imcsim(*words, "--residual", "0.02", "--residual-layers", "layer1.conv1,layer3.conv2")
    assert (outcome.code, outcome.err) == (0, f"written to {path}\n")
    basis = load_fitted(path)
    assert {name for name, own in basis.layers.items() if len(own.residual)} == {"layer1.conv1", "layer3.conv2"}
    assert "residual," in outcome.out
    plain = imcsim(*words)
    assert "residual" not in plain.out
