"""A device that loses nothing: every target is reached, kept and read without noise."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from imcsim.hardware.devices._base import DeviceSpec


class IdealDevice(DeviceSpec):
    """No error at all, at any age; the range of conductances only sets the unit."""

    kind: Literal["ideal"]
    g_max_usiemens: PositiveFloat = 25.0  # any number: nothing depends on it
    g_min_usiemens: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _a_range(self) -> IdealDevice:
        if self.g_min_usiemens >= self.g_max_usiemens:
            raise ValueError("g_min_usiemens must be less than g_max_usiemens")
        return self
