"""Phase-change cells of the IBM HERMES chip, 14 nm.

Papers: Khaddam-Aljameh et al., JSSC 2022; Le Gallo et al., Nat. Electron. 2023. Coefficients: aihwkit 1.2.0,
inference/noise/hermes.py. Two devices per polarity are programmed as in Vasilopoulos et al., TED 2023; their drift is
that of two devices in the same state, worse than measured on the chip (aihwkit).
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from imcsim.hardware.devices._base import Floats, polynomial
from imcsim.hardware.devices._pcm import DriftingPcm


class Branches(NamedTuple):
    """A fit in r: below ``split`` slope ln r + offset, cut off at both ends; from there on a polynomial."""

    split: float
    slope: float
    offset: float
    least: float
    most: float
    coefficients: tuple[float, ...]  # of r^0, r^1, ...

    def at(self, r: Floats) -> Floats:
        """The value at conductances relative to g_max."""
        low = np.clip(self.slope * np.log(r) + self.offset, self.least, self.most)
        return np.where(r < self.split, low, polynomial(r, self.coefficients))


class HermesFit(NamedTuple):
    """What differs between one and two devices."""

    g_max_usiemens: float
    first_read_s: float
    sigma_usiemens: tuple[float, ...]
    exponent_sigma: Branches
    flicker: Branches


EXPONENT_MEAN = Branches(0.0945, -0.0387, -0.0182, 0.0720, 0.13, (0.0736, -0.0126, -0.0436))  # aihwkit
FITS = {  # all numbers: aihwkit
    1: HermesFit(
        10.35,
        200.0,
        (0.15781817, 2.32443916, -2.16310839, 0.68841818),
        Branches(0.3039, -0.0120, -0.0023, 0.0124, 0.04, (0.0104, 0.0116, -0.0165)),
        Branches(0.1591, -0.0078, 0.0038, 0.0179, 0.04, (0.0088, 0.0768, -0.1352, 0.0664)),
    ),
    2: HermesFit(
        20.7,
        300.0,
        (0.16603222, 4.71806468, -8.48101252, 4.68961419),
        Branches(0.3055, -0.0117, -0.0057, 0.0091, 0.04, (0.0073, 0.0093, -0.0118)),
        Branches(0.16, -0.0117, -0.0069, 0.015, 0.04, (0.0123, 0.0211, -0.0280, 0.0069)),
    ),
}


class PcmHermes(DriftingPcm):
    """Valid for targets of 0 to 10.35 uS (one device) or 20.7 uS (two), from 200 or 300 s after programming: age 0."""

    kind: Literal["pcm_hermes"]
    devices: Annotated[Literal[1, 2], Field(examples=[2])]  # per polarity; conductances are those of both together

    @property
    def g_max_usiemens(self) -> float:
        """The largest conductance of the fit (aihwkit)."""
        return FITS[self.devices].g_max_usiemens

    @property
    def g_min_usiemens(self) -> float:
        """A reset cell conducts nothing in this fit."""
        return 0.0

    @property
    def first_read_s(self) -> float:
        """Return t0 of the drift fit (aihwkit)."""
        return FITS[self.devices].first_read_s

    @property
    def read_s(self) -> float:
        """Return t_r of the 1/f fit (aihwkit)."""
        return 512e-9

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """The cubic fit."""
        return polynomial(target_usiemens / self.g_max_usiemens, FITS[self.devices].sigma_usiemens)

    def exponent_mean(self, r: Floats) -> Floats:
        """Return one mean for one and for two devices."""
        return EXPONENT_MEAN.at(r)

    def exponent_sigma(self, r: Floats) -> Floats:
        """Less for two devices."""
        return FITS[self.devices].exponent_sigma.at(r)

    def flicker(self, r: Floats) -> Floats:
        """The fit ends at g_max: cells programmed beyond have its last value (assumed; aihwkit extrapolates)."""
        return FITS[self.devices].flicker.at(np.minimum(r, 1))
