"""Does a fitted basis run as its file says: the same integers, real counts, resident layers, accuracy beside cycles?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imcsim as package
from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.chip import write_chip
from imcsim.functional.layout import layout
from imcsim.functional.placement import Placements
from imcsim.functional.reading import Reading
from imcsim.functional.trial import Trial
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.mapping.basis.fit import FitOptions, fit_basis
from imcsim.mapping.basis.fitted import FittedBasis, load_fitted
from imcsim.mapping.plan import BasisMvm, Plan
from imcsim.mapping.schemes import load_scheme
from imcsim.mapping.tiling import Tiling
from imcsim.util.errors import ImcsimError
from imcsim.util.random_streams import rng
from imcsim.workload.datasets import load_dataset
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import IntegerLayer, Integers, load_quantised
from tests.conftest import Outcome
from tests.functional.test_arrays import IDEAL

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
NETWORK = load_quantised(MODEL)
LOSSLESS = {"tile.adc.bits": 20}


def quick_fit(folder: Path, *resident: str) -> str:
    """A file with 48 of 128 vectors, few enough rounds for a test."""
    path = folder / "fitted.safetensors"
    fit_basis(MODEL, FitOptions(nonzeros=48, coeff_bits=5, init="svd", rounds=1, resident=resident)).write(path)
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quick_fit(tmp_path_factory.mktemp("basis"), "first", "last")


@pytest.fixture(scope="module")
def fitted(file: str) -> FittedBasis:
    return load_fitted(file)


def planned(file: str, scheme: str, hardware: Hardware, **options: Any) -> Plan:
    return load_scheme(scheme, {"basis": file, **options}).plan(load_network(MODEL), hardware, 1, 0)


def placed(file: str, scheme: str, **overrides: Any) -> tuple[Placements, AnalogArrays]:
    hardware = load_hardware("rram-256", LOSSLESS | overrides)
    plan = planned(file, scheme, hardware)
    places = layout(plan, NETWORK.layers, hardware)
    cells = write_chip(plan, places.contents, hardware, IDEAL, 0).cells
    return places, AnalogArrays(places, cells, Reading(hardware, IDEAL))


def inputs_of(layer: IntegerLayer) -> Integers:
    """Of 2 images and 3 positions, anything that the layer takes."""
    drawn = rng(4, "test inputs").integers(layer.input.low, layer.input.high + 1, (2, 3, layer.groups, layer.rows))
    return np.asarray(drawn - layer.input.zero)


def slow_sums(layer: IntegerLayer, vectors: Integers, fitted: FittedBasis) -> np.ndarray:
    """Before rounding: the inputs times what stands for the weights, rows of other groups in a segment included."""
    stored, segments = fitted.layers[layer.name], Tiling.of(layer, len(fitted.elements)).blocks()
    matrix = np.zeros((layer.groups * layer.rows, layer.channels))
    for segment, values in zip(segments, stored.values, strict=True):
        block = fitted.elements[: len(segment.rows)] @ values[:, : len(segment.channels)].astype(np.int64)
        matrix[np.ix_(segment.rows, segment.channels)] += block * stored.scale[segment.channels].astype(float)
    flat = vectors.reshape(vectors.shape[0] * vectors.shape[1], -1)
    return (flat @ matrix + layer.bias).reshape(*vectors.shape[:2], -1)


@pytest.mark.parametrize("overrides", [
    {}, {"crossbar.polarity": "offset"}, {"crossbar.polarity": "paired"}, {"crossbar.bits_per_cell": 3},
])  # fmt: skip
@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_ideal_cells_give_what_the_file_stands_for(
    scheme: str, overrides: dict[str, Any], file: str, fitted: FittedBasis
) -> None:
    """Before the converter or behind it: with exact cells and enough codes sums are those of the coefficients."""
    places, arrays = placed(file, scheme, **overrides)
    rng = np.random.default_rng(0)
    for layer in NETWORK.layers:
        given = rng.integers(layer.input.low, layer.input.high + 1, (1, 7, layer.groups, layer.rows))
        vectors = given - layer.input.zero
        found = arrays(layer, vectors)
        if layer.name in fitted.resident:
            np.testing.assert_array_equal(found, layer.sums(vectors), layer.name)
        else:
            assert np.abs(found - slow_sums(layer, vectors, fitted)).max() <= 0.5 + 1e-6, layer.name
    assert set(places.placements) == {layer.name for layer in NETWORK.layers}


def test_a_bias_of_the_file_is_added_to_the_sums(file: str, fitted: FittedBasis, tmp_path: Path) -> None:
    name = "layer2.conv1"
    own, layer = fitted.layers[name], next(layer for layer in NETWORK.layers if layer.name == name)
    bias = np.arange(-7, len(own.scale) - 7, dtype=np.int32) * 1000
    path = tmp_path / "biased.safetensors"
    replace(fitted, layers={**fitted.layers, name: replace(own, bias=bias)}).write(path)
    vectors = inputs_of(layer)
    before, after = (placed(where, "basis_broadcast")[1](layer, vectors) for where in (file, str(path)))
    np.testing.assert_array_equal(after - before, np.broadcast_to(bias, after.shape))
    with pytest.raises(ImcsimError, match="correction of biases: would be towards the network as it was before"):
        package.run(MODEL, "rram-256", "basis_broadcast", options={"basis": str(path)},
                    trial=Trial(MODEL, DATA, 10, bias_images=5))  # fmt: skip


def test_counts_are_those_of_the_coefficients(file: str, fitted: FittedBasis) -> None:
    hardware = load_hardware("rram-256")
    plan = planned(file, "basis_broadcast", hardware)
    done = {op.layer.name: op for op in plan.operations() if isinstance(op, BasisMvm)}
    assert set(done) == set(fitted.layers)
    for name, operation in done.items():
        real = np.count_nonzero(fitted.layers[name].values)
        cut = operation.segments
        assert cut.nonzeros * cut.terms * operation.layer.channels == pytest.approx(real)
    report = package.run(MODEL, hardware, "basis_broadcast", options={"basis": file})
    macs = sum(np.count_nonzero(fitted.layers[name].values) * op.layer.positions for name, op in done.items())
    assert report.energy.set_index("action").loc["mac", "amount"] == pytest.approx(macs)
    bits = sum(np.count_nonzero(own.values) for own in fitted.layers.values()) * (5 + 1 + 7)
    assert plan.facts["coefficient_bytes"] == pytest.approx(bits / 8, abs=len(fitted.layers))


def test_slots_come_from_the_bit_planes(file: str, fitted: FittedBasis) -> None:
    plan = planned(file, "basisn_inferred", load_hardware("rram-256"))
    for operation in (op for op in plan.operations() if isinstance(op, BasisMvm)):
        values = fitted.layers[operation.layer.name].values
        planes = [[(np.abs(part) >> bit & 1).astype(bool) & (sign * part > 0) for sign in (1, -1) for bit in range(5)]
                  for part in values]  # fmt: skip
        busiest = [int(sum(mask.sum(axis=1) for mask in segment).max()) for segment in planes]
        used = sum(int(mask.any(axis=0).sum()) for segment in planes for mask in segment)
        assert all(slots >= load for slots, load in zip(operation.segments.slots, busiest, strict=True))
        kernels = operation.layer.channels * operation.segments.terms
        assert operation.segments.masks * kernels == pytest.approx(used)


def test_accuracy_stands_beside_cycles_in_a_comparison(
    file: str, imcsim: Callable[..., Outcome], tmp_path: Path
) -> None:
    words = ["--hardware", "rram-256", "--write", "radar2b_row", "--schemes", "basis_broadcast", "--basis", file]
    outcome = imcsim("compare", MODEL, *words, "--data", DATA, "--images", "20", "--jobs", "1", "--out", str(tmp_path))
    assert outcome.code == 0, outcome.err
    rows = {row["scheme"]: row for row in json.loads(next(tmp_path.glob("*/compare.json")).read_text())["rows"]}
    assert rows["basis_broadcast"]["accuracy_frac"] > 0.5
    assert rows["basis_broadcast"]["cycles_ratio"] < 1


def test_sizes_follow_from_the_file(file: str) -> None:
    with pytest.raises(ImcsimError, match=r"vectors follow from the basis .* leave them out"):
        planned(file, "basis_broadcast", load_hardware("rram-256"), M=64)


@pytest.mark.parametrize(("overrides", "problem"), [
    ({"crossbar.rows": 64, "crossbar.wordlines_active": 64}, "128 elements do not fit 64 rows"),
    ({"chip.n_tiles": 1}, "one basis takes 8 crossbars"),
])  # fmt: skip
def test_a_chip_that_is_too_small_is_refused(overrides: dict[str, Any], problem: str, file: str) -> None:
    with pytest.raises(ImcsimError, match=problem):
        planned(file, "basis_broadcast", load_hardware("rram-256", overrides))


def test_a_basis_of_another_network_is_refused(fitted: FittedBasis, tmp_path: Path) -> None:
    layers = {f"other.{name}": own for name, own in fitted.layers.items()}
    path = tmp_path / "other.safetensors"
    FittedBasis(**{**vars(fitted), "layers": layers}).write(path)
    with pytest.raises(ImcsimError, match=r"the file has no layer like 'layer1.conv1'; fit a basis to this network"):
        planned(str(path), "basis_broadcast", load_hardware("rram-256"))


@pytest.mark.parametrize("scheme", ["basis_broadcast", "basisn_inferred"])
def test_conversions_are_those_that_are_timed(scheme: str, file: str) -> None:
    """Output lines run across the crossbars of a copy, in the costs as in the values."""
    hardware = load_hardware("rram-256")
    plan = planned(file, scheme, hardware)
    trial = package.Trial(MODEL, DATA, images=2, device="ideal")
    report = package.run(MODEL, hardware, scheme, options={"basis": file}, trial=trial)
    places = layout(plan, NETWORK.layers, hardware)
    arrays = AnalogArrays(places, write_chip(plan, places.contents, hardware, IDEAL, 0).cells, Reading(hardware, IDEAL))
    NETWORK.run(load_dataset(DATA).first(2).scaled(), arrays)
    done = sum(counts.conversions for counts in arrays.counts.values()) / 2
    assert report.summary["adc_conversions"] == pytest.approx(done)
