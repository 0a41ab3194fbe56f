"""Phase-change cells that a SET pulse moves up a little, for training.

Model: Nandakumar et al., "A phase-change memory model for neuromorphic computing", J. Appl. Phys. 124, 152135 (2018).
Constants: YigitDemirag/srnn-pcm, xbar.py, which says that it follows that paper (not checked against the paper).
The cell remembers how many SET pulses it had since its last RESET: the steps of a fresh cell are larger.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveInt

from imcsim.hardware.devices._base import Ages, Cells, DeviceSpec, Floats, normals
from imcsim.hardware.devices._pcm import power_law
from imcsim.util.errors import ImcsimError

MEMORY_PULSES = 2.6  # a: the history term P = exp(-pulses since RESET / a); xbar.py
STEP_MEAN = (-0.084, 0.880, 1.40)  # of G, 1, P: mean of a step in uS; xbar.py m1, c1, A1
STEP_SIGMA = (0.091, 0.260, 2.15)  # of G, 1, P: its standard deviation; xbar.py m2, c2, A2
READ_SIGMA = (0.03, 0.13)  # of G, 1: standard deviation of a read in uS; xbar.py m3, c3
RESET_USIEMENS, RESET_SIGMA_USIEMENS, RESET_LEAST_USIEMENS = 0.1, 0.01, 0.01  # xbar.py reset
DRIFT_EXPONENT, FIRST_READ_S = 0.04, 38.6  # xbar.py v, T0


class PcmAccumulative(DeviceSpec):
    """Valid for conductances of 0.1 uS to g_max, from 38.6 s after the last pulse on, which is age 0.

    All cells drift alike, and each pulse begins the drift anew (Boybat et al., NVMTS 2018): count ages from it.
    """

    kind: Literal["pcm_accumulative"]
    g_max_usiemens: Annotated[float, Field(ge=1, le=20)] = 12.0  # where SET saturates; xbar.py: 12, 20 for its Fig. 5
    max_pulses: PositiveInt = 20  # of one write; assumed: as many as xbar.py's Fig. 5 shows

    @property
    def g_min_usiemens(self) -> float:
        """What a RESET leaves (xbar.py G0)."""
        return RESET_USIEMENS

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """Refused: a write is a sequence of pulses and reads."""
        problem = "the error of a write has no closed form"
        raise ImcsimError(f"device '{self.kind}'", problem, "measure it over many cells from program()")

    def step_usiemens(self, g_usiemens: Floats, nth: ArrayLike) -> tuple[Floats, Floats]:
        """Return (mean, standard deviation) of the step by the ``nth`` SET pulse since RESET, from 1, uncut."""
        p = np.exp(-np.asarray(nth) / MEMORY_PULSES)
        mean, sigma = (by_g * g_usiemens + fixed + by_p * p for by_g, fixed, by_p in (STEP_MEAN, STEP_SIGMA))
        return mean, sigma

    def reset(self, like: Floats, rng: np.random.Generator) -> Floats:
        """Conductances after a RESET, of the shape and type of ``like``."""
        g = RESET_USIEMENS + RESET_SIGMA_USIEMENS * normals(like, rng)
        return np.asarray(np.clip(g, RESET_LEAST_USIEMENS, self.g_max_usiemens))

    def pulse(self, g_usiemens: Floats, n: ArrayLike, rng: np.random.Generator, *, since_reset: ArrayLike) -> Floats:
        """Conductances after ``n`` more SET pulses, for cells that had ``since_reset`` pulses since their RESET.

        ``n`` and ``since_reset`` are whole numbers, one for all or one for each cell; the arrays are left as they are.
        Raises ImcsimError for negative numbers and for what is no whole number.
        """
        after = np.array(g_usiemens, copy=True)
        times, before = (self._counts(counts, after) for counts in (n, since_reset))
        for i in range(int(times.max(initial=0))):
            hit = times > i
            mean, sigma = self.step_usiemens(after[hit], before[hit] + i + 1)
            moved = after[hit] + mean + sigma * normals(after[hit], rng)
            after[hit] = np.clip(moved, RESET_USIEMENS, self.g_max_usiemens)
        return after

    def _counts(self, counts: ArrayLike, like: Floats) -> NDArray[np.integer[Any]]:
        given = np.asarray(counts)
        if not np.issubdtype(given.dtype, np.integer) or (given < 0).any():
            problem = "a number of pulses is negative or no whole number"
            raise ImcsimError(f"device '{self.kind}'", problem, "give whole numbers from 0 on")
        return np.broadcast_to(given, like.shape)

    def write(self, aim_usiemens: Floats, rng: np.random.Generator) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """RESET, then read and pulse until the gap, as read, is at most half of the mean step (this rule: assumed).

        A cell that passes once is left alone. The trait ``set_pulses`` is what each cell took; SET cannot take back, so
        errors are skewed upwards.
        """
        g, pulses = self.reset(aim_usiemens, rng), np.zeros(aim_usiemens.shape, dtype=np.int64)
        short = np.ones(aim_usiemens.shape, dtype=np.bool_)
        for _ in range(self.max_pulses):
            seen = g + self.read_noise_usiemens(g) * normals(g, rng)
            short = short & (aim_usiemens - seen > self.step_usiemens(seen, pulses + 1)[0] / 2)
            g = self.pulse(g, short.astype(np.int64), rng, since_reset=pulses)
            pulses = pulses + short
        return g, {"set_pulses": pulses}

    def drifted_usiemens(self, cells: Cells, age_s: Ages) -> Floats:
        """One exponent for all cells."""
        return power_law(cells.programmed_usiemens, DRIFT_EXPONENT, age_s, FIRST_READ_S)

    def read_noise_usiemens(self, g_usiemens: Floats) -> Floats:
        """Standard deviation of one read of cells at ``g_usiemens``."""
        by_g, fixed = READ_SIGMA
        return by_g * g_usiemens + fixed

    def noise_usiemens(self, cells: Cells, g_usiemens: Floats, age_s: Ages) -> Floats:
        """By the present conductance alone."""
        return self.read_noise_usiemens(g_usiemens)
