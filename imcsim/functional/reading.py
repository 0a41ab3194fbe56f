"""Programmed cells as crossbars that multiply: aged, behind wires, read with noise, converted, corrected for drift."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imcsim import streams
from imcsim.chip import ResistiveWires
from imcsim.crossbar import Adc, Crossbar, Products, ReadNoise, fixed_point, multiply
from imcsim.devices import Cells, DeviceSpec, Floats, column_factors, global_factor
from imcsim.functional.calibration import FULL, Calibration
from imcsim.functional.coding import WeightCode
from imcsim.hardware import Hardware
from imcsim.quantised import Integers
from imcsim.wires import Wires, effective_usiemens

FRACTION_BITS = 8  # of conductances, in steps of the converter
UNIT = 1 << FRACTION_BITS
Compensation = Literal["none", "global", "column"]
COMPENSATIONS: tuple[Compensation, ...] = ("none", "global", "column")


@dataclass(frozen=True)
class Readable:
    """A crossbar as it is read. ``unit``: levels that 1 in a result stands for, of all columns or of each.

    ``row_levels``: (rows,) conductances of each row added up, in levels above the least; ``row_most``: if all were at
    the highest.
    """

    crossbar: Crossbar
    adc: Adc
    offsets: NDArray[np.int64]
    noise: ReadNoise | None
    unit: float | NDArray[np.float64]
    row_levels: NDArray[np.float64]
    row_most: float

    def products(self, inputs: Integers, n_bits: int, numbers: Integers) -> Products:
        """Column results of unsigned ``inputs`` (vectors, rows); ``numbers`` say which vector of the run each one is.

        Rows beyond those of ``inputs`` are not driven.
        """
        padded = np.pad(inputs, [(0, 0), (0, self.crossbar.n_rows - inputs.shape[1])])
        return multiply(self.crossbar, padded, n_bits, self.adc, self.offsets, self.noise, numbers)


@dataclass(frozen=True)
class Reading:
    """How all crossbars of a chip are read at an age; ``seed`` is that of the chip.

    The least conductance of a cell is taken off by a reference column that has no error of its own.
    ``compensation`` of drift: one factor for each crossbar, or for each column, from what it gave after programming.
    """

    hardware: Hardware
    device: DeviceSpec
    seed: int = 0
    age_s: float = 0.0
    compensation: Compensation = "none"
    calibration: Calibration = field(default_factory=lambda: FULL)

    def readable(self, cells: Cells, code: WeightCode, content: str, number: int, layer: str) -> Readable:
        """A crossbar with ``cells`` of ``code``, converted as the layer's range asks."""
        bar, adc = self.hardware.crossbar, self.hardware.tile.adc
        levels = self._levels(self.device.conductance_usiemens(cells, self.age_s), code, behind_wires=True)
        converter, step = self._adc(code, levels.shape[0], layer)
        sigma = self.device.read_sigma_usiemens(cells, self.age_s) / (self._level_usiemens(code) * step)
        crossbar = Crossbar(
            fixed_point(levels / step, FRACTION_BITS), bar.wordlines_active, bar.dac_bits, _variances(sigma)
        )
        rng = streams.rng(self.seed, "read", content, number)
        noise = ReadNoise(int(rng.integers(1 << 63)), adc_sigma=adc.errors.noise_lsb * UNIT)
        offsets = np.rint(adc.errors.offset_lsb * UNIT * rng.standard_normal(levels.shape[1])).astype(np.int64)
        is_noisy = bool(sigma.any() or adc.errors.noise_lsb)
        unit = step * self._factors(cells, code)
        sums = np.asarray(levels.sum(axis=1), float)
        most = float((code.levels - 1) * levels.shape[1])
        return Readable(crossbar, converter, offsets, noise if is_noisy else None, unit, sums, most)

    def _level_usiemens(self, code: WeightCode) -> float:
        return (self.device.g_max_usiemens - self.device.g_min_usiemens) / (code.levels - 1)

    def _levels(self, g_usiemens: Floats, code: WeightCode, behind_wires: bool) -> Floats:
        """Conductances in level steps above the least one, as the ends of the lines see them."""
        wires = self.hardware.crossbar.wires
        if behind_wires and isinstance(wires, ResistiveWires):
            ohms = Wires(wires.wordline_ohm, wires.bitline_ohm, wires.driver_ohm, wires.sense_ohm)
            g_usiemens = effective_usiemens(np.asarray(g_usiemens, float), ohms)
        return np.asarray((g_usiemens - self.device.g_min_usiemens) / self._level_usiemens(code))

    def _factors(self, cells: Cells, code: WeightCode) -> float | NDArray[np.float64]:
        """What outputs are multiplied with against drift."""
        if self.compensation == "none":
            return 1.0
        now = self._levels(self.device.conductance_usiemens(cells, self.age_s), code, behind_wires=False)
        fresh = self._levels(cells.programmed_usiemens, code, behind_wires=False)
        return global_factor(fresh, now) if self.compensation == "global" else column_factors(fresh, now)

    def _adc(self, code: WeightCode, rows: int, layer: str) -> tuple[Adc, float]:
        """The converter and its step in levels: codes over the range, no finer than a level.

        Thresholds lie halfway between the values of the codes; an ideal converter has one for every whole sum, also
        below 0.
        """
        bar, adc = self.hardware.crossbar, self.hardware.tile.adc
        largest = min(rows, bar.wordlines_active) * (code.levels - 1) * ((1 << bar.dac_bits) - 1)
        if adc.kind == "ideal":
            return Adc.uniform(3 * largest + 1, FRACTION_BITS, -largest * UNIT - UNIT // 2, -largest), 1.0
        wanted, n_codes = self.calibration.range_of(layer, largest), 1 << adc.bits
        step = max(1.0, (wanted.high - wanted.low) / (n_codes - 1))
        lowest = round(wanted.low / step)
        return Adc.uniform(n_codes, FRACTION_BITS, lowest * UNIT - UNIT // 2, lowest), step


def _variances(sigma: Floats) -> NDArray[np.float64] | None:
    """Variances of the cells' reads in squared fixed-point units; None where reads have no noise."""
    return np.square(sigma.astype(np.float64) * UNIT) if sigma.any() else None
