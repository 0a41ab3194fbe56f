"""Declare what updates of weights take: devices of accumulator and pairs, the current that a row may draw."""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from imcsim.hardware import provenance
from imcsim.hardware.actions import PULSES_COINCIDE, PULSES_COMPARE, READ, RESET, SET, Component
from imcsim.hardware.price_row import PriceRow
from imcsim.util import config
from imcsim.util.config import Spec
from imcsim.util.errors import ImcsimError

FOLDER = "hwconfigs/update"
UA_PER_MA = 1000


class PcmDevice(Spec):
    """Describe a phase-change device: times of a read of a row and of pulses, energies and currents of one device."""

    read_ns: PositiveFloat
    set_ns: PositiveFloat
    reset_ns: PositiveFloat
    read_pj: NonNegativeFloat
    set_pj: NonNegativeFloat
    reset_pj: NonNegativeFloat
    set_ua: PositiveFloat
    reset_ua: PositiveFloat

    def part(self, source: str) -> PriceRow:
        """Return the price row of such devices on one crossbar."""
        prices = {READ: self.read_pj, SET: self.set_pj, RESET: self.reset_pj}
        return PriceRow(per="crossbar", area_um2=0, peak_uw=0, actions_pj=prices, source=source)


class UpdateCircuit(Spec):
    """Describe circuits that change weights, row by row; a number whose source begins with 'assumed' has none.

    ``accumulator``: a device that holds one bit. ``pair``: a device of the two that hold a weight. ``add_ns``: adding
    to the accumulators of a row. ``compare_pj``, ``coincide_pj``: an operand met with a random number, and a weight
    that looks for a coincidence, in one slot of a pulse train.
    """

    name: str
    description: str
    accumulator: PcmDevice
    pair: PcmDevice
    row_current_ma: PositiveFloat  # of the pulses of one crossbar at a time
    add_ns: NonNegativeFloat
    compare_pj: NonNegativeFloat
    coincide_pj: NonNegativeFloat
    sources: dict[str, str]

    @model_validator(mode="after")
    def _pulses_fit(self) -> UpdateCircuit:
        most = max(self.accumulator.set_ua, self.accumulator.reset_ua)
        if most > self.row_current_ma * UA_PER_MA:
            raise ValueError(f"row_current_ma is {self.row_current_ma:g}, less than the {most:g} uA of one pulse")
        return self

    @property
    def sets_at_once(self) -> int:
        """Return N_par_set: the SET pulses in a row of accumulators that the current allows together."""
        return int(self.row_current_ma * UA_PER_MA / self.accumulator.set_ua)

    @property
    def resets_at_once(self) -> int:
        """Return N_par_reset: the RESET pulses in a row of accumulators that the current allows together."""
        return int(self.row_current_ma * UA_PER_MA / self.accumulator.reset_ua)

    def parts(self) -> dict[str, PriceRow]:
        """Return the price rows ``accumulator``, ``pair`` and ``pulses``."""
        trains = {PULSES_COMPARE.action: self.compare_pj, PULSES_COINCIDE.action: self.coincide_pj}
        source = f"{self.source('compare_pj')}; {self.source('coincide_pj')}"
        return {
            Component.ACCUMULATOR: self.accumulator.part(self.source("accumulator.set_pj")),
            Component.PAIR: self.pair.part(self.source("pair.set_pj")),
            Component.PULSES: PriceRow(per="crossbar", area_um2=0, peak_uw=0, actions_pj=trains, source=source),
        }

    def source(self, key: str) -> str:
        """Return where a number comes from."""
        return provenance.lookup(self.sources, key)

    def assumed(self) -> list[str]:
        """Return the numbers that nobody published, as 'key = value: reason'."""
        return [
            f"{self.name}.{key} = {value:g}: {self.source(key)}"
            for key, value in self._numbers().items()
            if provenance.is_assumed(self.source(key))
        ]

    def _numbers(self) -> dict[str, float]:
        content = self.model_dump(mode="json", exclude={"sources"})
        return {key: value for key, value in config.leaves(content) if isinstance(value, int | float)}


def load_circuit(name: str) -> UpdateCircuit:
    """Read a shipped circuit by name or a YAML file by path.

    Raises ImcsimError for files that are missing, broken or incomplete and for numbers without a source.
    """
    chain = config.read_chain(FOLDER, name)
    data: dict[str, Any] = {}
    for _, layer in chain:
        data = config.merge(data, layer)
    circuit, where = config.build(UpdateCircuit, data, str(chain[-1][0])), str(chain[-1][0])
    for key in circuit._numbers():
        if not circuit.source(key):
            raise ImcsimError(f"{where}: {key}", "the number has no source", f"add '{key}' or a block above to sources")
    return circuit
