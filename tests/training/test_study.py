"""Does ``imcsim train`` take a user's own network and images to a report, twice the same one, or say why not?"""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imcsim.training.hic.claims import AGES_S, Evidence, claims
from imcsim.training.hic.options import SOURCES
from imcsim.training.hic.size import accuracy_at, float_size, hybrid_size, size_at
from tests.conftest import Outcome

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

from imcsim.training.hic.options import HybridOptions  # noqa: E402
from imcsim.training.study.spec import hybrid_options, load_function  # noqa: E402

Command = Callable[..., Outcome]
QUICK = ("--epochs", "2", "--batch", "20", "--age", "1s,1y")
TABLES = ("runs", "ageing", "wear", "histograms", "epochs", "layers")
NETWORK = """
    from torch import nn

    class Skip(nn.Module):
        '''The shortcut is registered first, and executed last.'''

        def __init__(self, n):
            super().__init__()
            self.short = nn.Conv2d(n, n, 1, bias=False)
            self.body = nn.Sequential(nn.Conv2d(n, n, 3, 1, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU())

        def forward(self, x):
            y = self.body(x)
            return y + self.short(x)

    def network(channels, classes, width):
        n = round(6 * width)
        first = nn.Conv2d(channels, n, 3, 1, 1, bias=False)
        return nn.Sequential(first, nn.BatchNorm2d(n), nn.ReLU(), Skip(n), nn.MaxPool2d(4), nn.Flatten(),
                             nn.Linear(4 * n, classes))

    def broken(channels, classes, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(7, classes))

    def failing(channels, classes, width):
        raise ValueError("no such luck")

    def nothing_at_all(channels, classes, width):
        return None

    class Wrong(nn.Module):
        def forward(self, x):
            raise TypeError("bad forward")

    def wrong(channels, classes, width):
        return Wrong()

    class Idle(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.used, self.idle = nn.Linear(64, classes), nn.Linear(5, 5)

        def forward(self, x):
            return self.used(x.flatten(1))

    def idle(channels, classes, width):
        return Idle(classes)

    def sound(channels, classes, width):
        return nn.Sequential(nn.Flatten(2), nn.Conv1d(channels, 2, 3), nn.Flatten(), nn.Linear(124, classes))

    def upwards(channels, classes, width):
        return nn.Sequential(nn.ConvTranspose2d(channels, 2, 2, 2), nn.Flatten(), nn.Linear(512, classes))

    class Wave(nn.Module):
        def forward(self, x):
            return x.atan()

    def priceless(channels, classes, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Wave(), nn.Linear(8, classes))

    def one_way(channels, classes, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.SiLU(), nn.Linear(8, classes))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a user's network in a file, and digits in two npz files."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(textwrap.dedent(NETWORK))
    digits = datasets.load_digits()
    images = (digits.images / 16).astype(np.float32)
    np.savez(folder / "train.npz", images=images[:600], labels=digits.target[:600])
    np.savez(folder / "test.npz", images=images[600:900], labels=digits.target[600:900])
    return folder


def command_line(folder: Path, out: Path, *more: str) -> tuple[str, ...]:
    data = ("--data", str(folder / "train.npz"), "--test", str(folder / "test.npz"), "--out", str(out))
    return "train", "--network", str(folder / "net.py"), *data, *QUICK, *more


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """Write a report on a user's own network and images, at two widths."""
    out = tmp_path_factory.mktemp("report") / "report"
    with pytest.MonkeyPatch.context() as patch:
        return command(patch, *command_line(folder, out, "--widths", "1,2", "--rate", "4,1e-5")), out


def command(patch: pytest.MonkeyPatch, *words: str) -> Outcome:
    """Run a command as the fixture ``imcsim`` does, for more than one test."""
    import contextlib
    import io
    import sys

    from imcsim import cli

    patch.setattr(sys, "argv", ["imcsim", *words])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        cli.main()
    return Outcome(int(left.value.code or 0), out.getvalue(), err.getvalue())


