"""Accelerators as they are declared and priced, and how their parts behave.

The names below are promised to authors of devices, ADCs and write circuits (docs/extend.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imcsim.util.faces import lazy

if TYPE_CHECKING:
    from imcsim.hardware.adcs import AdcSpec
    from imcsim.hardware.devices import Cells, DeviceSpec, Floats, column_factors, global_factor, load_device
    from imcsim.hardware.hardware import Hardware, load_hardware
    from imcsim.hardware.price_row import PriceRow
    from imcsim.hardware.write_circuits import WriteSpec, Written

__all__ = [
    "AdcSpec", "Cells", "DeviceSpec", "Floats", "Hardware", "PriceRow", "WriteSpec", "Written", "column_factors",
    "global_factor", "load_device", "load_hardware",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "adcs": "AdcSpec",
            "devices": "Cells DeviceSpec Floats column_factors global_factor load_device",
            "hardware": "Hardware load_hardware",
            "price_row": "PriceRow",
            "write_circuits": "WriteSpec Written",
        },
    )
