"""A resistive cell of a few numbers, for sweeps: levels, on/off ratio, and errors that do not depend on the state.

No measurement stands behind it. That errors are normal, alike for all conductances, and that nothing drifts is assumed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from imcsim.hardware.devices._base import Ages, Cells, DeviceSpec, Floats, Levels


class RramGeneric(DeviceSpec):
    """Errors are fractions of g_max; targets are rounded to the nearest of the levels."""

    kind: Literal["rram_generic"]
    g_max_usiemens: Annotated[PositiveFloat, Field(examples=[100.0])]
    on_off_ratio: Annotated[float, Field(gt=1, examples=[17.0])]  # g_max / g_min
    n_levels: Annotated[Levels, Field(examples=[16])]
    sigma_frac: Annotated[NonNegativeFloat, Field(examples=[0.01])]  # of a write, standard deviation / g_max
    read_sigma_frac: Annotated[NonNegativeFloat, Field(examples=[0.005])]  # of a read, standard deviation / g_max

    @property
    def g_min_usiemens(self) -> float:
        """The conductance of the off state."""
        return self.g_max_usiemens / self.on_off_ratio

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """Return one deviation for every target (assumed)."""
        return np.full_like(target_usiemens, self.sigma_frac * self.g_max_usiemens)

    def noise_usiemens(self, cells: Cells, g_usiemens: Floats, age_s: Ages) -> Floats:
        """Return one deviation for every cell and age (assumed)."""
        return np.full_like(g_usiemens, self.read_sigma_frac * self.g_max_usiemens)
