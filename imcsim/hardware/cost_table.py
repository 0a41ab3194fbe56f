"""Price each action of each component, with its source: the only place where amounts get prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imcsim.hardware.actions import PRICED, Action
from imcsim.hardware.hardware import Hardware
from imcsim.hardware.price_row import PriceRow
from imcsim.util.errors import ImcsimError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class CostTable:
    """Hold the price rows of one piece of hardware; complete, or ImcsimError names what is missing."""

    hardware: str
    parts: dict[str, PriceRow]
    n_groups: dict[str, int]  # crossbar, unit, tile, chip -> how many the chip has

    @classmethod
    def of(cls, hardware: Hardware) -> CostTable:
        """Return the table of ``hardware``; ImcsimError for an action without a price."""
        parts = hardware.all_parts()
        table = cls(hardware.name, parts, {part.per: hardware.n_groups(part.per) for part in parts.values()})
        for component, action in PRICED:
            table.price_pj(component, action)
        return table

    def price_pj(self, component: str, action: str) -> float:
        """Return the energy of one action; ImcsimError where it has no price."""
        part = self._part(component)
        if action not in part.actions_pj:
            where = f"{self.hardware}: parts.{component}.actions_pj"
            raise ImcsimError(where, f"the action '{action}' has no price", f"add '{action}: ...' and its source")
        return part.actions_pj[action]

    def source(self, component: str, action: str) -> str:
        """Return where a price comes from; ImcsimError where there is none."""
        self.price_pj(component, action)
        return self._part(component).source

    @property
    def area_um2(self) -> float:
        """Return the area of the chip."""
        return sum(part.area_um2 * self.n_groups[part.per] for part in self.parts.values())

    @property
    def leakage_uw(self) -> float:
        """Return the power that the chip draws for as long as it is on."""
        return sum(part.leakage_uw * self.n_groups[part.per] for part in self.parts.values())

    def frame(self) -> DataFrame:
        """Return a row per price: component, action, price_pj, meaning, source."""
        from pandas import DataFrame

        rows = [
            (name, action, price, PRICED.get(Action(name, action), ""), part.source)
            for name, part in self.parts.items()
            for action, price in part.actions_pj.items()
        ]
        return DataFrame(rows, columns=["component", "action", "price_pj", "meaning", "source"])

    def _part(self, component: str) -> PriceRow:
        if component not in self.parts:
            problem = f"the component '{component}' has no row in the price table"
            raise ImcsimError(f"{self.hardware}: parts", problem, did_you_mean(component, self.parts))
        return self.parts[component]
