"""HfOx cells of NeuRRAM: Wan et al., "A compute-in-memory chip based on resistive random-access memory", Nature 2022.

Coefficients: the fit to the published figures in aihwkit 1.2.0, inference/noise/reram.py (ReRamWan2022NoiseModel),
which gives the deviation from the target 1 s, 1 day and 2 days after programming, and nothing between or beyond.
The cubic of CrossSim (devices/custom/RRAM_Wan.py) to the same data at 1 s is another one: 2.36 uS at 20 uS, not 2.02.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imcsim.hardware.devices._base import Ages, Cells, DeviceSpec, Floats, normals, polynomial

SIGMA_USIEMENS = {  # seconds after programming: coefficients of r^0 ... r^4, r = target / 40 uS; aihwkit
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    86_400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
    172_800.0: (0.782, 20.274, -43.507, 37.062, -11.934),
}


class RramWan2022(DeviceSpec):
    """Valid for targets of 0 to 40 uS and ages of 1 s (as programmed) to 2 days, counted from programming."""

    kind: Literal["rram_wan2022"]
    # assumed: aihwkit advises "about 1 %" of g_max, and says that no data of read noise are available
    read_sigma_frac: Annotated[float, Field(ge=0)] = 0.01

    ages_s: ClassVar[tuple[tuple[float, float], ...]] = ((min(SIGMA_USIEMENS), max(SIGMA_USIEMENS)),)

    @property
    def g_max_usiemens(self) -> float:
        """The reference of the fit (aihwkit)."""
        return 40.0

    @property
    def g_min_usiemens(self) -> float:
        """Where the fit begins (aihwkit)."""
        return 0.0

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """The fit at 1 s."""
        return self.deviation_usiemens(target_usiemens, 1.0)

    def deviation_usiemens(self, target_usiemens: Floats, age_s: Ages) -> Floats:
        """Standard deviation from the target over cells; between the ages of the fit linear in log age (assumed)."""
        ages, r = list(SIGMA_USIEMENS), target_usiemens / self.g_max_usiemens
        place = np.interp(np.log(age_s), [math.log(age) for age in ages], range(len(ages)))
        weights = [np.maximum(1 - np.abs(place - i), 0) for i in range(len(ages))]
        fits = [polynomial(r, coefficients) for coefficients in SIGMA_USIEMENS.values()]
        return np.asarray(sum(weight * fit for weight, fit in zip(weights, fits, strict=True)))

    def draw_traits(self, target_usiemens: Floats, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Which way a cell relaxes, a standard normal number that it keeps."""
        return {"relaxation": normals(target_usiemens, rng)}

    def drifted_usiemens(self, cells: Cells, age_s: Ages) -> Floats:
        """What the deviation has gained since 1 s is independent of the error at 1 s (assumed; it sums to the fit)."""
        then = self.deviation_usiemens(cells.target_usiemens, age_s)
        gained = then**2 - self.program_sigma_usiemens(cells.target_usiemens) ** 2
        return np.asarray(cells.programmed_usiemens + cells.traits["relaxation"] * np.sqrt(np.maximum(gained, 0)))

    def noise_usiemens(self, cells: Cells, g_usiemens: Floats, age_s: Ages) -> Floats:
        """Return one deviation for every cell (aihwkit's advice)."""
        return np.full_like(g_usiemens, self.read_sigma_frac * self.g_max_usiemens)
