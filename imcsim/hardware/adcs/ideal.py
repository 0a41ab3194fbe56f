"""An ADC that loses nothing, whatever the sum: time and price as given, no error."""

from __future__ import annotations

from typing import Literal

from imcsim.hardware.adcs._base import AdcSpec


class IdealAdc(AdcSpec):
    """Lossless conversion; ``bits`` is what the digital side carries. Price and area: the row ``parts.adc``."""

    kind: Literal["ideal"]
