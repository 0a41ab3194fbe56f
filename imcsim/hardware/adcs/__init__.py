"""One file per ADC kind: a class derived from ``AdcSpec`` with a kind is all that a new one takes."""

from __future__ import annotations

from typing import Annotated

from imcsim.hardware.adcs._base import AdcSpec, Pooled, Private
from imcsim.util.registry import Registry

__all__ = ["ADCS", "Adc", "AdcSpec", "Pooled", "Private"]

ADCS = Registry(
    "ADC",
    AdcSpec,
    folder=__name__,
    group="imcsim.adcs",
    remedy="derive a class from imcsim.hardware.AdcSpec and give it a kind: Literal['its name']",
)
Adc = Annotated[AdcSpec, ADCS]
