"""Does a run with images say what the network answers, reproducibly, and refuse what does not fit together?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import imcsim
from imcsim.functional.trial import Trial
from imcsim.reporting.report import Report
from imcsim.util.errors import ImcsimError
from tests.conftest import Outcome
from tests.reporting.test_report import documented

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
Command = Callable[..., Outcome]


def ran(trial: Trial, seed: int = 0, scheme: str = "static", **overrides: object) -> Report:
    values = {key.replace("__", "."): value for key, value in overrides.items()}
    return imcsim.run(MODEL, imcsim.Preset("rram-256", values), scheme, seed=seed, trial=trial)


def test_ideal_cells_and_enough_codes_answer_as_exact_integers_do() -> None:
    found = ran(Trial(MODEL, DATA, images=40, device="ideal"), tile__adc__bits=9).summary["values"]
    assert list(found) == documented("values")
    assert list(found["layers"][0]) == documented("values.layers")
    assert found["agreement_frac"] == 1
    assert {tuple(layer["snr"]) for layer in found["layers"]} == {("kind",)}
    assert [layer["saturated_frac"] for layer in found["layers"]] == [0] * 10
    assert all(0 < layer["charge_frac"] < layer["driven_frac"] < 1 for layer in found["layers"])


def test_the_same_chip_answers_the_same_and_another_does_not() -> None:
    trial = Trial(MODEL, DATA, images=20, device="pcm_iterative")
    first, same, other = (ran(trial, seed) for seed in (0, 0, 1))
    assert first.summary == same.summary
    assert first.run_id == same.run_id != other.run_id
    assert first.summary["values"]["layers"] != other.summary["values"]["layers"]


def test_drift_costs_answers_and_one_factor_wins_some_back() -> None:
    day = 86_400.0
    agreement = [
        ran(Trial(MODEL, DATA, images=60, device="pcm_iterative", ages_s=(age,), compensation=kind)).summary["values"]
        for age, kind in ((0.0, "none"), (day, "none"), (day, "global"))
    ]
    fresh, drifted, compensated = (found["agreement_frac"] for found in agreement)
    assert drifted < compensated <= fresh


def test_the_command_line_says_the_same_as_python(imcsim: Command, tmp_path: Path) -> None:
    words = ["--data", DATA, "--images", "20", "--device", "rram_wan2022", "--age", "1d", "--out", str(tmp_path)]
    outcome = imcsim("run", MODEL, "--hardware", "rram-256", "--scheme", "static", *words, "--json")
    assert outcome.code == 0
    trial = Trial(MODEL, DATA, images=20, device="rram_wan2022", ages_s=(86_400.0,))
    assert json.loads(outcome.out)["values"] == ran(trial).summary["values"]
    assert (
        "answers as without errors" in imcsim("run", MODEL, "--hardware", "rram-256", "--scheme", "static", *words).out
    )


@pytest.mark.parametrize(
    ("trial", "scheme", "problem"),
    [
        (Trial(MODEL, DATA), "basis_broadcast", "computes no values: .* add --option basis=hadamard"),
        (Trial("resnet50", DATA), "reprogram", "is a trace of layers, .* give a quantised ONNX model"),
        (Trial(MODEL, DATA, compensation="some"), "reprogram", "no such compensation"),
        (Trial(MODEL, DATA, calibration_file="r.json", calibration_images=5), "reprogram", "leave one of them out"),
        (Trial(MODEL, DATA, device="pcm"), "reprogram", "device 'pcm': there is no such device; known: ideal"),
        (Trial(MODEL, DATA, images=1001), "reprogram", "there are 1,000"),
        (Trial(MODEL, "none.npz"), "reprogram", "none.npz: there is no such file"),
        (Trial(MODEL, DATA, device="rram_milo2021", ages_s=(5.0,)), "reprogram", "age"),
    ],
)
def test_what_does_not_fit_together_is_refused(trial: Trial, scheme: str, problem: str) -> None:
    with pytest.raises(ImcsimError, match=problem):
        imcsim.run(MODEL, "rram-256", scheme, trial=trial)


@pytest.mark.parametrize(("images", "labels", "problem"), [
    (np.zeros((3, 3, 32, 32), np.uint8), [0, 1, 2], "takes images of 1 x 28 x 28, the data has 3 x 32 x 32"),
    (np.zeros((3, 28), np.uint8), [0, 1, 2], "takes images of 1 x 28 x 28, the data has 28"),
    (np.zeros((3, 1, 28, 28), np.uint8), [0, 1, 10], "labels: run from 0 to 10, the network tells 10 classes apart"),
])  # fmt: skip
def test_data_for_another_network_is_refused(
    images: np.ndarray, labels: list[int], problem: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "other.npz", images=images, labels=labels)
    with pytest.raises(ImcsimError, match=problem):
        ran(Trial(MODEL, str(tmp_path / "other.npz"), images=3))


@pytest.mark.parametrize("age", ["soon", "1 week", "d"])
def test_an_age_that_is_none_is_refused(age: str, imcsim: Command, tmp_path: Path) -> None:
    outcome = imcsim("run", MODEL, "--hardware", "rram-256", "--data", DATA, "--age", age, "--out", str(tmp_path / "o"))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "expected a time; write --age 20" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_options_of_values_without_images_are_refused(imcsim: Command, tmp_path: Path) -> None:
    outcome = imcsim("run", MODEL, "--hardware", "rram-256", "--age", "1d", "--out", str(tmp_path / "o"))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "--age 1d: concerns values, and there are no images; add --data PATH" in outcome.err


def test_times_and_energies_are_those_of_the_first_chip() -> None:
    one, three = (ran(Trial(MODEL, DATA, images=4, chips=n)) for n in (1, 3))
    assert one.summary["energy_pj"] == three.summary["energy_pj"]
    assert len(three.summary["values"]["chips"]) == 3
