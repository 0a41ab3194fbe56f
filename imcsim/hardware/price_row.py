"""Declare a row of the price table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from imcsim.util.config import Spec


class PriceRow(Spec):
    """Hold a row of the price table: area and powers of one group, energy of each action, and where they come from."""

    per: Literal["crossbar", "unit", "tile", "chip"]
    count: PositiveFloat = 1  # what the group holds, for the reader; the numbers below are of the group
    area_um2: NonNegativeFloat
    peak_uw: NonNegativeFloat
    leakage_uw: NonNegativeFloat = 0.0  # drawn for as long as the chip is on; 0: contained in the energies
    actions_pj: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    source: str
    note: str = ""
