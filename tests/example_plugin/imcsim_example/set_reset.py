"""Two pulses per row: one sets the cells that rise, one resets those that fall; an example of a write circuit."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from imcsim.hardware import WriteSpec


class SetReset(WriteSpec):
    """A cell takes one of the two pulses and is not read. The device says how far from its target it ends."""

    kind: Literal["set_reset"]
    set_ns: PositiveFloat
    reset_ns: PositiveFloat
    pulse_pj: NonNegativeFloat
    fail_frac: Annotated[float, Field(ge=0, le=1)]  # of the cells that are written

    @property
    def mean_pulses(self) -> float:
        return 1.0

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        return rows * (self.set_ns + self.reset_ns)

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        return {"pulse": cells * (1 - unchanged_frac)}

    def prices_pj(self) -> dict[str, float]:
        return {"pulse": self.pulse_pj}
