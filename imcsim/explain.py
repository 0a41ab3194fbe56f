"""A hardware preset explained: resolved tree, sums per level, prices with sources, peak figures against the paper's."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from imcsim import units
from imcsim.chip import ResistiveWires
from imcsim.costs import CostTable
from imcsim.errors import ImcsimError, did_you_mean
from imcsim.hardware import Hardware, Precision

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console
    from rich.table import Table

WIDTH = 160  # of the tables where the output is no terminal
LEVELS = ("crossbar", "unit", "tile", "chip")


# -- figures -------------------------------------------------------------------------------------------------------


def level_sum(hardware: Hardware, level: str, field: str) -> float:
    """The sum of a field of the price rows (``area_um2``, ``peak_uw``) over one crossbar, unit, tile or chip."""
    inside = [part for part in hardware.all_parts().values() if LEVELS.index(part.per) <= LEVELS.index(level)]
    return float(sum(getattr(part, field) * hardware.n_groups(part.per) for part in inside) / hardware.n_groups(level))


def mvm_latency_ns(hardware: Hardware, precision: Precision) -> float:
    """Time between two vectors on a full crossbar: input phases times the time of a phase, no pipeline fill."""
    phases = hardware.input_phases(precision.input_bits, hardware.crossbar.rows)
    return phases * hardware.phase_cycles(hardware.crossbar.columns) * 1000 / hardware.chip.clock_mhz


def mvm_energy_pj(hardware: Hardware, precision: Precision) -> float:
    """Energy of crossbars and converters for one vector times as many weights as a crossbar has cells."""
    costs, rows, columns = CostTable.of(hardware), hardware.crossbar.rows, hardware.crossbar.columns
    digits = -(-precision.input_bits // hardware.crossbar.dac_bits)
    conversions = columns * hardware.input_phases(precision.input_bits, rows)
    energy = digits * rows * (costs.price_pj("dac", "drive") + columns * costs.price_pj("array", "read"))
    for component, action in (("sample_hold", "hold"), ("adc", "convert"), ("shift_add", "add")):
        energy += conversions * costs.price_pj(component, action)
    return energy * hardware.weight_columns(precision.weight_bits)


def peak_tops(hardware: Hardware, precision: Precision) -> float:
    """Operations (two per multiply-accumulate) per picosecond with every crossbar busy."""
    weights = hardware.crossbar.rows * hardware.crossbar.columns / hardware.weight_columns(precision.weight_bits)
    operations = 2 * hardware.n_crossbars * weights
    return operations / mvm_latency_ns(hardware, precision) * units.NS_PER_S / units.TERA


def _mvm_operations(hardware: Hardware) -> int:
    return 2 * hardware.crossbar.rows * hardware.crossbar.columns


def _chip_power_w(hardware: Hardware, precision: Precision) -> float:
    return level_sum(hardware, "chip", "peak_uw") / units.UW_PER_W


def _chip_area_mm2(hardware: Hardware, precision: Precision) -> float:
    return level_sum(hardware, "chip", "area_um2") / units.UM2_PER_MM2


def _printed_gops_per_w(hardware: Hardware, precision: Precision) -> float:
    """Peak over power as papers print them: four and three significant digits."""
    return float(f"{peak_tops(hardware, precision):.4g}") / float(f"{_chip_power_w(hardware, precision):.3g}") * 1000


def _capacity_mib(hardware: Hardware, precision: Precision) -> float:
    cells = hardware.n_crossbars * hardware.crossbar.rows * hardware.crossbar.columns
    return cells * hardware.crossbar.bits_per_cell / 8 / 2**20


Figure = Callable[[Hardware, Precision], float]

FIGURES: dict[str, Figure] = {
    "unit_power_mw": lambda hw, _: level_sum(hw, "unit", "peak_uw") / units.UW_PER_MW,
    "unit_area_mm2": lambda hw, _: level_sum(hw, "unit", "area_um2") / units.UM2_PER_MM2,
    "tile_power_mw": lambda hw, _: level_sum(hw, "tile", "peak_uw") / units.UW_PER_MW,
    "tile_area_mm2": lambda hw, _: level_sum(hw, "tile", "area_um2") / units.UM2_PER_MM2,
    "chip_power_w": _chip_power_w,
    "chip_area_mm2": _chip_area_mm2,
    "capacity_mib": _capacity_mib,
    "mvm_latency_ns": mvm_latency_ns,
    "mvm_energy_nj": lambda hw, at: mvm_energy_pj(hw, at) / units.PJ_PER_NJ,
    "mvm_tops_per_w": lambda hw, at: _mvm_operations(hw) / mvm_energy_pj(hw, at),
    "peak_tops": peak_tops,
    "peak_gops_per_mm2": lambda hw, at: peak_tops(hw, at) / _chip_area_mm2(hw, at) * 1000,
    "peak_gops_per_w": lambda hw, at: peak_tops(hw, at) / _chip_power_w(hw, at) * 1000,
    "printed_gops_per_w": _printed_gops_per_w,
}


# -- tables --------------------------------------------------------------------------------------------------------


def tree(hardware: Hardware) -> DataFrame:
    """Every number of the resolved tree: key, value, source."""
    from pandas import DataFrame

    rows = [(key, str(value), hardware.source(key)) for key, value in hardware.numbers().items()]
    return DataFrame(rows, columns=["key", "value", "source"])


def sums(hardware: Hardware) -> DataFrame:
    """Area and peak power of one crossbar, unit, tile and of the chip, each with all that lies in it."""
    from pandas import DataFrame

    rows = [(level, hardware.n_groups(level), level_sum(hardware, level, "area_um2") / units.UM2_PER_MM2,
             level_sum(hardware, level, "peak_uw") / units.UW_PER_MW) for level in LEVELS]
    return DataFrame(rows, columns=["level", "on_chip", "area_mm2", "power_mw"])


def parts(hardware: Hardware) -> DataFrame:
    """The rows of the price table: part, per, count, area and power of one group, source."""
    from pandas import DataFrame

    rows = [(name, part.per, part.count, part.area_um2, part.peak_uw, part.leakage_uw, part.source)
            for name, part in hardware.all_parts().items()]
    return DataFrame(rows, columns=["part", "per", "count", "area_um2", "peak_uw", "leakage_uw", "source"])


def figures(hardware: Hardware) -> DataFrame:
    """The figures that follow from the tree at the precision of the preset: figure, value."""
    from pandas import DataFrame

    return DataFrame([(name, compute(hardware, hardware.precision)) for name, compute in FIGURES.items()],
                     columns=["figure", "value"])


def published(hardware: Hardware) -> DataFrame:
    """The paper's figures against ours: name, figure, ours, published, deviation_frac, tolerance_frac, ok, source.

    Raises ImcsimError for a figure that nothing computes.
    """
    from pandas import DataFrame

    rows = []
    for name, theirs in hardware.published.items():
        if theirs.figure not in FIGURES:
            where = f"{hardware.name}: published.{name}.figure"
            raise ImcsimError(where, f"unknown figure '{theirs.figure}'", did_you_mean(theirs.figure, FIGURES))
        ours = FIGURES[theirs.figure](hardware, theirs.precision or hardware.precision)
        deviation = ours / theirs.value - 1
        rows.append((name, theirs.figure, ours, theirs.value, deviation, theirs.tolerance_frac,
                     abs(deviation) <= theirs.tolerance_frac, theirs.source))
    columns = ["name", "figure", "ours", "published", "deviation_frac", "tolerance_frac", "ok", "source"]
    return DataFrame(rows, columns=columns)


def wires(hardware: Hardware) -> DataFrame:
    """What resistive wires take from a full array whose cells are all alike, and by how much the ladder model errs.

    Losses are of one cell's current, and of the largest column current; in per cent. No rows where wires are ideal.
    """
    from pandas import DataFrame

    from imcsim.wires import effective_usiemens, ladder_error_frac

    bar, device = hardware.crossbar, hardware.cell.device
    rows = []
    if isinstance(bar.wires, ResistiveWires):
        for g in (device.g_max_usiemens, (device.g_max_usiemens + device.g_min_usiemens) / 2):
            cells = np.full((bar.rows, bar.device_columns), g)
            lost = 1 - effective_usiemens(cells, bar.wires.ohms) / g
            error = ladder_error_frac(cells, bar.wires.ohms)
            rows.append((g, 100 * lost.mean(), 100 * lost.max(), 100 * error))
    columns = ["cells_at_usiemens", "mean_loss_percent", "worst_loss_percent", "ladder_error_percent"]
    return DataFrame(rows, columns=columns)


# -- printing ------------------------------------------------------------------------------------------------------


def explain(hardware: Hardware, console: Console | None = None) -> None:
    """Print all of it."""
    from rich.console import Console

    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(f"[bold]{hardware.name}[/bold]: {hardware.description}")
    console.print(table("Numbers", tree(hardware)))
    console.print(table("Sums", sums(hardware)))
    console.print(table("Parts", parts(hardware)))
    console.print(table("Prices", CostTable.of(hardware).frame()))
    at = hardware.precision
    console.print(table(f"Figures at {at.weight_bits}-bit weights and {at.input_bits}-bit inputs", figures(hardware)))
    if isinstance(hardware.crossbar.wires, ResistiveWires):
        console.print(table("Wires, all cells alike and all rows driven", wires(hardware)))
    if hardware.published:
        console.print(table("Against the paper", _as_printed(published(hardware))))
    console.print(f"[bold]Assumed, because nobody published them: {len(hardware.assumed())}[/bold]")
    for row in hardware.assumed():
        console.print(f"  {row}", markup=False, highlight=False, soft_wrap=True)


def _as_printed(checks: DataFrame) -> DataFrame:
    """Our figures with as many digits as the paper prints, deviations in per cent."""
    ours = [_digits(mine, theirs) for mine, theirs in zip(checks["ours"], checks["published"], strict=True)]
    deviation = [f"{100 * frac:+.3f} %" for frac in checks["deviation_frac"]]
    tolerance = [f"{100 * frac:g} %" for frac in checks["tolerance_frac"]]
    verdict = ["yes" if ok else "NO" for ok in checks["ok"]]
    return checks.assign(ours=ours, deviation_frac=deviation, tolerance_frac=tolerance, ok=verdict)


def _digits(ours: float, theirs: float) -> str:
    _, _, decimals = f"{theirs:g}".partition(".")
    return f"{ours:.{len(decimals)}f}"


def table(title: str, frame: DataFrame) -> Table:
    """A frame for the terminal; what is no number is a dash."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for column, kind in zip(frame.columns, frame.dtypes, strict=True):
        shown.add_column(column, justify="right" if kind.kind in "fiu" else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        shown.add_row(*(_cell(cell) for cell in row))
    return shown


def _cell(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return "-" if math.isnan(cell) else f"{cell:.6g}"
