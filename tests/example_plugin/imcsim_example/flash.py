"""A flash converter: one comparator for each step between two codes; an example, its numbers are the user's."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from imcsim.hardware import AdcSpec, PriceRow


class FlashAdc(AdcSpec):
    """Energy and area grow with the number of codes. No row ``parts.adc`` is needed."""

    kind: Literal["flash"]
    comparator_pj: Annotated[PositiveFloat, Field(examples=[0.02])]  # of one decision
    comparator_um2: Annotated[PositiveFloat, Field(examples=[12.0])]

    def part(self) -> PriceRow:
        comparators = 2**self.bits - 1
        convert_pj = comparators * self.comparator_pj
        return PriceRow(
            per="crossbar",
            count=self.mean_per_crossbar,
            area_um2=self.mean_per_crossbar * comparators * self.comparator_um2,
            peak_uw=self.mean_per_crossbar * convert_pj / self.convert_ns * 1000,  # pJ/ns are mW
            actions_pj={"convert": convert_pj},
            source=f"{comparators} comparators, as declared in tile.adc",
        )
