"""Is the comparison fair, and do its closed forms and crossovers agree with what was simulated?"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pandas as pd
import pytest

import imcsim
from imcsim.experiments.compare import COSTED, VALUED, VARIANTS, compare
from imcsim.experiments.crossovers import analytic_batch
from imcsim.reporting.closed_form import ClosedForm
from imcsim.reporting.comparison import BASELINES, Comparison
from imcsim.util.errors import DoesNotFit, ImcsimError

BATCHES = (1, 4, 64)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare("resnet18_cifar100", "rram-256", writes=["ember2b_word", "ideal_single"], batches=BATCHES)


@pytest.fixture(scope="module")
def frame(comparison: Comparison) -> pd.DataFrame:
    return comparison.frame


def test_every_case_is_a_row(frame: pd.DataFrame) -> None:
    assert len(frame) == 2 * len(BATCHES) * len(COSTED)
    assert list(dict.fromkeys(frame["scheme"])) == list(COSTED)
    assert {*COSTED, *VALUED} == set(VARIANTS)


def test_a_network_that_does_not_fit_is_a_row_that_says_so(frame: pd.DataFrame) -> None:
    static = frame[frame["scheme"] == "static"]
    assert (static["missing_crossbars"] == 5_496 - 256).all()
    assert static["refused"].str.contains("5,240 are missing").all()
    assert static["cycles_per_inference"].isna().all()


def test_the_baseline_is_the_better_of_both(frame: pd.DataFrame) -> None:
    for _, case in frame.groupby(["write", "batch"]):
        both = case[case["scheme"].isin(BASELINES)].set_index("scheme")["cycles_per_inference"]
        assert set(case["baseline"]) == {both.idxmin()}
        ran = case.dropna(subset=["cycles_ratio"])
        assert ran["cycles_ratio"].to_numpy() == pytest.approx((ran["cycles_per_inference"] / both.min()).to_numpy())


def test_no_run_beats_its_closed_form(frame: pd.DataFrame) -> None:
    ran = frame[frame["refused"] == ""]
    assert (ran["cycles_per_inference"] >= ran["closed_form_cycles"]).all()


def test_a_run_above_its_closed_form_says_what_it_waited_for(frame: pd.DataFrame) -> None:
    ran = frame[frame["refused"] == ""]
    above = ran["cycles_per_inference"] > 1.01 * ran["closed_form_cycles"]
    assert ((ran["waited_for"] != "") == above).all()


def test_with_everything_ideal_reprogramming_is_its_closed_form() -> None:
    case = {"writes": ["ember2b_word"], "batches": [1, 16], "schemes": ["reprogram"]}
    frame = compare("resnet20_cifar", imcsim.Preset("rram-256", ideal=["all"]), **case).frame
    rows = frame[frame["scheme"] == "reprogram"]
    assert rows["cycles_per_inference"].to_numpy() == pytest.approx(rows["closed_form_cycles"].to_numpy(), rel=1e-3)


def test_cycles_follow_the_identity(comparison: Comparison) -> None:
    """cycles(batch) = W / batch + c, within what the last positions of a batch do not fill."""
    for row in comparison.rows:
        if row.line and row.closed_form_cycles:
            assert row.closed_form_cycles == pytest.approx(row.line.at(row.batch), rel=0.1)


def test_crossovers_lie_where_the_ratio_passes_one(comparison: Comparison, frame: pd.DataFrame) -> None:
    assert comparison.crossovers
    for crossover in comparison.crossovers:
        of = frame[(frame["write"] == crossover.write) & (frame["scheme"] == crossover.scheme)].set_index("batch")
        if crossover.simulated_batch is None:
            assert of["cycles_ratio"].iloc[0] > 1 or (of["cycles_ratio"] <= 1).all()
            continue
        low = max(batch for batch in BATCHES if batch <= crossover.simulated_batch)
        high = min(batch for batch in BATCHES if batch >= crossover.simulated_batch)
        assert of["cycles_ratio"][low] <= 1 <= of["cycles_ratio"][high]


@pytest.mark.parametrize(
    ("scheme", "batch"),
    [
        (ClosedForm(0, 30), 10.0),
        (ClosedForm(0, 20), None),
        (ClosedForm(0, 19), None),
        (ClosedForm(0, 1000), None),
        (ClosedForm(50, 25), 10.0),
    ],
)
def test_the_analytic_crossover_is_where_the_lines_meet(scheme: ClosedForm, batch: float | None) -> None:
    found, _ = analytic_batch([scheme], [ClosedForm(100, 20)])
    assert found == (None if batch is None else pytest.approx(batch))


def test_two_processes_and_another_selection_change_nothing(frame: pd.DataFrame) -> None:
    case = {"writes": ["ember2b_word"], "batches": [4], "schemes": ["digital"]}
    again = compare("resnet18_cifar100", "rram-256", **case, processes=2).frame
    before = frame[(frame["write"] == "ember2b_word") & (frame["batch"] == 4)].set_index("scheme")
    for row in again.to_dict("records"):
        assert row["cycles_per_inference"] == before.loc[row["scheme"], "cycles_per_inference"]
        assert row["energy_pj"] == before.loc[row["scheme"], "energy_pj"]


def test_files(comparison: Comparison, tmp_path: Path) -> None:
    folder = comparison.write(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert {"compare.json", "compare.csv", "crossovers.csv"} <= names
    assert {"cycles_against_batch.png", "cycles_against_batch.svg"} <= names
    saved = json.loads((folder / "compare.json").read_text())
    assert saved["schema_version"] == 1
    assert len(saved["rows"]) == len(comparison.rows)
    assert len(pd.read_csv(folder / "compare.csv")) == len(comparison.rows)
    assert list(tmp_path.iterdir()) == [folder]


def test_runs_can_be_kept(tmp_path: Path) -> None:
    compare("resnet20_cifar", "rram-256", writes=["ember2b_word"], batches=[1], schemes=["digital"], keep_runs=tmp_path)
    assert len(list(tmp_path.glob("*/report.json"))) == 3


def test_a_loaded_chip_is_compared_as_it_is() -> None:
    chip = imcsim.load_hardware("rram-256", {"tile.digital.mac_lanes": 7}, write="radar2b_row")
    frame = compare("resnet20_cifar", chip, batches=[1], schemes=["digital"]).frame
    assert set(frame["write"]) == {"radar2b_row"}
    with pytest.raises(ImcsimError, match="while it is loaded"):
        compare("resnet20_cifar", chip, writes=["ember2b_word"])


def test_a_calibration_file_is_of_one_scheme() -> None:
    trial = imcsim.Trial("model.onnx", "images.npz", calibration_file="ranges.json")
    with pytest.raises(ImcsimError, match=r"^--calibration ranges\.json: a file is of one scheme, here are several; "):
        compare("resnet20_cifar", "rram-256", trial=trial)


def test_what_is_missing_passes_from_one_process_to_another() -> None:
    error = pickle.loads(pickle.dumps(DoesNotFit("here", "too large", "take more", missing=7)))
    assert (str(error), error.missing) == ("here: too large; take more", 7)


def test_an_error_in_a_worker_is_the_error_of_the_comparison() -> None:
    """It has to pass from one process to another."""
    settings = {"writes": ["ideal_single"], "batches": [1], "schemes": ["basis_broadcast"], "basis": "none.safetensors"}
    with pytest.raises(ImcsimError, match=r"none\.safetensors: there is no such file"):
        compare("resnet20_cifar", "rram-256", processes=2, **settings)  # type: ignore[arg-type]
