"""Say how often the devices of a weight change at an update: as a training measured, or assumed until one has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imcsim.util.config import read_yaml
from imcsim.util.errors import ImcsimError, did_you_mean

ASSUMED_SOURCE = (
    "assumed for every layer: flips of the bits 568/534/482/400/282/165/76 in 1,200 updates, as many up as down, and "
    "3,000 carries a step in 361,712 weights, of a small prototype; 2 % of the pairs at a check, 4 pulses for each"
)
_FLIPS, _UPDATES = (568, 534, 482, 400, 282, 165, 76), 1200
_CARRIES_PER_WEIGHT = 3000 / 361_712


@dataclass(frozen=True)
class UpdateRates:
    """Hold the means of one layer over many updates; ``source`` says where they come from.

    ``bits_set``, ``bits_reset``: bits of the accumulator that change, per weight and update. ``carry_pulses``: SET
    pulses on multi-level devices, per weight and update. ``carry_rows_frac``: rows of crossbars in which a weight
    carries. ``largest_carry``: the most pulses of one device, in such a row. ``refreshed_frac``: pairs that a check
    selects. ``refresh_pulses``: pulses that bring one such pair back. Raises ImcsimError for what cannot be.
    """

    bits_set: float
    bits_reset: float
    carry_pulses: float
    carry_rows_frac: float
    largest_carry: float
    refreshed_frac: float
    refresh_pulses: float
    source: str

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "source" and not 0 <= value < float("inf"):
                raise ImcsimError(f"update rates: {name}", f"is {value}, which is no rate", "count again")
            if name.endswith("_frac") and value > 1:
                raise ImcsimError(f"update rates: {name}", f"is {value}, more than all of them", "give a part of 1")


def assumed_rates(weights_per_row: int) -> UpdateRates:
    """Return the rates of the prototype; weights of a row are taken to carry independently of each other."""
    flips = sum(_FLIPS) / _UPDATES
    rows_frac = 1 - (1 - _CARRIES_PER_WEIGHT) ** weights_per_row
    return UpdateRates(flips / 2, flips / 2, _CARRIES_PER_WEIGHT, rows_frac, 1.0, 0.02, 4.0, ASSUMED_SOURCE)


def sources_of(rates: Iterable[UpdateRates]) -> list[str]:
    """Return where some rates come from, each place once."""
    return list(dict.fromkeys(layer.source for layer in rates))


def load_rates(path: Path) -> dict[str, UpdateRates]:
    """Read measured rates from a YAML or JSON file: the fields of ``UpdateRates`` by layer.

    Raises ImcsimError for a file that is missing or broken, and for fields that are missing or unknown.
    """
    return {layer: _read(f"{path}: {layer}", rates) for layer, rates in read_yaml(path).items()}


def _read(where: str, rates: Any) -> UpdateRates:
    names = [field.name for field in fields(UpdateRates)]
    if not isinstance(rates, dict):
        raise ImcsimError(where, "expected the rates of a layer", f"give {', '.join(names)}")
    for name, value in rates.items():
        if name not in names:
            raise ImcsimError(where, f"unknown rate '{name}'", did_you_mean(str(name), names))
        if isinstance(value, bool) or not isinstance(value, str if name == "source" else int | float):
            raise ImcsimError(f"{where}.{name}", f"cannot be {value!r}", "give a number, and a sentence as source")
    missing = [name for name in names if name not in rates]
    if missing:
        raise ImcsimError(where, f"lacks {', '.join(missing)}", "give all rates and their source")
    return UpdateRates(**rates)


DIGITAL_BITS = 32  # of a gradient that is summed or accumulated digitally, as in Nandakumar 2020
DIGITAL_BYTES = DIGITAL_BITS // 8
