"""Does an interrupted trial go on where it stopped, and end as if it had never been interrupted?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import imcsim
from imcsim.functional import evaluator
from imcsim.functional.accuracy import score
from imcsim.functional.trial import Trial
from imcsim.util.journal import Journal
from tests.support.crossbars import small_chip
from tests.workload.test_quantised import small_network as small_model

ONCE = {"replication": "none"}
FIELDS = {"g_max_usiemens": 50.0, "on_off_ratio": 20.0, "n_levels": 4, "sigma_frac": 0.01, "read_sigma_frac": 0.01}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Ten images: batches of 4, 4 and 2."""
    place, rng = tmp_path_factory.mktemp("trial"), np.random.default_rng(0)
    onnx.save(small_model(rng, np.int8, 2, 1, 1), place / "small.onnx")
    np.savez(place / "data.npz", images=rng.integers(0, 256, (20, 3, 7, 6), np.uint8), labels=rng.integers(0, 5, 20))
    ages = {"device": "pcm_iterative", "ages_s": (0.0,)}
    return Trial(str(place / "small.onnx"), str(place / "data.npz"), images=10, **ages)  # type: ignore[arg-type]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are computed."""
    sizes: list[int] = []

    def counting(network: Any, images: Any, *rest: Any) -> Any:
        sizes.append(len(images))
        return score(network, images, *rest)

    monkeypatch.setattr(evaluator, "AT_ONCE", 4)
    monkeypatch.setattr(evaluator, "score", counting)
    return sizes


def run(trial: Trial, seed: int = 0, stop_at: int | None = None, **overrides: Any) -> dict[str, Any]:
    """``values`` of a report; interrupted before the batch ``stop_at``."""

    def progress(done: int, total: int, what: str) -> None:
        if (what, done) == ("images", stop_at):
            raise KeyboardInterrupt

    hardware = small_chip(16, **overrides)
    report = imcsim.run(trial.model, hardware, "static", seed=seed, trial=trial, progress=progress, options=ONCE)
    found: dict[str, Any] = report.summary["values"]
    return found


@pytest.fixture
def stopped(trial: Trial, tmp_path: Path, scored: list[int]) -> Trial:
    """A trial that was interrupted after two of its three batches."""
    long = replace(trial, journal=tmp_path / "unfinished")
    with pytest.raises(KeyboardInterrupt):
        run(long, stop_at=2)
    assert scored == [4, 4]
    scored.clear()
    return long


def journal_of(trial: Trial) -> Path:
    assert isinstance(trial.journal, Path)
    (file,) = trial.journal.iterdir()
    return file


