"""Explain a hardware preset: resolved tree, sums per level, prices with sources, peak figures against the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from imcsim.hardware.chip import ResistiveWires
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.figures_of_merit import FIGURES, LEVELS, level_sum
from imcsim.hardware.hardware import Hardware
from imcsim.util import units
from imcsim.util.errors import ImcsimError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

PAPER = "Against the paper"  # heading of the table of published figures


# -- tables --------------------------------------------------------------------------------------------------------


def tree(hardware: Hardware) -> DataFrame:
    """List every number of the resolved tree: key, value, source."""
    from pandas import DataFrame

    rows = [(key, str(value), hardware.source(key)) for key, value in hardware.numbers().items()]
    return DataFrame(rows, columns=["key", "value", "source"])


def sums(hardware: Hardware) -> DataFrame:
    """Sum area and peak power of one crossbar, unit, tile and of the chip, each with all that lies in it."""
    from pandas import DataFrame

    rows = [
        (
            level,
            hardware.n_groups(level),
            level_sum(hardware, level, "area_um2") / units.UM2_PER_MM2,
            level_sum(hardware, level, "peak_uw") / units.UW_PER_MW,
        )
        for level in LEVELS
    ]
    return DataFrame(rows, columns=["level", "on_chip", "area_mm2", "power_mw"])


def parts(hardware: Hardware) -> DataFrame:
    """List the rows of the price table: part, per, count, area and power of one group, source."""
    from pandas import DataFrame

    rows = [
        (name, part.per, part.count, part.area_um2, part.peak_uw, part.leakage_uw, part.source)
        for name, part in hardware.all_parts().items()
    ]
    return DataFrame(rows, columns=["part", "per", "count", "area_um2", "peak_uw", "leakage_uw", "source"])


def figures(hardware: Hardware) -> DataFrame:
    """List the figures that follow from the tree at the precision of the preset: figure, value."""
    from pandas import DataFrame

    return DataFrame(
        [(name, compute(hardware, hardware.precision)) for name, compute in FIGURES.items()],
        columns=["figure", "value"],
    )


def published(hardware: Hardware) -> DataFrame:
    """Compare the paper's figures with ours: name, figure, ours, published, deviation_frac, tolerance_frac, ok, source.

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
        rows.append(
            (
                name,
                theirs.figure,
                ours,
                theirs.value,
                deviation,
                theirs.tolerance_frac,
                abs(deviation) <= theirs.tolerance_frac,
                theirs.source,
            )
        )
    columns = ["name", "figure", "ours", "published", "deviation_frac", "tolerance_frac", "ok", "source"]
    return DataFrame(rows, columns=columns)


def wires(hardware: Hardware) -> DataFrame:
    """Say what resistive wires take from a full array whose cells are all alike, and by how much the ladder model errs.

    Losses are of one cell's current, and of the largest column current; in per cent. No rows where wires are ideal.
    """
    from pandas import DataFrame

    from imcsim.hardware.wires import effective_usiemens, ladder_error_frac

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


def hardware_tables(hardware: Hardware) -> tuple[dict[str, DataFrame], dict[str, DataFrame]]:
    """Return all tables by heading, and those of them that are printed with rounded numbers."""
    at, printed = hardware.precision, {}
    tables = {
        "Numbers": tree(hardware),
        "Sums": sums(hardware),
        "Parts": parts(hardware),
        "Prices": CostTable.of(hardware).frame(),
        f"Figures at {at.weight_bits}-bit weights and {at.input_bits}-bit inputs": figures(hardware),
    }
    if isinstance(hardware.crossbar.wires, ResistiveWires):
        tables["Wires, all cells alike and all rows driven"] = wires(hardware)
    if hardware.published:
        tables[PAPER] = published(hardware)
        printed[PAPER] = _as_printed(tables[PAPER])
    return tables, printed


# -- printing ------------------------------------------------------------------------------------------------------


def _as_printed(checks: DataFrame) -> DataFrame:
    """Return our figures with as many digits as the paper prints, deviations in per cent."""
    ours = [_digits(mine, theirs) for mine, theirs in zip(checks["ours"], checks["published"], strict=True)]
    deviation = [f"{100 * frac:+.3f} %" for frac in checks["deviation_frac"]]
    tolerance = [f"{100 * frac:g} %" for frac in checks["tolerance_frac"]]
    verdict = ["yes" if ok else "NO" for ok in checks["ok"]]
    return checks.assign(ours=ours, deviation_frac=deviation, tolerance_frac=tolerance, ok=verdict)


def _digits(ours: float, theirs: float) -> str:
    _, _, decimals = f"{theirs:g}".partition(".")
    return f"{ours:.{len(decimals)}f}"
