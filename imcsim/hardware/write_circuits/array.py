"""A write circuit known by its arrays: how long a whole one takes to write, and what that costs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from imcsim.hardware.devices import Cells, DeviceSpec, Floats
from imcsim.hardware.pulses import Frac
from imcsim.hardware.write_circuits._base import Bools, WriteSpec, Written

ARRAY = "array"  # what is counted and priced


class Array(WriteSpec):
    """A published time and energy of a whole array; larger crossbars are written as several such arrays in turn."""

    kind: Literal["array"]
    array_ns: PositiveFloat
    array_rows: PositiveInt
    array_columns: PositiveInt
    array_pj: NonNegativeFloat
    mean_pulses: PositiveFloat
    fail_frac: Frac

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Return the time of one crossbar; neither unused nor unchanged cells make an array write shorter."""
        return self.array_ns * self._arrays(rows, columns)

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Return the array writes of one crossbar."""
        return {ARRAY: self._arrays(rows, columns)}

    def prices_pj(self) -> dict[str, float]:
        """Return the energy of one array."""
        return {ARRAY: self.array_pj}

    def write_cells(
        self, device: DeviceSpec, target_usiemens: Floats, old: Cells, kept: Bools, rng: np.random.Generator
    ) -> tuple[Cells, Written]:
        """Write whole arrays, whatever changes; the time is shared evenly by the rows."""
        return super().write_cells(device, target_usiemens, old, np.zeros_like(kept), rng)

    def _arrays(self, rows: int, columns: int) -> int:
        return -(-rows // self.array_rows) * -(-columns // self.array_columns)
