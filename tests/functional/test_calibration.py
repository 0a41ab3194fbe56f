"""Is a calibrated range the one that errs least, does it help, and is a file for something else refused?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import imcsim as package
from imcsim.functional import calibration as calibrations
from imcsim.functional.calibration import CANDIDATES, AdcRanges, Range, calibrate, load_calibration
from imcsim.functional.layout import layout
from imcsim.functional.trial import Trial
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.basis.digital import combined
from imcsim.mapping.basis.fitted import load_fitted
from imcsim.mapping.schemes import load_scheme
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import load_dataset
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import IntegerLayer, Integers, load_quantised
from tests.conftest import Outcome
from tests.support.crossbars import Placed, placed, small_chip

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
MADE_ON = {"kind": "for a test"}
Command = Callable[..., Outcome]


class Fed:
    """A network whose images are the vectors (images, positions, groups, rows) of one layer."""

    def __init__(self, layer: IntegerLayer) -> None:
        self.layer = layer

    def run(self, images: NDArray[Any], multiply: Callable[..., Any]) -> NDArray[Any]:
        sums = multiply(self.layer, images)
        np.testing.assert_array_equal(sums, self.layer.sums(images))
        return np.asarray(sums)


def column_sums(layer: IntegerLayer, here: Placed, images: NDArray[Any]) -> list[int]:
    """Of each conversion, number by number."""
    bar, found = here.hardware.crossbar, []
    for part in here.layout.placements[layer.name].parts:
        content = here.layout.contents[part.content]
        levels = content.code.encode(content.blocks[part.number].weights)
        levels = levels[:, 0::2] - levels[:, 1::2] if bar.polarity == "paired" else levels
        for vector in images.reshape(-1, layer.groups * layer.rows):
            driven = vector[part.rows] + layer.input.zero + 128
            for shift in range(0, 8, bar.dac_bits):
                digits = driven >> shift & (2**bar.dac_bits - 1)
                for first in range(0, len(digits), bar.wordlines_active):
                    group = slice(first, min(first + bar.wordlines_active, len(digits)))
                    found += (digits[group, None] * levels[: len(digits)][group]).sum(axis=0).tolist()
    return found


def squared_error(sums: NDArray[Any], high: float, n_above: int) -> NDArray[Any]:
    """Of a converter with codes at 0 and evenly up to ``high``, a level apart at least; below 0 likewise."""
    codes = np.arange(-n_above, n_above + 1) * max(1.0, high / n_above)
    return np.square(np.abs(codes[:, None] - sums).min(axis=0))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from(["a", "b", "c"]), st.sampled_from([2, 3, 4, 12]), st.sampled_from([1, 2]),
    st.sampled_from([5, 16]), st.sampled_from(["differential", "offset", "paired"]), st.booleans(),
)  # fmt: skip
def test_a_range_errs_least_on_the_sums_that_occur(
    seed: int, name: str, bits: int, dac_bits: int, wordlines: int, polarity: str, basis: bool
) -> None:
    hardware = small_chip(
        2, tile__adc__bits=bits, crossbar__dac_bits=dac_bits, crossbar__wordlines_active=wordlines,
        crossbar__polarity=polarity,
    )  # fmt: skip
    options: dict[str, Any] = {"scheme": "basis_broadcast", "basis": "hadamard"} if basis else {}
    here = placed(hardware, **options)
    (layer,) = (layer for layer in here.layers if layer.name == name)
    rng = np.random.default_rng(seed)
    images = rng.integers(-128, 128, (3, 2, layer.groups, layer.rows)) - layer.input.zero
    found = calibrate(Fed(layer), images, here.layout, hardware, MADE_ON, at_once=2).layers[name]  # type: ignore[arg-type]
    sums, counts = np.unique(column_sums(layer, here, images), return_counts=True)
    largest, signed = np.abs(sums).max(), polarity == "paired"
    candidates = [max(1.0, largest * part / CANDIDATES) for part in range(1, CANDIDATES + 1)]
    n_above = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    errors = {high: counts @ squared_error(sums, high, n_above) for high in candidates}
    assert found.seen == largest
    assert found.high in candidates
    assert errors[found.high] <= min(errors.values()) * (1 + 1e-9)
    assert found.low == (pytest.approx(-found.high * (n_above + 1) / n_above) if signed else 0)
    if bits == 12:
        assert found.high == found.seen  # every sum has a code, and nothing is cut off


def test_of_many_vectors_some_are_looked_at_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrations, "MOST_VECTORS", 3)
    hardware = small_chip()
    here = placed(hardware)
    layer = here.layers[-1]
    images = np.zeros((8, 1, 1, layer.rows), np.int64) - 128 - layer.input.zero
    images[1::3] += 255  # not among each third one
    assert calibrate(Fed(layer), images, here.layout, hardware, MADE_ON).layers[layer.name].seen == 0  # type: ignore[arg-type]


# -- what it is good for -----------------------------------------------------------------------------------------------


def test_ranges_of_the_sums_that_occur_beat_the_whole_range(tmp_path: Path) -> None:
    file, overrides = tmp_path / "ranges.json", {"tile.adc.bits": 5}
    package.calibrate(MODEL, package.Preset("rram-256", overrides), DATA, images=4).write(file)
    whole, cut = (
        package.run(
            MODEL, package.Preset("rram-256", overrides),
            trial=Trial(MODEL, DATA, images=20, device="ideal", calibration_file=calibration),
        ).summary["values"]
        for calibration in (None, file)
    )  # fmt: skip
    print(f"agreement at 5 bits: {whole['agreement_frac']:.2f} over the whole range, {cut['agreement_frac']:.2f} cut")
    assert cut["agreement_frac"] > whole["agreement_frac"] + 0.1
    assert whole["calibration"] == {"kind": "whole range"}
    assert (cut["calibration"]["kind"], cut["calibration"]["images"]) == ("least error", 4)


def test_a_range_is_cut_to_what_there_can_be() -> None:
    found = AdcRanges(made_on=MADE_ON, layers={"a": Range(low=0, high=40, seen=40)})
    assert [found.range_of("a", -9, largest).high for largest in (30, 50)] == [30, 40]
    assert found.range_of("a", 5, 50).low == 5
    assert found.range_of("b", -9, 50) == Range(low=-9, high=50, seen=50)


# -- files -------------------------------------------------------------------------------------------------------------


def written(path: Path, here: Placed, **changes: Any) -> str:
    layers = {layer.name: Range(low=0, high=7.5, seen=11) for layer in here.layers}
    made = AdcRanges(
        made_on=MADE_ON, geometry=calibrations.geometry(here.layout, here.hardware), layers=layers
    ).model_copy(update=changes)
    made.write(path)
    return str(path)


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    here = placed(small_chip())
    (layer,) = here.layers[:1]
    images = np.random.default_rng(0).integers(0, 99, (4, 2, 1, layer.rows))
    layers = {each.name: Range(low=0, high=1 / 3, seen=1) for each in here.layers}
    made = calibrate(Fed(layer), images, here.layout, here.hardware, MADE_ON)  # type: ignore[arg-type]
    whole = made.model_copy(update={"layers": layers | made.layers})
    whole.write(tmp_path / "ranges.json")
    assert load_calibration(str(tmp_path / "ranges.json"), here.layout, here.hardware) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["ranges.json"]


def refusal(path: str, here: Placed) -> str:
    with pytest.raises(ImcsimError) as refused:
        load_calibration(path, here.layout, here.hardware)
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith(path)
    return text


@pytest.mark.parametrize("overrides", [
    {"crossbar__columns": 64}, {"crossbar__wordlines_active": 8}, {"crossbar__dac_bits": 2}, {"tile__adc__bits": 5},
    {"crossbar__polarity": "offset"}, {"crossbar__polarity": "paired"}, {"crossbar__bits_per_cell": 1},
])  # fmt: skip
def test_another_chip_is_refused(overrides: dict[str, Any], tmp_path: Path) -> None:
    ((key, value),) = overrides.items()
    path, name = written(tmp_path / "ranges.json", placed(small_chip())), key.split("__")[-1]
    text = refusal(path, placed(small_chip(**overrides)))
    assert f"was made for {'adc_bits' if name == 'bits' else name} " in text
    assert f"here it is {value}" in text
    assert "imcsim calibrate" in text


def test_another_scheme_or_network_is_refused(tmp_path: Path) -> None:
    own, combined = placed(small_chip(2)), placed(small_chip(2), "basis_broadcast", basis="hadamard")
    path = written(tmp_path / "ranges.json", own)
    text = refusal(path, combined)
    assert "was made for combined [], here it is ['a', 'b', 'c', 'd']" in text
    assert "imcsim calibrate" in text
    text = refusal(written(tmp_path / "ranges.json", combined), own)
    assert "was made for combined ['a', 'b', 'c', 'd'], here it is []" in text
    fewer = {"a": Range(low=0, high=7.5, seen=11)}
    text = refusal(written(tmp_path / "ranges.json", own, layers=fewer), own)
    assert "was made for a network with other layers; make one" in text


@pytest.mark.parametrize(("content", "problem"), [
    ("", "is no readable calibration; make one"),
    ('{"made_on": {', "is no readable calibration; make one"),
    ("[1, 2]", ""),
    ('{"layers": {}}', "made_on"),
    ('{"made_on": {}, "layers": {"a": {"low": 0, "high": "much", "seen": 1}}}', "layers.a.high"),
    ('{"made_on": {}, "layers": {"a": {"low": 5, "high": 4, "seen": 4}}}', "layers.a"),
])  # fmt: skip
def test_a_broken_file_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "ranges.json").write_text(content)
    assert problem in refusal(str(tmp_path / "ranges.json"), placed(small_chip()))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "there is no such file; make one" in refusal(str(tmp_path / "none.json"), placed(small_chip()))
    assert "is no readable calibration; make one" in refusal(str(tmp_path), placed(small_chip()))


# -- on the command line -----------------------------------------------------------------------------------------------


def test_the_command_line_makes_a_file_and_runs_with_it(imcsim: Command, tmp_path: Path) -> None:
    file, chip = tmp_path / "ranges.json", ["--hardware", "rram-256", "--data", DATA, "--set", "tile.adc.bits=6"]
    made = imcsim("calibrate", MODEL, *chip, "--images", "4", "--out", str(file))
    assert (made.code, made.err) == (0, f"written to {file}\n")
    known = json.loads(file.read_text())
    assert len(known["layers"]) == 10
    for name, limits in known["layers"].items():
        assert f"{name:24} {limits['low']:,.1f} to {limits['high']:,.1f} levels" in made.out
    words = [*chip, "--images", "4", "--device", "ideal", "--out", str(tmp_path / "runs"), "--json"]
    with_it = imcsim("run", MODEL, *words, "--calibration", str(file))
    without = imcsim("run", MODEL, *words)
    assert (with_it.code, without.code) == (0, 0)
    cut, whole = (json.loads(outcome.out)["values"] for outcome in (with_it, without))
    assert cut["calibration"] == known["made_on"]
    assert cut["layers"] != whole["layers"]
    refused = imcsim("run", MODEL, *words[:-1], "--calibration", str(file), "--set", "tile.adc.bits=7")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "was made for adc_bits 6, here it is 7" in refused.err


def test_ranges_from_images_of_the_run_are_those_of_a_file(tmp_path: Path) -> None:
    """Nothing but how they were made differs, and they are found anew for every scheme of a comparison."""
    file = tmp_path / "ranges.json"
    package.calibrate(MODEL, "rram-256", DATA, images=20, scheme="static").write(file)
    reports = [
        package.run(MODEL, "rram-256", "static", trial=Trial(MODEL, DATA, 30, **ranges))
        for ranges in ({"calibration_file": file}, {"calibration_images": 20})
    ]
    one, two = (report.summary["values"] for report in reports)
    assert one["layers"] == two["layers"]
    assert two["calibration"] == {"kind": "least error", "data": "fashion_mnist_1000.npz", "images": 20}
    with pytest.raises(ImcsimError, match="calibration 31: must be 1 to 30, the images of the run"):
        package.run(MODEL, "rram-256", "static", trial=Trial(MODEL, DATA, 30, calibration_images=31))


def test_a_comparison_calibrates_every_scheme(tmp_path: Path) -> None:
    found = [
        package.compare(MODEL, "rram-256", writes=["radar2b_row"], batches=[1], schemes=["basis_exact"], trial=trial)
        for trial in (Trial(MODEL, DATA, 20, calibration_images=10), Trial(MODEL, DATA, 20))
    ]
    calibrated_frac, whole_frac = (each.frame.set_index("scheme")["agreement_frac"] for each in found)
    assert (calibrated_frac >= whole_frac).all()
    assert calibrated_frac.mean() > 0.94


@pytest.mark.parametrize(("scheme", "options"), [
    ("static", {}), ("basis_broadcast", {"basis": "hadamard"}), ("basis_broadcast", {"basis": "file"}),
    ("basisn_inferred", {"basis": "file"}),
])  # fmt: skip
def test_ranges_are_those_of_what_the_crossbars_themselves_answer(scheme: str, options: dict[str, str]) -> None:
    """A basis answers otherwise than the network that it was fitted to, so later layers see other inputs."""
    given = {"basis": str(MODELS / "resnet8_fashion_basis.safetensors")} if options.get("basis") == "file" else options
    hardware, network = load_hardware("rram-256"), load_quantised(MODEL)
    plan = load_scheme(scheme, given).plan(load_network(MODEL), hardware, 1, 0)
    places = layout(plan, network.layers, hardware)
    multiply = combined(load_fitted(given["basis"])) if "file" in options.values() else IntegerLayer.sums
    images = network.pixels(load_dataset(DATA).first(1))

    def compare(layer: IntegerLayer, vectors: Integers) -> Integers:
        found = places.placements[layer.name].exact(layer, vectors, places.contents)
        np.testing.assert_array_equal(found, multiply(layer, vectors))
        return found

    network.run(images, compare)
    ranges = calibrate(network, images, places, hardware, {}).layers
    sums = calibrations._SumCounter(places, hardware)
    network.run(images, lambda layer, vectors: (sums(layer, vectors), multiply(layer, vectors))[1])
    assert {name: found.seen for name, found in ranges.items()} == {n: len(c) - 1 for n, c in sums.counts.items()}
