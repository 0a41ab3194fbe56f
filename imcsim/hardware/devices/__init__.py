"""One file per device kind: a class derived from ``DeviceSpec`` with a kind is all that a new one takes."""

from __future__ import annotations

from typing import Annotated, Any

from imcsim.hardware.devices._base import Cells, DeviceSpec, Floats
from imcsim.hardware.devices._compensation import column_factors, global_factor
from imcsim.util.config import build
from imcsim.util.registry import Registry

__all__ = ["DEVICES", "Cells", "Device", "DeviceSpec", "Floats", "column_factors", "global_factor", "load_device"]

DEVICES = Registry(
    "device",
    DeviceSpec,
    folder=__name__,
    group="imcsim.devices",
    remedy="derive a class from imcsim.hardware.DeviceSpec and give it a kind: Literal['its name']",
)
Device = Annotated[DeviceSpec, DEVICES]


def load_device(name: str, **fields: Any) -> DeviceSpec:
    """Return a device with its fields checked.

    Parameters
    ----------
    name : str
        The kind of a device, or the path of a Python file (ending in .py).
    **fields
        Fields of the device.

    Returns
    -------
    DeviceSpec
        Frozen.

    Raises
    ------
    ImcsimError
        For unknown kinds and fields, with the nearest known word.
    """
    cls = DEVICES.find(name)
    kind = DEVICES.word_of(cls)
    return build(cls, {"kind": kind, **fields}, f"device '{kind}'")
