"""What every ADC kind has: bits, the time of one conversion, and with whom it is shared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from imcsim.hardware.price_row import PriceRow
from imcsim.util.config import Spec


class Private(Spec):
    """Each crossbar has ADCs of its own."""

    kind: Literal["private"]
    n_per_crossbar: PositiveInt


class Pooled(Spec):
    """Neighbouring crossbars of a tile wait for a common pool of ADCs."""

    kind: Literal["pooled"]
    crossbars_per_pool: PositiveInt
    n_per_pool: PositiveInt


class NoErrors(Spec):
    """Conversions err by rounding to a code alone."""

    kind: Literal["none"]

    @property
    def noise_lsb(self) -> float:
        """Return 0: conversions have no noise."""
        return 0.0

    @property
    def offset_lsb(self) -> float:
        """Return 0: columns have no offset."""
        return 0.0


class NormalErrors(Spec):
    """Errors of values, standard deviations: noise is fresh at every conversion, an offset once for every column."""

    kind: Literal["normal"]
    noise_lsb: NonNegativeFloat
    offset_lsb: NonNegativeFloat


class AdcSpec(Spec):
    """Base of the ADC kinds; a kind adds its ``kind`` and what it needs to price itself (with an example of each)."""

    kind: str
    bits: PositiveInt
    convert_ns: PositiveFloat  # one conversion by one ADC
    sharing: Annotated[Private | Pooled, Field(discriminator="kind")]
    errors: Annotated[NormalErrors | NoErrors, Field(discriminator="kind")] = NoErrors(kind="none")

    @property
    def n_per_crossbar(self) -> int:
        """ADCs that one crossbar can use at once; of a pool all of them, for waiting is the engine's business."""
        return self.sharing.n_per_crossbar if isinstance(self.sharing, Private) else self.sharing.n_per_pool

    @property
    def mean_per_crossbar(self) -> float:
        """ADCs of the chip divided by its crossbars, for area and power."""
        if isinstance(self.sharing, Private):
            return self.sharing.n_per_crossbar
        return self.sharing.n_per_pool / self.sharing.crossbars_per_pool

    def part(self) -> PriceRow | None:
        """The price row that this kind computes; None where the hardware file lists it as ``parts.adc``."""
        return None
