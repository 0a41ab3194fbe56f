"""Cells that lose a fraction of their conductance in every decade of time; an example, all numbers are assumed."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imcsim.hardware import Cells, DeviceSpec, Floats


class Forgetful(DeviceSpec):
    """Every target from 0 to 25 uS is reached; cells are fresh for one second."""

    kind: Literal["forgetful"]
    loss_per_decade: Annotated[float, Field(ge=0, le=0.05, examples=[0.01])]

    @property
    def g_max_usiemens(self) -> float:
        return 25.0

    @property
    def g_min_usiemens(self) -> float:
        return 0.0

    def drifted_usiemens(self, cells: Cells, age_s: float | NDArray[np.float64]) -> Floats:
        decades = np.log10(np.maximum(age_s, 1.0))
        return cells.programmed_usiemens * (1 - self.loss_per_decade * decades)
