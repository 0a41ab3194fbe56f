"""Solve a regression in one step: two arrays and two rows of amplifiers in a loop that settles at the pseudoinverse.

After Sun, Pedretti, Bricalli and Ielmini, Science Advances 2020, eaay2378 (abstract); the equations for a finite gain
are derived here from Kirchhoff's laws. Amplifiers w_j drive the columns of the first array. On each of its rows a
transimpedance amplifier with the feedback g_f gives v_i = -(G1 w + i)_i / g_f. The v_i drive the rows of the second
array, whose columns are the inputs of the amplifiers w_j, which so force G2^T v = 0. With equal arrays that is
w = -pinv(G) i. Wires are without resistance; amplifiers neither saturate nor have an offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imcsim.hardware.devices import DeviceSpec
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError

Floats = NDArray[np.float64]
G_MAX_USIEMENS = 100.0  # assumed, of cells that are given by a relative error; only ratios of conductances matter


@dataclass(frozen=True)
class Amplifiers:
    """Describe all amplifiers alike: open-loop gain (of one pole), and the frequency at which it has fallen to 1.

    Without ``first_stage_pole`` the transimpedance amplifiers follow at once. Raises ImcsimError for what cannot be.
    """

    gain: float = 1e5  # assumed
    gbw_hz: float = 1e8  # assumed
    first_stage_pole: bool = False

    def __post_init__(self) -> None:
        """Raise ImcsimError for a gain or a frequency that is no finite number above 0."""
        for name in ("gain", "gbw_hz"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ImcsimError(f"amplifiers.{name}", f"{value} is none", "give a finite number greater than 0")


@dataclass(frozen=True, eq=False)
class Loop:
    """Close the loop of two arrays of conductances >= 0 (rows, columns) and transimpedance amplifiers with a feedback.

    Raises ImcsimError for arrays of different shapes, for no conductances, and for a column without any.
    """

    first_usiemens: Floats
    second_usiemens: Floats
    feedback_usiemens: float
    amplifiers: Amplifiers = Amplifiers()

    def __post_init__(self) -> None:
        """Raise ImcsimError for arrays and a feedback that make no loop."""
        first, second = self.first_usiemens, self.second_usiemens
        if first.ndim != 2 or first.shape != second.shape:
            raise ImcsimError("closed loop", f"arrays of shapes {first.shape} and {second.shape}", "give two alike")
        for g in (first, second):
            if not (np.isfinite(g).all() and (g >= 0).all() and (g.sum(axis=0) > 0).all()):
                raise ImcsimError("closed loop", "some cells are no conductances, or a column has none at all")
        if not (math.isfinite(self.feedback_usiemens) and self.feedback_usiemens > 0):
            raise ImcsimError("closed loop", f"a feedback of {self.feedback_usiemens} uS", "give one greater than 0")

    @cached_property
    def _load_usiemens(self) -> Floats:
        """Return D (rows,), the current of a row over the output of its transimpedance amplifier."""
        at_input = self.first_usiemens.sum(axis=1) + self.feedback_usiemens
        return np.asarray(self.feedback_usiemens + at_input / self.amplifiers.gain)

    @cached_property
    def _system(self) -> Floats:
        """Return (columns, columns): what outputs w do to the currents into their own inputs, less what those drain."""
        drain = np.diag(self.second_usiemens.sum(axis=0)) / self.amplifiers.gain
        return np.asarray(self.second_usiemens.T @ (self.first_usiemens / self._load_usiemens[:, None]) + drain)

    @cached_property
    def rates_per_s(self) -> NDArray[np.complex128]:
        """Return the rates at which modes of the loop decay, slowest first; one that grows has a negative real part."""
        jacobian = self._two_stages if self.amplifiers.first_stage_pole else self._one_stage
        rates = np.linalg.eigvals(jacobian).astype(np.complex128) * 2 * math.pi * self.amplifiers.gbw_hz
        return np.asarray(rates[np.argsort(rates.real, kind="stable")])

    @property
    def _one_stage(self) -> Floats:
        return np.asarray(self._system / self.second_usiemens.sum(axis=0)[:, None])

    @property
    def _two_stages(self) -> Floats:
        """Return (rows + columns) each way, over the gain-bandwidth: inputs are what resistors divide outputs into."""
        rows, columns = self.first_usiemens.shape
        at_rows = self.first_usiemens.sum(axis=1) + self.feedback_usiemens
        matrix = np.eye(rows + columns) / self.amplifiers.gain
        matrix[:rows, :rows] += np.diag(self.feedback_usiemens / at_rows)
        matrix[:rows, rows:] = self.first_usiemens / at_rows[:, None]
        matrix[rows:, :rows] = -self.second_usiemens.T / self.second_usiemens.sum(axis=0)[:, None]
        return matrix

    @property
    def is_stable(self) -> bool:
        """Tell whether each mode decays. With equal arrays it always does."""
        return bool(self.rates_per_s[0].real > 0)

    @property
    def time_constant_s(self) -> float:
        """Return the seconds until the slowest mode is down to 1/e. Raises ImcsimError where the loop is unstable."""
        self._check_stable()
        return float(1 / self.rates_per_s[0].real)

    def settled_v(self, current_ua: ArrayLike) -> Floats:
        """Return w (columns, ...) in V for the currents (rows, ...) into the rows of the first array.

        Raises ImcsimError where the loop is unstable: it would not settle there.
        """
        current = np.asarray(current_ua, np.float64)
        if current.shape[:1] != self.first_usiemens.shape[:1]:
            rows = len(self.first_usiemens)
            raise ImcsimError("closed loop", f"currents of shape {current.shape} for {rows} rows", "give one for each")
        self._check_stable()
        over_load = (current.T / self._load_usiemens).T
        return np.asarray(-np.linalg.solve(self._system, self.second_usiemens.T @ over_load))

    def _check_stable(self) -> None:
        if not self.is_stable:
            problem = f"unstable: a mode grows at {-self.rates_per_s[0].real:.3g} per second"
            raise ImcsimError("closed loop", problem, "make the arrays more alike: less device error in both")


# -- data in cells -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Regression:
    """Hold ``weights`` (features, ...) and ``intercept`` (...) for the data as given, and the loop behind them."""

    weights: Floats
    intercept: Floats
    loop: Loop

    def predict(self, x: ArrayLike) -> Floats:
        """Return the predictions (n, ...) for data (n, features)."""
        return np.asarray(np.asarray(x, np.float64) @ self.weights + self.intercept)


def regress(
    x: ArrayLike,
    y: ArrayLike,
    cells: DeviceSpec | float = 0.0,
    amplifiers: Amplifiers = Amplifiers(),
    feedback_usiemens: float | None = None,
    seed: int = 0,
) -> Regression:
    """Fit data (n, features) to targets (n,) or (n, outputs) with an intercept, by least squares as the loop gives it.

    Each feature is spread over the range of the cells. What that shifts is left to the column of the intercept, whose
    cells are all at g_max, so negative data need no second array. Constant features get the weight 0. ``cells``: a
    device, fresh, or the relative standard deviation of both arrays' cells. Feedback: g_max unless given. For classes,
    give a column of -1 and 1 for each class and take the largest prediction. Raises ImcsimError for data that do not
    fit and for a loop that is unstable.
    """
    data, wanted = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _check(data, wanted)
    low, span = data.min(axis=0), np.ptp(data, axis=0)
    kept = span > 0
    g_min, g_max = _range_usiemens(cells)
    spread = (data[:, kept] - low[kept]) / span[kept]
    target = np.hstack([g_min + (g_max - g_min) * spread, np.full((len(data), 1), g_max)])
    first, second = (written_usiemens(target, cells, seed, which) for which in ("first", "second"))
    feedback = g_max if feedback_usiemens is None else feedback_usiemens
    loop = Loop(first, second, feedback, amplifiers)
    w = loop.settled_v(-wanted)
    weights = np.zeros((data.shape[1], *wanted.shape[1:]))
    weights[kept] = (w[:-1].T * (g_max - g_min) / span[kept]).T
    return Regression(weights, g_min * w[:-1].sum(axis=0) + g_max * w[-1] - low @ weights, loop)


def written_usiemens(target_usiemens: Floats, cells: DeviceSpec | float, seed: int, which: str) -> Floats:
    """Write one array, ``which`` of the two: conductances as the device leaves them, or with a relative error, >= 0."""
    rng = random_streams.rng(seed, "closed loop", which)
    if isinstance(cells, DeviceSpec):
        programmed = cells.program(target_usiemens, rng)
        return np.asarray(cells.conductance_usiemens(programmed, cells.earliest_s), np.float64)
    if not (math.isfinite(cells) and cells >= 0):
        raise ImcsimError("closed loop: cells", f"{cells} is no relative error", "give a number from 0 on, or a device")
    return np.asarray(np.maximum(target_usiemens * (1 + cells * rng.standard_normal(target_usiemens.shape)), 0))


def _range_usiemens(cells: DeviceSpec | float) -> tuple[float, float]:
    return (cells.g_min_usiemens, cells.g_max_usiemens) if isinstance(cells, DeviceSpec) else (0.0, G_MAX_USIEMENS)


def random_features(x: ArrayLike, n: int, seed: int = 0) -> Floats:
    """Return (rows, n): a first layer that is never trained, ReLU of random normal weights (the ReLU is assumed)."""
    data = np.asarray(x, np.float64)
    weights = random_streams.rng(seed, "random features", n).standard_normal((data.shape[1], n)) / math.sqrt(
        data.shape[1]
    )
    return np.asarray(np.maximum(data @ weights, 0))


def _check(x: NDArray[Any], y: NDArray[Any]) -> None:
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y) or not x.size:
        raise ImcsimError("regression", f"data {x.shape} and targets {y.shape}", "give a row of data for each target")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ImcsimError("regression", "some data or targets are NaN or infinite")
