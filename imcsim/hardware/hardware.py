"""A whole accelerator: what is declared with its sources and prices, the sizes that follow, and how it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveInt

from imcsim.hardware import provenance
from imcsim.hardware.actions import Component
from imcsim.hardware.chip import (
    Cell,
    Chip,
    Crossbar,
    DramChannels,
    IdealPart,
    Mesh,
    SharedBus,
    SramBuffer,
    Tile,
    VectorUnit,
)
from imcsim.hardware.price_row import PriceRow
from imcsim.util import config, units
from imcsim.util.config import Spec
from imcsim.util.errors import ImcsimError, did_you_mean

__all__ = [
    "IDEAL_PARTS",
    "Cell",
    "Chip",
    "Crossbar",
    "DramChannels",
    "Hardware",
    "IdealPart",
    "Mesh",
    "Precision",
    "PriceRow",
    "Published",
    "SharedBus",
    "SramBuffer",
    "Tile",
    "VectorUnit",
    "idealise",
    "load_hardware",
    "override",
]  # fmt: skip


class Precision(Spec):
    """Bits at which a paper states its peak figures; a run takes the bits of its workload instead."""

    weight_bits: PositiveInt
    input_bits: PositiveInt


class Published(Spec):
    """A figure of the paper that the preset must reproduce, and how closely; ``explain.FIGURES`` computes ours."""

    figure: str
    value: float
    tolerance_frac: NonNegativeFloat
    source: str
    precision: Precision | None = None  # where it differs from the precision of the preset


class Hardware(Spec):
    """A whole accelerator, checked and frozen; every number has its source.

    ``sources`` maps dotted keys (or the beginning of them) to a sentence; one that begins with 'assumed' marks a number
    that nobody published. Loaded hardware has one entry per number.
    """

    name: str
    description: str
    precision: Precision
    chip: Chip
    tile: Tile
    crossbar: Crossbar
    cell: Cell
    parts: dict[str, PriceRow]
    sources: dict[str, str]
    published: dict[str, Published] = Field(default_factory=dict)

    # -- sizes -----------------------------------------------------------------------------------
    @property
    def n_crossbars(self) -> int:
        """X: crossbars of the chip."""
        return self.chip.n_tiles * self.tile.n_crossbars

    @property
    def period_ps(self) -> int:
        """The clock period in whole picoseconds."""
        return units.period_ps(self.chip.clock_mhz)

    def cycles(self, time_ns: float | Fraction) -> int:
        """Return the clock cycles that cover a time; the only rounding of a duration.

        Parameters
        ----------
        time_ns : float or Fraction
            A duration in ns.
        """
        return units.cycles(time_ns, self.chip.clock_mhz)

    def slices(self, weight_bits: int) -> int:
        """Return how many cells hold one polarity of a weight: s = ceil(b_w / b_c)."""
        return -(-weight_bits // self.crossbar.bits_per_cell)

    def weight_columns(self, weight_bits: int) -> int:
        """Return the columns of one weight, c_w = s d with d = 2 for differential columns."""
        return self.slices(weight_bits) * (2 if self.crossbar.polarity == "differential" else 1)

    def input_phases(self, input_bits: int, rows_used: int) -> int:
        """Return the evaluations of one vector: input digits times groups of wordlines active at once."""
        digits = -(-input_bits // self.crossbar.dac_bits)
        return digits * -(-rows_used // self.crossbar.wordlines_active)

    def phase_cycles(self, columns_used: int) -> int:
        """Return tau(c), the cycles of one input phase while the conversion of the phase before runs beside it."""
        convert_ns = Fraction(str(self.tile.adc.convert_ns)) * columns_used / self.tile.adc.n_per_crossbar
        return max(self.cycles(self.crossbar.evaluate_ns), self.cycles(convert_ns))

    def n_groups(self, per: str) -> int:
        """Return how many groups of a kind the chip holds: 'crossbar', 'unit', 'tile' or 'chip'."""
        n_units = self.n_crossbars // self.tile.unit_crossbars
        return {"crossbar": self.n_crossbars, "unit": n_units, "tile": self.chip.n_tiles, "chip": 1}[per]

    # -- prices and sources ----------------------------------------------------------------------
    def all_parts(self) -> dict[str, PriceRow]:
        """Return the price rows of the file, and over them those that kinds compute (ADC survey fit, write circuit)."""
        adc = self.tile.adc.part()
        cell = self.cell.write.part("; ".join(dict.fromkeys(self._sources_below("cell.write", "_pj"))))
        return self.parts | ({Component.ADC: adc} if adc else {}) | {Component.CELL: cell}

    @property
    def area_um2(self) -> float:
        """Area of the chip: every row times how often it is there."""
        return sum(part.area_um2 * self.n_groups(part.per) for part in self.all_parts().values())

    def numbers(self) -> dict[str, Any]:
        """Return every number of chip, tile, crossbar and cell by its dotted key."""
        return provenance.numbers(self.model_dump(mode="json"))

    def source(self, key: str) -> str:
        """Return where a number comes from.

        Parameters
        ----------
        key : str
            Its dotted key, such as 'tile.adc.bits'.

        Returns
        -------
        str
            The longest entry of ``sources`` that begins the key.
        """
        return provenance.lookup(self.sources, key)

    def assumed(self) -> list[str]:
        """Return the numbers that nobody published, as 'key = value: reason', the price rows included."""
        tree = provenance.tree(self.model_dump(mode="json"))
        declared = [f"{key} = {value}: {self.source(key)}" for key, value in tree.items() if self._is_assumed(key)]
        rows = {name: part.source for name, part in self.all_parts().items() if name != Component.CELL}
        return declared + [f"parts.{name}: {text}" for name, text in rows.items() if provenance.ASSUMED in text]

    @property
    def hash(self) -> str:
        """A short hash of all that is declared."""
        return config.canonical_hash(self.model_dump(mode="json"))

    def _is_assumed(self, key: str) -> bool:
        return provenance.is_assumed(self.source(key))

    def _sources_below(self, block: str, suffix: str) -> list[str]:
        return [self.source(key) for key in self.numbers() if key.startswith(block) and key.endswith(suffix)]


# -- loading -------------------------------------------------------------------------------------------------------

IDEAL_PARTS = {
    "bus": "tile.bus",
    "noc": "chip.noc",
    "dram": "chip.dram",
    "digital": "tile.digital",
    "buffer": "tile.buffer",
    "adc": "tile.adc.sharing",
}
SET_BY_USER = "set by the user"


def load_hardware(
    name: str,
    overrides: Mapping[str, Any] | None = None,
    write: str | None = None,
    ideal: Iterable[str] = (),
) -> Hardware:
    """Load a preset by name or a YAML file by path, and change it.

    Parameters
    ----------
    name : str
        A shipped preset or a YAML file.
    overrides : mapping of str to value, optional
        Values by dotted key, such as ``{"tile.adc.bits": 6}``; their source becomes 'set by the user'.
    write : str, optional
        A write preset instead of the one of the file.
    ideal : iterable of str
        Parts that nothing waits for: any of ``IDEAL_PARTS``, or 'all'.

    Returns
    -------
    Hardware
        Checked and frozen, with a source for every number.

    Raises
    ------
    ImcsimError
        For files that are missing, broken or incomplete, for unknown keys and for numbers without a source.

    Examples
    --------
    >>> load_hardware("rram-256", {"tile.adc.bits": 6}, write="radar2b_row").tile.adc.bits
    6
    """
    chain = config.read_chain("hwconfigs", name)
    data: dict[str, Any] = {}
    for path, layer in chain:
        inherited = {key: value for key, value in data.items() if key not in config.OWN_KEYS}
        data = provenance.add_layer(inherited, _with_write_preset(layer, path), str(path))
    if write is not None:
        data = provenance.add_layer(data, _write_layer(write), write)
    hardware = config.build(Hardware, data, str(chain[-1][0]))
    hardware = override(hardware, overrides or {})
    return idealise(hardware, ideal)


def override(hardware: Hardware, overrides: Mapping[str, Any]) -> Hardware:
    """The hardware with values set by dotted key; their source becomes 'set by the user'.

    Raises ImcsimError for unknown keys and values that do not fit.
    """
    if not overrides:
        return hardware
    data = config.apply_overrides(hardware.model_dump(mode="json", exclude_none=True), overrides, hardware.name)
    for key in overrides:
        block, row, *rest = [*key.split("."), "", ""]
        if block == "parts" and rest[0] not in ("", "source"):
            data["parts"][row]["source"] = f"{SET_BY_USER}: {key}; the rest: {hardware.parts[row].source}"
    changed = [key for key in provenance.tree(data) if any(provenance.covers(path, key) for path in overrides)]
    data["sources"] = provenance.resolve(data, changed, dict.fromkeys(overrides, SET_BY_USER), hardware.sources)
    return config.build(Hardware, data, f"{hardware.name} with {', '.join(overrides)}")


def idealise(hardware: Hardware, names: Iterable[str]) -> Hardware:
    """The hardware without waiting for the named parts: any of ``IDEAL_PARTS``, or 'all'.

    An ideal ADC is one that is not shared: every crossbar gets what its pool had. Raises ImcsimError for other names.
    """
    names = list(names)
    for name in names:
        if name not in (*IDEAL_PARTS, "all"):
            raise ImcsimError("ideal", f"unknown part '{name}'", did_you_mean(name, [*IDEAL_PARTS, "all"]))
    chosen = list(IDEAL_PARTS) if "all" in names else names
    changes: dict[str, Any] = {f"{IDEAL_PARTS[name]}.kind": "ideal" for name in chosen if name != "adc"}
    if "adc" in chosen:
        block, n = IDEAL_PARTS["adc"], hardware.tile.adc.n_per_crossbar
        changes |= {f"{block}.kind": "private", f"{block}.n_per_crossbar": n}
    return override(hardware, changes)


def _with_write_preset(layer: dict[str, Any], path: Path) -> dict[str, Any]:
    """``cell.write`` may be the name of a write preset instead of a block."""
    cell, sources = layer.get("cell"), layer.get("sources", {})
    if not isinstance(cell, Mapping) or not isinstance(cell.get("write"), str) or not isinstance(sources, Mapping):
        return layer
    preset = _write_layer(cell["write"], f"{path}: cell.write", path.parent)
    return {**layer, "cell": {**cell, **preset["cell"]}, "sources": {**preset["sources"], **sources}}


def _write_layer(name: str, where: str = "", beside: Path | None = None) -> dict[str, Any]:
    """A write preset as a layer of hardware; its sources get the prefix ``cell.write``."""
    data: dict[str, Any] = {}
    for path, layer in config.read_chain("hwconfigs/write", name, where, beside):
        sources = layer.pop("sources", {})
        if isinstance(sources, Mapping):
            sources = {f"cell.write.{key}": text for key, text in sources.items()}
        data = provenance.add_layer(data, {"cell": {"write": layer}, "sources": sources}, str(path))
    return data
