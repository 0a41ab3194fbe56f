"""A published converter: its price and area are numbers of a paper."""

from __future__ import annotations

from typing import Literal

from imcsim.hardware.adcs._base import AdcSpec


class ListedAdc(AdcSpec):
    """Uniform steps over the range of the column sums. Price and area: the row ``parts.adc`` of the hardware file."""

    kind: Literal["listed"]
