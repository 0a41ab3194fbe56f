"""Name the kinds of resources, in the order in which a reader looks for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ResourceKind(StrEnum):
    """Name what operations wait for.

    ``label``: what the time goes to, where {n} is the number of units. ``colour``: in figures. ``moves_data``: it
    only carries data.
    """

    label: str
    colour: str
    moves_data: bool

    def __new__(cls, value: str, label: str = "", colour: str = "", moves_data: bool = False) -> Self:
        """Make a member whose value is a plain string, which is what files hold."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.label, kind.colour, kind.moves_data = label, colour, moves_data
        return kind

    @property
    def works(self) -> bool:
        """Say whether it is a place of work, which closed forms count."""
        return self is not ResourceKind.NONE and not self.moves_data

    WRITE = "write", "writing crossbars, {n} at once", "#D55E00"
    CROSSBAR = "crossbar", "crossbars that compute", "#0072B2"
    ADC = "adc", "ADCs that crossbars share", "#56B4E9"
    BUS = "bus", "buses between buffers and crossbars", "#009E73", True
    DIGITAL = "digital", "digital units", "#CC79A7"
    LINK = "link", "the network on chip", "#8C6D31", True
    DRAM = "dram", "DRAM", "#E69F00", True
    NONE = "none", "steps that share nothing", "#BBBBBB"
