"""Conductive-metal-oxide/HfOx cells of IBM Research Zurich (Falcone et al., 2025).

Coefficients: aihwkit 1.2.0, inference/noise/reram.py (ReRamCMONoiseModel), which says where they come from: programming
and relaxation from Falcone et al., read noise from Lombardo et al., DRC 2024. The papers themselves were not read.
Its default acceptance is no key of its own table and means 0.2 %; here the acceptance has to be given. It also cuts
every conductance off at both ends of the range; here only at 0.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from imcsim.hardware.devices._base import Ages, Cells, DeviceSpec, Floats, normals, polynomial

SIGMA_USIEMENS = {  # accepted error relative to the target: coefficients of G^0, G^1, G in uS; aihwkit
    0.002: (0.00081107, 0.00106879),
    0.02: (0.0112185391, 0.01129027418),
}
MEAN_PER_LOG = -0.08900206  # uS per ln(s): the mean of the relaxation; aihwkit
SIGMA_PER_LOG, SIGMA_AT_1S = 0.04201137, 0.41183342  # uS per ln(s), uS: its standard deviation; aihwkit
READ_USIEMENS, READ_S = 0.0277316483, 1e-6  # amplitude of the read noise, and how long a read takes; aihwkit


class RramCmo2025(DeviceSpec):
    """Valid for targets of 9 to 88.2 uS, at age 0 (as programmed) and from 1 s on, where the relaxation was fitted.

    From which age on the fit is an extrapolation is not known.
    """

    kind: Literal["rram_cmo2025"]
    acceptance_frac: Annotated[float, Field(examples=[0.02])]  # 0.002 or 0.02: when program-and-verify stops

    ages_s: ClassVar[tuple[tuple[float, float], ...]] = ((0.0, 0.0), (1.0, math.inf))

    @field_validator("acceptance_frac")
    @classmethod
    def _fitted(cls, acceptance_frac: float) -> float:
        if acceptance_frac not in SIGMA_USIEMENS:
            raise ValueError(f"the fit knows the acceptances 0.002 and 0.02, got {acceptance_frac:g}")
        return acceptance_frac

    @property
    def g_max_usiemens(self) -> float:
        """The largest conductance of the fit (aihwkit: 88.199997, elsewhere 88.19)."""
        return 88.2

    @property
    def g_min_usiemens(self) -> float:
        """The smallest conductance of the fit (aihwkit: 9.0)."""
        return 9.0

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """Linear in the target, by the acceptance."""
        return polynomial(target_usiemens, SIGMA_USIEMENS[self.acceptance_frac])

    def draw_traits(self, target_usiemens: Floats, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """How a cell relaxes against the others, a standard normal number that it keeps (kept: assumed)."""
        return {"relaxation": normals(target_usiemens, rng)}

    def drifted_usiemens(self, cells: Cells, age_s: Ages) -> Floats:
        """A shift that is normal over cells, with mean and deviation linear in ln(age), whatever the conductance."""
        log_s = np.log(np.maximum(age_s, 1.0))
        shift = MEAN_PER_LOG * log_s + (SIGMA_AT_1S + SIGMA_PER_LOG * log_s) * cells.traits["relaxation"]
        return np.asarray(cells.programmed_usiemens + np.where(np.asarray(age_s) > 0, shift, 0))

    def noise_usiemens(self, cells: Cells, g_usiemens: Floats, age_s: Ages) -> Floats:
        """K log10(g) sqrt(ln((t + t_r) / 2 t_r)); none at age 0, as there."""
        log_g = np.log10(np.maximum(g_usiemens, 1))
        return np.asarray(READ_USIEMENS * log_g * np.sqrt(np.log((np.maximum(age_s, READ_S) + READ_S) / (2 * READ_S))))