def test_an_interrupted_trial_goes_on_and_ends_the_same(stopped: Trial, scored: list[int], tmp_path: Path) -> None:
    found = run(stopped)
    assert scored == [2]
    assert found == run(replace(stopped, journal="nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_a_batch_changes_no_answer(
    trial: Trial, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fours = run(trial)
    monkeypatch.setattr(evaluator, "AT_ONCE", 3)
    threes = run(trial)
    assert scored == [4, 4, 2, 3, 3, 3, 1]
    assert threes["chips"] == fours["chips"]
    assert any(layer["snr"]["kind"] == "noisy" for layer in fours["layers"])
    for one, other in zip(fours["layers"], threes["layers"], strict=True):
        assert one["snr"].get("db", 0) == pytest.approx(other["snr"].get("db", 0), rel=1e-9)


def test_chips_and_ages_go_on_where_they_stopped(trial: Trial, scored: list[int], tmp_path: Path) -> None:
    many = replace(trial, ages_s=(0.0, 3600.0), chips=2)
    with pytest.raises(KeyboardInterrupt):
        run(replace(many, journal=tmp_path), stop_at=7)
    assert scored == [4, 4, 4, 4, 4, 4, 4]
    scored.clear()
    found = run(replace(many, journal=tmp_path))
    assert scored == [4, 2, 2, 2, 2]
    assert found == run(many)


@pytest.mark.parametrize("lost", [1, 30, "all but a letter"])
def test_a_torn_last_line_is_computed_again(lost: int | str, stopped: Trial, scored: list[int]) -> None:
    file = journal_of(stopped)
    text = file.read_text()
    torn = len(text) - lost if isinstance(lost, int) else text.rindex('["') + 1
    file.write_text(text[:torn])
    with pytest.raises(KeyboardInterrupt):
        run(stopped, stop_at=2)
    assert scored == [4]
    found = run(stopped)
    assert scored == [4, 2]  # what was written behind the torn line is kept
    assert found == run(replace(stopped, journal="nowhere"))


@pytest.mark.parametrize("other", [
    {"device": "ideal"}, {"device": "rram_generic", "device_options": FIELDS}, {"ages_s": (3600.0,)},
    {"compensation": "global"}, {"mean": (0.1,)}, {"std": (0.9,)},
])  # fmt: skip
def test_another_trial_takes_no_entries(other: dict[str, Any], stopped: Trial, scored: list[int]) -> None:
    run(replace(stopped, **other))
    assert scored == [4, 4, 2]


def test_another_field_of_a_device_or_other_weights_take_no_entries(
    stopped: Trial, scored: list[int], tmp_path: Path
) -> None:
    device = replace(stopped, device="rram_generic", device_options=FIELDS)
    with pytest.raises(KeyboardInterrupt):
        run(device, stop_at=2)
    run(replace(device, device_options=FIELDS | {"sigma_frac": 0.02}))
    assert scored == [4, 4, 4, 4, 2]
    model = onnx.load(stopped.model)
    (weights,) = (item for item in model.graph.initializer if item.name == "a_w")
    changed = onnx.numpy_helper.to_array(weights) ^ np.int8(1)
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, "a_w"))
    onnx.save(model, tmp_path / "small.onnx")
    run(replace(stopped, model=str(tmp_path / "small.onnx")))
    assert scored[5:] == [4, 4, 2]


@pytest.mark.parametrize("other", [{"seed": 1}, {"tile__adc__bits": 9}, {"crossbar__bits_per_cell": 4}])
def test_another_chip_takes_no_entries(other: dict[str, Any], stopped: Trial, scored: list[int]) -> None:
    run(stopped, **other)
    assert scored == [4, 4, 2]


def test_more_images_go_on_from_fewer(stopped: Trial, scored: list[int]) -> None:
    more = replace(stopped, images=15)
    found = run(more)
    assert scored == [4, 3]
    assert found == run(replace(more, journal="nowhere"))


def test_other_images_take_no_entries(stopped: Trial, scored: list[int], tmp_path: Path) -> None:
    with np.load(stopped.data) as file:
        images, labels = file["images"].copy(), file["labels"].copy()
    images[0, 0, 0, 0] ^= 1  # in the first batch, and a label in the second
    labels[5] = (labels[5] + 1) % 5
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    run(replace(stopped, data=str(tmp_path / "data.npz")))
    assert scored == [4, 4, 2]


# -- the file ----------------------------------------------------------------------------------------------------------


def test_entries_come_back_as_they_were_and_the_last_one_takes_the_folder(tmp_path: Path) -> None:
    entries = {"a": {"n": 1, "x": 0.1 + 0.2}, "b\n": [1e-300, "ö"], "c": None}
    one, two = Journal(tmp_path / "unfinished", "one"), Journal(tmp_path / "unfinished", "two")
    two.add("z", 1)
    for key, entry in entries.items():
        one.add(key, entry)
        assert Journal(tmp_path / "unfinished", "one").entries[key] == entry  # on disk already
    assert Journal(tmp_path / "unfinished", "one").entries == json.loads(json.dumps(entries))
    one.forget()
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == ["two.jsonl"]
    two.forget()
    two.forget()
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal("nowhere", "name")
    journal.add("a", 1)
    journal.forget()
    assert journal.entries == {"a": 1}
    assert list(tmp_path.iterdir()) == []
