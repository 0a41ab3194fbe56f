"""Compute peak figures that follow from a hardware file, as papers print them."""

from __future__ import annotations

from collections.abc import Callable

from imcsim.hardware.actions import ADC_CONVERT, ARRAY_READ, DAC_DRIVE, SAMPLE_HOLD_HOLD, SHIFT_ADD_ADD
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware, Precision
from imcsim.util import units

LEVELS = ("crossbar", "unit", "tile", "chip")


def level_sum(hardware: Hardware, level: str, field: str) -> float:
    """Return the sum of a field of the price rows (``area_um2``, ``peak_uw``) over one crossbar, unit, tile or chip."""
    inside = [part for part in hardware.all_parts().values() if LEVELS.index(part.per) <= LEVELS.index(level)]
    return float(sum(getattr(part, field) * hardware.n_groups(part.per) for part in inside) / hardware.n_groups(level))


def mvm_latency_ns(hardware: Hardware, precision: Precision) -> float:
    """Return the time between two vectors on a full crossbar: input phases times their time, no pipeline fill."""
    phases = hardware.input_phases(precision.input_bits, hardware.crossbar.rows)
    return phases * hardware.phase_cycles(hardware.crossbar.columns) * 1000 / hardware.chip.clock_mhz


def mvm_energy_pj(hardware: Hardware, precision: Precision) -> float:
    """Return the energy of crossbars and converters for one vector times as many weights as a crossbar has cells."""
    costs, rows, columns = CostTable.of(hardware), hardware.crossbar.rows, hardware.crossbar.columns
    digits = -(-precision.input_bits // hardware.crossbar.dac_bits)
    conversions = columns * hardware.input_phases(precision.input_bits, rows)
    energy = digits * rows * (costs.price_pj(*DAC_DRIVE) + columns * costs.price_pj(*ARRAY_READ))
    for action in (SAMPLE_HOLD_HOLD, ADC_CONVERT, SHIFT_ADD_ADD):
        energy += conversions * costs.price_pj(*action)
    return energy * hardware.weight_columns(precision.weight_bits)


def peak_tops(hardware: Hardware, precision: Precision) -> float:
    """Return the operations (two per multiply-accumulate) per picosecond with every crossbar busy."""
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
    """Return peak over power as papers print them: four and three significant digits."""
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
