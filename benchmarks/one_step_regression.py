"""Error, settling and stability of regression in one step against gain, device error and the least eigenvalue.

    python benchmarks/one_step_regression.py [--draw]

Data of scikit-learn: diabetes (442 x 10 and an intercept, targets around 0; the score is R2 of the same data), digits
(1,200 to learn from, 597 for the score, the share that is classified correctly; targets -1 and 1, one against the rest)
and digits behind a first layer of random features. Errors are those of the weights, relative to exact least squares.
Device errors are in both arrays, independent; shares of unstable draws both with a pole in the second stage alone and
in both. Results: ``one_step_regression.csv`` and docs/figures/one_step_regression.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets

from imcsim.functional.closed_loop import Amplifiers, Regression, random_features, regress
from imcsim.hardware.devices import DeviceSpec, load_device
from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file
from imcsim.util.progress import Progress, bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
TABLE, FIGURE = HERE / "one_step_regression.csv", HERE.parent / "docs" / "figures" / "one_step_regression"
GAINS = tuple(10 ** (exponent / 2) for exponent in range(6, 17))
HIGH_GAIN = Amplifiers(gain=1e8)  # so that device errors are seen alone
SIGMAS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
DRAWS, DRAWS_DIGITS = 60, 10
DEVICES: dict[str, dict[str, Any]] = {
    "rram_milo2021": {}, "rram_wan2022": {}, "rram_cmo2025": {"acceptance_frac": 0.002}, "pcm_iterative": {},
}  # fmt: skip
FEATURES = (8, 16, 32, 64, 128, 256, 512)
N_TRAIN, CLASSES = 1200, 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """Data to learn from and to be judged by; ``labels`` where the targets are classes."""

    name: str
    x: Floats
    y: Floats
    x_test: Floats
    y_test: Floats
    labels: NDArray[np.int64] | None = None

    @cached_property
    def exact(self) -> Floats:
        """(features, ...): the least squares of features that are not constant."""
        kept = np.ptp(self.x, axis=0) > 0
        weights = np.zeros((self.x.shape[1], *self.y.shape[1:]))
        with_ones = np.hstack([self.x[:, kept], np.ones((len(self.x), 1))])
        weights[kept] = np.linalg.lstsq(with_ones, self.y, rcond=None)[0][:-1]
        return weights

    def error(self, done: Regression) -> float:
        """Of the weights, relative."""
        return float(np.linalg.norm(done.weights - self.exact) / np.linalg.norm(self.exact))

    def score(self, done: Regression) -> float:
        """R2, or the share that is classified correctly."""
        y = done.predict(self.x_test)
        if self.labels is not None:
            return float((y.argmax(axis=1) == self.labels).mean())
        return float(1 - ((self.y_test - y) ** 2).sum() / ((self.y_test - self.y_test.mean()) ** 2).sum())


def diabetes() -> Problem:
    x, y = datasets.load_diabetes(return_X_y=True)
    return Problem("diabetes", x, y - y.mean(), x, y - y.mean())


def digits(features: int = 0) -> Problem:
    x, labels = datasets.load_digits(return_X_y=True)
    x = random_features(x, features) if features else x
    y = 2.0 * np.eye(CLASSES)[labels] - 1
    name = f"digits, {features} random features" if features else "digits"
    return Problem(name, x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], labels[N_TRAIN:])


def row(study: str, problem: Problem, cells: DeviceSpec | float, amplifiers: Amplifiers, draws: int) -> dict[str, Any]:
    """Means, medians and the share of unstable draws; not a number where all are."""
    drawn = [_one(problem, cells, amplifiers, seed) for seed in range(draws)]
    stable = [done for done in drawn if done]
    of_each = {"error": problem.error, "score": problem.score, "time_s": lambda done: done.loop.time_constant_s}
    found = {name: np.array([of(done) for done in stable] or [np.nan]) for name, of in of_each.items()}
    is_device, time_s = isinstance(cells, DeviceSpec), float(np.median(found["time_s"]))
    return {
        "study": study, "data": problem.name, "cells": cells.kind if is_device else "relative error",
        "sigma_frac": None if is_device else cells, "gain": amplifiers.gain,
        "poles": "both stages" if amplifiers.first_stage_pole else "second stage", "draws": draws,
        "unstable_frac": 1 - len(stable) / draws, "error_mean": found["error"].mean(),
        **{f"error_p{percent}": np.percentile(found["error"], percent) for percent in (10, 50, 90)},
        "score_mean": found["score"].mean(), "score_median": np.median(found["score"]),
        "time_constant_us": time_s * 1e6, "lambda_min": 1 / (2 * np.pi * amplifiers.gbw_hz * time_s),
    }  # fmt: skip


def _one(problem: Problem, cells: DeviceSpec | float, amplifiers: Amplifiers, seed: int) -> Regression | None:
    try:
        return regress(problem.x, problem.y, cells, amplifiers, seed=seed)
    except ImcsimError as error:
        if error.problem.startswith("unstable"):
            return None
        raise


def rows(progress: Progress) -> Iterator[dict[str, Any]]:
    """Gain, device error, devices, random features."""
    few, many = diabetes(), [digits(), digits(256)]
    for problem in (few, *many):
        progress(0, 0, f"gain, {problem.name}")
        for gain in GAINS:
            yield row("gain", problem, 0.0, Amplifiers(gain), 1)
    for sigma in SIGMAS:
        progress(0, 0, f"device error {sigma:g}")
        for amplifiers in (HIGH_GAIN, replace(HIGH_GAIN, first_stage_pole=True)):
            yield row("device error", few, sigma, amplifiers, DRAWS)
        for problem in many:
            yield row("device error", problem, sigma, HIGH_GAIN, DRAWS_DIGITS)
    for kind, fields in DEVICES.items():
        progress(0, 0, kind)
        yield row("device", few, load_device(kind, **fields), HIGH_GAIN, DRAWS)
        yield row("device", many[0], load_device(kind, **fields), HIGH_GAIN, DRAWS_DIGITS)
    for features in FEATURES:
        progress(0, 0, f"{features} features")
        yield row("features", digits(features), 0.0, Amplifiers(), 1)


# -- the figure --------------------------------------------------------------------------------------------------------


def draw() -> None:
    """Error and settling against gain, error, score and instability against device error, all by least eigenvalue."""
    table = pd.read_csv(TABLE)
    of_cells = "relative error of the cells"
    with saved_figure(FIGURE, "one_step_regression", (9.0, 6.6)) as (figure, _):
        panels = figure.subplots(2, 3)
        _by_data(panels[0, 0], table[table["study"] == "gain"], "gain", "error_p50")
        panels[0, 0].set(xscale="log", yscale="log", xlabel="open-loop gain", ylabel="error of the weights")
        _by_data(panels[1, 0], table[table["study"] == "gain"], "gain", "time_constant_us")
        panels[1, 0].set(xscale="log", yscale="log", xlabel="open-loop gain", ylabel="time constant (us), 100 MHz")
        own = table[(table["study"] == "device error") & (table["sigma_frac"] > 0)]
        one_pole = own[own["poles"] == "second stage"].assign(unstable_percent=100 * own["unstable_frac"])
        _by_data(panels[0, 1], one_pole, "sigma_frac", "error_p50", band=True)
        panels[0, 1].set(xscale="log", yscale="log", xlabel=of_cells, ylabel="error of the weights")
        _by_data(panels[1, 1], one_pole, "sigma_frac", "score_median")
        panels[1, 1].set(xscale="log", xlabel=of_cells, ylabel="R2; share correct", ylim=(0, 1))
        _by_data(panels[0, 2], one_pole, "sigma_frac", "unstable_percent")
        panels[0, 2].set(xscale="log", xlabel=of_cells, ylabel="unstable draws (%)")
        _features(panels[1, 2], table[table["study"] == "features"])
        panels[0, 0].legend(fontsize=7)
        figure.suptitle("Regression in one step, finite gain and device error", x=0.01, ha="left", fontweight="bold")


def _by_data(axes: Axes, table: pd.DataFrame, x: str, y: str, band: bool = False) -> None:
    for (name, own), colour in zip(table.groupby("data", sort=False), COLOURS, strict=False):
        axes.plot(own[x], own[y], "o-", color=colour, markersize=3.5, linewidth=1.2, label=str(name))
        if band:
            axes.fill_between(own[x], own["error_p10"], own["error_p90"], color=colour, alpha=0.2, linewidth=0)


def _features(axes: Axes, table: pd.DataFrame) -> None:
    for column, label, colour in (
        ("error_p50", "error of the weights, gain 1e5", COLOURS[0]),
        ("score_median", "share correct", COLOURS[2]),
        ("time_constant_us", "time constant (us)", COLOURS[1]),
    ):
        axes.plot(table["lambda_min"], table[column], "o-", color=colour, markersize=3.5, linewidth=1.2, label=label)
    axes.set(xscale="log", yscale="log", xlabel="least eigenvalue of the loop", ylim=(1e-4, 1e5))
    axes.legend(fontsize=7, title="digits, 512 (left) to 8 random features", title_fontsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="only draw what the table holds")
    if not parser.parse_args().draw:
        with bar("one step") as progress:
            table = pd.DataFrame(list(rows(progress)))
        with new_file(TABLE) as partial:
            table.to_csv(partial, index=False, float_format="%.6g")
    draw()


if __name__ == "__main__":
    main()
