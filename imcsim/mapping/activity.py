"""Hold how much inputs and weights of a layer use its arrays: a datum that values find out and energies use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """Say how much a layer's inputs and cells use its arrays, in fractions as in ``StatedActivity``."""

    driven_frac: float
    charge_frac: float
