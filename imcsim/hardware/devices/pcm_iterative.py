"""Phase-change cells programmed by program-and-verify: Nandakumar et al., ICECS 2019, from an array of a million cells.

Coefficients: aihwkit 1.2.0, inference/noise/pcm.py (PCMLikeNoiseModel). The number of pulses is not in that fit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveFloat

from imcsim.hardware.devices._base import Floats, polynomial
from imcsim.hardware.devices._pcm import DriftingPcm

G_FIT_USIEMENS = 25.0  # g_max of the fit
SIGMA_USIEMENS = (0.26348, 1.9650, -1.1731)  # of r^0 ... r^2, r = target / g_max; aihwkit


class PcmIterative(DriftingPcm):
    """Valid for targets of 0 to g_max, from 20 s after programming on, which is age 0.

    With another g_max than the fit's 25 uS all errors scale with it (aihwkit's rule).
    """

    kind: Literal["pcm_iterative"]
    g_max_usiemens: PositiveFloat = G_FIT_USIEMENS

    @property
    def g_min_usiemens(self) -> float:
        """A reset cell conducts nothing in this fit."""
        return 0.0

    @property
    def first_read_s(self) -> float:
        """Return t0 of the drift fit (aihwkit)."""
        return 20.0

    @property
    def read_s(self) -> float:
        """Return t_r of the 1/f fit (aihwkit)."""
        return 250e-9

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """The quadratic fit."""
        r = target_usiemens / self.g_max_usiemens
        return polynomial(r, SIGMA_USIEMENS) * (self.g_max_usiemens / G_FIT_USIEMENS)

    def exponent_mean(self, r: Floats) -> Floats:
        """Return 0.1 for the lowest to 0.049 for all but the lowest conductances (aihwkit)."""
        return np.clip(-0.0155 * np.log(r) + 0.0244, 0.049, 0.1)

    def exponent_sigma(self, r: Floats) -> Floats:
        """Return 0.045 to 0.008 (aihwkit)."""
        return np.clip(-0.0125 * np.log(r) - 0.0059, 0.008, 0.045)

    def flicker(self, r: Floats) -> Floats:
        """Return 0.0088 / r^0.65, at most 0.2 (aihwkit)."""
        return np.asarray(np.minimum(0.0088 / np.maximum(r**0.65, 1e-3), 0.2))
