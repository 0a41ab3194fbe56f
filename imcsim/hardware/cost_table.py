"""What each action of each component costs, with its source: the only place where amounts get prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imcsim.hardware.hardware import Hardware
from imcsim.hardware.price_row import PriceRow
from imcsim.util.errors import ImcsimError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

ACTIONS = {  # (component, action) that a preset must price -> what one of it is
    ("dac", "drive"): "one row driven with one input digit",
    ("array", "read"): "one cell read for one input phase",
    ("sample_hold", "hold"): "one column sum held for one input phase",
    ("adc", "convert"): "one conversion",
    ("shift_add", "add"): "one conversion result shifted and added",
    ("input_register", "byte"): "one byte of an input vector written and read",
    ("output_register", "byte"): "one byte of a result written and read",
    ("buffer", "read_byte"): "one byte read from the buffer of a tile",
    ("buffer", "write_byte"): "one byte written to the buffer of a tile",
    ("bus", "byte"): "one byte moved between buffer and crossbars of a tile",
    ("router", "byte_hop"): "one byte moved over one hop of the network on chip",
    ("dram", "byte"): "one byte read from or written to the memory outside the chip",
    ("digital", "op"): "one element-wise operation of the digital unit",
    ("digital", "mac"): "one multiply-accumulate of the digital unit",
}


@dataclass(frozen=True)
class CostTable:
    """The price rows of one piece of hardware; complete, or ImcsimError names what is missing."""

    hardware: str
    parts: dict[str, PriceRow]
    n_groups: dict[str, int]  # crossbar, unit, tile, chip -> how many the chip has

    @classmethod
    def of(cls, hardware: Hardware) -> CostTable:
        """The table of ``hardware``; ImcsimError for an action without a price."""
        parts = hardware.all_parts()
        table = cls(hardware.name, parts, {part.per: hardware.n_groups(part.per) for part in parts.values()})
        for component, action in ACTIONS:
            table.price_pj(component, action)
        return table

    def price_pj(self, component: str, action: str) -> float:
        """Energy of one action; ImcsimError where it has no price."""
        part = self._part(component)
        if action not in part.actions_pj:
            where = f"{self.hardware}: parts.{component}.actions_pj"
            raise ImcsimError(where, f"the action '{action}' has no price", f"add '{action}: ...' and its source")
        return part.actions_pj[action]

    def source(self, component: str, action: str) -> str:
        """Where a price comes from; ImcsimError where there is none."""
        self.price_pj(component, action)
        return self._part(component).source

    @property
    def area_um2(self) -> float:
        """Area of the chip."""
        return sum(part.area_um2 * self.n_groups[part.per] for part in self.parts.values())

    @property
    def leakage_uw(self) -> float:
        """Power that the chip draws for as long as it is on."""
        return sum(part.leakage_uw * self.n_groups[part.per] for part in self.parts.values())

    def frame(self) -> DataFrame:
        """One row per price: component, action, price_pj, meaning, source."""
        from pandas import DataFrame

        rows = [
            (name, action, price, ACTIONS.get((name, action), ""), part.source)
            for name, part in self.parts.items()
            for action, price in part.actions_pj.items()
        ]
        return DataFrame(rows, columns=["component", "action", "price_pj", "meaning", "source"])

    def _part(self, component: str) -> PriceRow:
        if component not in self.parts:
            problem = f"the component '{component}' has no row in the price table"
            raise ImcsimError(f"{self.hardware}: parts", problem, did_you_mean(component, self.parts))
        return self.parts[component]