def test_a_users_network_and_images_become_a_report(done: tuple[Outcome, Path]) -> None:
    outcome, out = done
    assert outcome.code == 0, outcome.err
    assert "HIC-style" in outcome.out
    text = (out / "report.md").read_text()
    for heading in ("What was assumed", "Accuracy and size", "six claims", "Over time", "Wear", "What a step costs"):
        assert heading in text
    assert "hybrid 4, best on validation images of 4, 1e-05" in text
    assert list(pd.read_csv(out / "tried.csv")["rate"]) == [4, 1e-5]
    assert all(name in text for name in SOURCES)
    for name in ("accuracy_against_size", "accuracy_over_time", "wear"):
        assert (out / f"{name}.png").stat().st_size > 10_000
        assert f"![]({name}.png)" in text
    runs = pd.read_csv(out / "runs.csv")
    assert list(runs["weights"]) == ["hybrid", "float", "hybrid", "float"]
    assert list(runs["width"]) == [1, 1, 2, 2]
    assert runs["accuracy_frac"].between(0.3, 1).all()
    assert len(pd.read_csv(out / "ageing.csv")) == 2 * 2 * 2 * 4
    assert not list(out.parent.glob("*.unfinished"))


def test_the_trained_network_runs_like_any_other(done: tuple[Outcome, Path], imcsim: Command, tmp_path: Path) -> None:
    model = str(done[1] / "width-1" / "network.onnx")
    outcome = imcsim("run", model, "--hardware", "hermes-64", "--json", "--out", str(tmp_path))
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["cycles_per_inference"] > 0


def test_the_step_is_that_of_the_counted_updates(done: tuple[Outcome, Path], imcsim: Command) -> None:
    model, rates = str(done[1] / "width-2" / "network.onnx"), str(done[1] / "rates.json")
    outcome = imcsim("train-step", model, "--hardware", "hermes-64", "--rates", rates, "--batch", "20", "--json")
    assert outcome.code == 0, outcome.err
    again, first = json.loads(outcome.out), json.loads((done[1] / "step.json").read_text())
    assert again["step"] == first["step"]
    assert "counted in" in first["rates"][0]


def test_rates_belong_to_the_layers_they_were_counted_in(done: tuple[Outcome, Path]) -> None:
    """They do so also where a layer is executed in another order than it was registered in."""
    layers = pd.read_csv(done[1] / "layers.csv").query("width == 2").set_index("layer")
    rates = json.loads((done[1] / "rates.json").read_text())
    assert [name.split("/")[1] for name in rates] == ["0", "3", "3", "6"]
    by_name = {"0": "/0/Conv", "3.body.0": "/3/body/body.0/Conv", "3.short": "/3/short/Conv", "6": "/6/Gemm"}
    for layer, name in by_name.items():
        assert rates[name]["bits_set"] == pytest.approx(layers.loc[layer, "set_per_update"], rel=1e-4)


def test_two_studies_of_the_same_seed_are_the_same(
    done: tuple[Outcome, Path], folder: Path, imcsim: Command, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    assert imcsim(*command_line(folder, out, "--widths", "1,2", "--rate", "4,1e-5")).code == 0
    for name in TABLES:
        assert (out / f"{name}.csv").read_bytes() == (done[1] / f"{name}.csv").read_bytes(), name


def test_an_interrupted_study_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imcsim.training.hic.ageing import AgeingOptions
    from imcsim.training.hic.options import TrainOptions
    from imcsim.training.study.spec import StudySpec
    from imcsim.training.study.study import train
    from imcsim.util.progress import silent

    options = TrainOptions(epochs=2)
    spec = StudySpec(options=options, ageing=AgeingOptions((1.0,), fixes=("none",)), step_s=1e-4)
    seen: list[str] = []

    def stop(done: int, total: int, step: str) -> None:
        seen.append(step)
        if "run 2 of 2" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spec, tmp_path / "out", stop)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.unfinished").is_dir()
    assert any(re.match(r"\d+\.\d\d carries per weight, epoch 2 of 2", step) for step in seen)  # first
    other = replace(spec, rates={"hybrid": (1.0,)}, options=TrainOptions(epochs=1))
    train(other, tmp_path / "out", silent)  # of another study nothing is lost
    seen.clear()
    train(spec, tmp_path / "out", lambda done, total, step: seen.append(step))
    assert seen
    assert all("run 2 of 2" in step for step in seen)
    assert not (tmp_path / "out.unfinished").exists()
    uninterrupted = train(spec, tmp_path / "whole", silent)
    assert (tmp_path / "out" / "runs.csv").read_bytes() == (tmp_path / "whole" / "runs.csv").read_bytes()
    assert uninterrupted.rates == {"hybrid": 1.0, "float": 0.1}


