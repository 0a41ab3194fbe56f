"""Multilevel HfO2 cells: Milo et al., "Optimized programming algorithms for multilevel RRAM", IRPS 2021.

Coefficients and range: the linear fit to Fig. 4 (algorithm IGVVA-100) in CrossSim, devices/custom/RRAM_Milo.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from imcsim.hardware.devices._base import DeviceSpec, Floats, polynomial

SIGMA_USIEMENS = (4.782321, -0.009107)  # of G^0, G^1, G in uS; CrossSim


class RramMilo2021(DeviceSpec):
    """Programming error only, for targets of 50 to 225 uS; drift and read noise are not in the data.

    So the only age is 0 s, and reads are without noise.
    """

    kind: Literal["rram_milo2021"]

    ages_s: ClassVar[tuple[tuple[float, float], ...]] = ((0.0, 0.0),)

    @property
    def g_max_usiemens(self) -> float:
        """The largest conductance of the fit (CrossSim)."""
        return 225.0

    @property
    def g_min_usiemens(self) -> float:
        """The smallest conductance: on/off ratio 4.5 (CrossSim)."""
        return 50.0

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """The linear fit."""
        return polynomial(target_usiemens, SIGMA_USIEMENS)
