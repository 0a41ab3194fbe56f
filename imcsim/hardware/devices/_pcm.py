"""What the fits of programmed phase-change cells share: drift by a power law, and 1/f noise since programming.

Form of both: aihwkit 1.2.0, inference/noise/pcm.py and hermes.py, after Nandakumar et al., ICECS 2019. One difference:
there the exponents are drawn anew at every call, here a cell draws its exponent once and keeps it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.devices._base import Ages, Cells, DeviceSpec, Floats, normals

LEAST = 1e-7  # conductance relative to g_max below which logarithms stop (aihwkit)


def power_law(g_usiemens: Floats, exponent: Floats | float, age_s: Ages, first_read_s: float) -> Floats:
    """Return g ((age + t0) / t0)^-exponent: t0 after programming is age 0, where ``g_usiemens`` was read."""
    return np.asarray(g_usiemens * ((age_s + first_read_s) / first_read_s) ** -exponent)


class DriftingPcm(DeviceSpec):
    """Cells with a drift exponent of their own (trait ``drift_exponent``); r is conductance relative to g_max."""

    @property
    @abstractmethod
    def first_read_s(self) -> float:
        """Return t0, the time from programming to the first read of the fit, which is age 0."""

    @property
    @abstractmethod
    def read_s(self) -> float:
        """Return t_r, how long one read of the fit took."""

    @abstractmethod
    def exponent_mean(self, r: Floats) -> Floats:
        """Mean of the drift exponent over cells."""

    @abstractmethod
    def exponent_sigma(self, r: Floats) -> Floats:
        """Standard deviation of the drift exponent over cells."""

    @abstractmethod
    def flicker(self, r: Floats) -> Floats:
        """Q_s: amplitude of the 1/f noise relative to the conductance."""

    def draw_traits(self, target_usiemens: Floats, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """The exponents, by the target: absolute values of normal numbers (aihwkit)."""
        r = np.maximum(target_usiemens / self.g_max_usiemens, LEAST)
        return {"drift_exponent": np.abs(self.exponent_mean(r) + self.exponent_sigma(r) * normals(r, rng))}

    def drifted_usiemens(self, cells: Cells, age_s: Ages) -> Floats:
        """Each cell along its own power law."""
        return power_law(cells.programmed_usiemens, cells.traits["drift_exponent"], age_s, self.first_read_s)

    def noise_usiemens(self, cells: Cells, g_usiemens: Floats, age_s: Ages) -> Floats:
        """Return g Q_s sqrt(ln((t + t_r) / 2 t_r)), t = age + t0; Q_s by the conductance at age 0 (aihwkit)."""
        q = self.flicker(np.clip(cells.programmed_usiemens / self.g_max_usiemens, LEAST, None))
        since_s = age_s + self.first_read_s
        return np.asarray(g_usiemens * q * np.sqrt(np.log((since_s + self.read_s) / (2 * self.read_s))))