BAD = {
    "no such network": (["--network", "resnet"], "there is no 'resnet'; did you mean 'resnet8'?"),
    "no such file": (["--network", "nowhere.py"], "there is no file nowhere.py"),
    "no such function": (["--network", "{folder}/net.py:nothing"], "has no function 'nothing'; write `def nothing("),
    "not these images": (["--network", "{folder}/net.py:broken"], "--network: does not take images of 1x8x8"),
    "a layer that cannot": (
        ["--network", "{folder}/net.py:sound"],
        "is a Conv1d, whose weights cannot be kept in cells",
    ),
    "a layer that is no product": (["--network", "{folder}/net.py:upwards"], "layer '0': is a ConvTranspose2d, whose"),
    "no price": (["--network", "{folder}/net.py:priceless"], "--network: its step cannot be priced (operator Atan is"),
    "no way back": (["--network", "{folder}/net.py:one_way"], "the way back through a layer of kind"),
    "no rate of floats": (["--float-rate", "0"], "--float-rate: 0.0 is not from 1e-09"),
    "no such data": (["--data", "nowhere"], "nowhere: there is no such file or folder"),
    "no such option": (["--option", "bit=5"], "--option bit: there is no such option; did you mean 'bits'?"),
    "wrong option": (["--option", "bits=many"], "--option bits: cannot be 'many'; give something like 7"),
    "out of range": (["--option", "bits=40"], "--option bits: 40 is not from 2 to 12"),
    "no such code": (["--option", "code=grey"], "--option code: there is no 'grey'; did you mean 'gray'?"),
    "no such drift": (["--option", "drift=some"], "--option drift: there is no 'some'"),
    "no rate": (["--rate", "0"], "--rate: 0.0 is not from 1e-09"),
    "no width": (["--widths", "0"], "expected different numbers above 0"),
    "widths alike": (["--widths", "1,1"], "--widths: expected different numbers above 0; give --widths 1,2"),
    "no rates": (["--rate", ""], "--rate: is empty"),
    "two times": (["--batch-s", "1,2"], "--batch-s 1,2: expected a number"),
    "age before birth": (["--age=-1d"], "--age: -86400.0 s is no age"),
    "nothing to validate": (["--validation", "0"], "--validation: 0.0 is not from 0.0001 to 0.5"),
    "a function that fails": (["--network", "{folder}/net.py:failing"], "its function fails (no such luck)"),
    "no module": (["--network", "{folder}/net.py:nothing_at_all"], "its function gives a NoneType"),
    "an error inside": (["--network", "{folder}/net.py:wrong"], "does not take images of 1x8x8 (bad forward)"),
    "no such operator": (["--network", "small_cnn"], "cannot be written as ONNX"),
    "unsuitable chip": (["--hardware", "isaac", "--batch-s", "1"], "isaac"),
    "no such chip": (["--hardware", "hermes"], "hermes"),
    "a chip too small": (["--set", "chip.n_tiles=1"], "take more tiles: --set chip.n_tiles="),
    "no age": (["--age", "soon"], "--age soon: expected a time"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_said_in_one_line(
    words: list[str], message: str, folder: Path, imcsim: Command, tmp_path: Path
) -> None:
    given = [word.format(folder=folder) for word in words]
    outcome = imcsim(*command_line(folder, tmp_path / "out"), *given)
    assert outcome.code == 2
    assert message in outcome.err.replace("\n", " "), outcome.err
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_layer_that_is_never_used_is_left_out(folder: Path, imcsim: Command, tmp_path: Path) -> None:
    words = command_line(folder, tmp_path / "out", "--network", f"{folder / 'net.py'}:idle", "--epochs", "1")
    assert imcsim(*words).code == 0
    assert set(pd.read_csv(tmp_path / "out" / "layers.csv")["layer"]) == {"used"}
    assert "normalisation" not in set(pd.read_csv(tmp_path / "out" / "ageing.csv")["fix"])  # for there is none


def test_a_directory_with_other_things_is_left_alone(folder: Path, imcsim: Command, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("years of work")
    outcome = imcsim(*command_line(folder, out))
    assert outcome.code == 2
    assert "holds other things" in outcome.err
    assert (out / "chapter1.tex").read_text() == "years of work"
    assert sorted(tmp_path.iterdir()) == [out]


def test_without_test_images_a_fifth_is_kept_apart(folder: Path, imcsim: Command, tmp_path: Path) -> None:
    words = ("train", "--network", "mlp", "--data", str(folder / "train.npz"), "--out", str(tmp_path / "out"))
    assert imcsim(*words, "--epochs", "1", "--float-rate", "none", "--age", "1s").code == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "20% kept apart" in text
    assert "not tested" in text


def test_a_changed_chip_is_priced() -> None:
    from imcsim.training.study.cost import large_enough
    from imcsim.workload.importers import load_network

    workload = load_network("resnet50")
    chip, grown = (large_enough(workload, "hermes-64", given) for given in ({}, {"chip.clock_mhz": "500"}))
    assert grown.chip.clock_mhz == 500
    assert grown.n_crossbars == chip.n_crossbars > 64
    assert large_enough(workload, "hermes-64", {"chip.n_tiles": "7"}).chip.n_tiles == 7


# -- parts -------------------------------------------------------------------------------------------------------------


def test_options_of_cells_by_name() -> None:
    options = hybrid_options({"bits": 5, "read_noise": False, "refresh_larger": 7, "code": "gray"})
    assert (options.bits, options.physics.read_noise, options.refresh_larger, options.code) == (5, False, 7, "gray")


def test_every_option_has_a_source() -> None:
    from dataclasses import fields

    from imcsim.training.hic.physics import Physics

    names = [f.name for kind in (Physics, HybridOptions) for f in fields(kind)]
    assert set(SOURCES) == set(names) - {"physics"}


def test_a_function_is_found_by_its_name(folder: Path) -> None:
    assert load_function(f"{folder / 'net.py'}:broken").__name__ == "broken"
    copy = shutil.copy(folder / "net.py", folder / "other.py")
    assert load_function(str(copy)).__name__ == "network"


def test_sizes_are_counted_by_hand() -> None:
    """29 levels of a pair: log2(29) bits."""
    size = hybrid_size(1000, 50, HybridOptions())
    assert size.bits == pytest.approx(1000 * 4.8579810 + 50 * 32)
    assert (size.cells, size.binary_cells) == (2000, 7000)
    assert float_size(1000, 50).bits == 33_600


def test_crossings_of_curves() -> None:
    curve = [(100.0, 0.8), (10_000.0, 0.9)]
    assert accuracy_at(curve, 1000.0) == pytest.approx(0.85)
    assert size_at(curve, 0.85) == pytest.approx(1000.0)
    assert size_at(curve, 0.95) == float("inf")
    assert size_at(curve, 0.7) == 100.0
    assert size_at([(1.0, 0.95), (2.0, 0.90), (4.0, 0.96)], 0.94) == 1.0
    assert np.isnan(accuracy_at(curve, 10.0))


def evidence(hybrid: float = 0.9, year: float = 0.9, cycles: int = 100) -> Evidence:
    """Return tables: float networks at 0.9 and width 1, hybrid ones at 1 and 3, of 0.1 and 1.2 times the bits."""
    runs = pd.DataFrame(
        [
            {"weights": kind, "width": width, "bits": bits, "cells": 2, "n_weights": 1, "accuracy_frac": accuracy}
            for kind, width, bits, accuracy in (
                ("float", 1.0, 1000.0, 0.9), ("hybrid", 1.0, 100.0, hybrid - 0.02), ("hybrid", 3.0, 1200.0, hybrid),
            )
        ]
    )  # fmt: skip
    ageing = pd.DataFrame(
        [
            {"width": 3.0, "seed": 0, "model": model, "fix": "none", "age_s": age, "accuracy_frac": accuracy}
            for model in ("pcm_accumulative", "pcm_iterative")
            for age, accuracy in ((1.0, 0.9), (AGES_S[-1], 0.9 if model == "pcm_accumulative" else year))
        ]
    )
    wear = pd.DataFrame([{"cycles_max": cycles, "part": "bit 0", "updates": 1000}])
    variants = pd.DataFrame({"variant": ["7 bits", "10 bits"], "accuracy_frac": [0.9, 0.901]})
    return Evidence(runs, ageing, wear, variants)


def verdicts(tables: Evidence) -> list[str]:
    return [claim.verdict for claim in claims(tables)]


def test_claims_follow_the_evidence() -> None:
    low, high = "does not hold", "holds"
    assert verdicts(evidence(hybrid=0.93)) == [high] * 6
    assert verdicts(evidence(hybrid=0.88, year=0.7, cycles=10**4)) == [high, high, low, low, "depends", low]
    empty = pd.DataFrame()
    assert verdicts(Evidence(empty, empty, empty, empty)) == ["not tested"] * 6


def test_drift_is_not_judged_by_networks_that_are_old_or_ignorant() -> None:
    tables = evidence()
    old = tables.ageing[tables.ageing["age_s"] > 1]
    assert verdicts(Evidence(tables.runs, old, tables.wear, tables.accumulators))[4] == "not tested"
    ignorant = tables.ageing.assign(accuracy_frac=0.1)
    assert verdicts(Evidence(tables.runs, ignorant, tables.wear, tables.accumulators))[4] == "not tested"
    forgets = tables.ageing.assign(accuracy_frac=np.where(tables.ageing["age_s"] > 1, 0.5, 0.8))  # little, and loses it
    assert verdicts(Evidence(tables.runs, forgets, tables.wear, tables.accumulators))[4] == "does not hold"


def test_a_repair_that_ruins_the_fresh_network_is_no_repair() -> None:
    """Its losses count from the best of the fresh accuracies."""
    tables = evidence(year=0.3)
    ruined = tables.ageing.assign(fix="global", accuracy_frac=0.12)
    both = Evidence(tables.runs, pd.concat([tables.ageing, ruined]), tables.wear, tables.accumulators)
    assert verdicts(both)[4] == "depends"


@pytest.mark.parametrize(
    ("lost", "verdict"), [((0.002, 0.01), "holds"), ((0.004, 0.014), "depends"), ((0.02, 0.03), "does not hold")]
)
def test_a_loss_within_its_error_of_the_limit_depends(lost: tuple[float, float], verdict: str) -> None:
    tables = evidence()
    seeds = [
        tables.ageing.assign(seed=seed, accuracy_frac=np.where(tables.ageing["age_s"] > 1, 0.9 - loss, 0.9))
        for seed, loss in enumerate(lost)
    ]
    assert verdicts(Evidence(tables.runs, pd.concat(seeds), tables.wear, tables.accumulators))[4] == verdict


def test_half_the_size_counts_only_below_half() -> None:
    tables = evidence(hybrid=0.9)
    assert verdicts(tables)[3] == "does not hold"  # reached at 0.83 of the bits
    base = tables.runs[tables.runs["weights"] == "float"]
    seeds = [base.assign(accuracy_frac=0.9 + away) for away in (-0.03, 0.03)]  # a standard error of 3 points
    unsure = pd.concat([tables.runs[tables.runs["weights"] == "hybrid"], *seeds])
    assert verdicts(Evidence(unsure, tables.ageing, tables.wear, tables.accumulators))[3] == "depends"
