"""One file per kind of write circuit: a class derived from ``WriteSpec`` with a kind is all that a new one takes.

Cells of one row are written in groups. A group ends with its slowest cell, so time follows the maximum over the cells;
energy and wear follow their sum.
"""

from __future__ import annotations

from typing import Annotated

from imcsim.hardware.write_circuits._base import WriteSpec, Written
from imcsim.util.registry import Registry

__all__ = ["WRITE_CIRCUITS", "Write", "WriteSpec", "Written"]

WRITE_CIRCUITS = Registry(
    "write circuit",
    WriteSpec,  # type: ignore[type-abstract]
    folder=__name__,
    group="imcsim.write_circuits",
    remedy="derive a class from imcsim.hardware.WriteSpec and give it a kind: Literal['its name']",
)
Write = Annotated[WriteSpec, WRITE_CIRCUITS]
