"""Turn programmed cells into crossbars that multiply: aged, behind wires, noisy, converted, corrected for drift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.calibration import FULL, AdcRanges
from imcsim.functional.crossbar import AnalogArray, Products, Quantizer, ReadNoise, fixed_point, multiply
from imcsim.functional.encoding import WeightCode
from imcsim.functional.placement import ArrayUse
from imcsim.functional.trial import Compensation
from imcsim.hardware.chip import ResistiveWires
from imcsim.hardware.devices import Cells, DeviceSpec, Floats, column_factors, global_factor
from imcsim.hardware.hardware import Hardware
from imcsim.util import random_streams
from imcsim.workload.quantised import Integers

HIGHEST = 256  # fixed-point units of a cell at its highest level, at least
MOST_BITS = 28  # of column sums and converter ranges in these units


@dataclass(frozen=True)
class Readable:
    """Hold a crossbar as it is read.

    ``unit``: levels that 1 in a result stands for, of all columns or of each. ``row_levels``: (rows,)
    conductances of each row added up, in levels above the least; ``row_most``: if all were at the highest.
    """

    crossbar: AnalogArray
    adc: Quantizer
    offsets: NDArray[np.int64]
    noise: ReadNoise | None
    unit: float | NDArray[np.float64]
    row_levels: NDArray[np.float64]
    row_most: float

    def products(self, inputs: Integers, n_bits: int, numbers: Integers) -> Products:
        """Return column results of unsigned ``inputs`` (vectors, rows), whose ``numbers`` count the vectors of a run.

        Rows beyond those of ``inputs`` are not driven.
        """
        padded = np.pad(inputs, [(0, 0), (0, self.crossbar.n_rows - inputs.shape[1])])
        return multiply(self.crossbar, padded, n_bits, self.adc, self.offsets, self.noise, numbers)


@dataclass(frozen=True)
class Reading:
    """Say how all crossbars of a chip are read at an age; ``seed`` is that of the chip.

    The least conductance of a cell is taken off by a reference column that has no error of its own.
    ``compensation`` of drift: one factor for each crossbar, or for each column, from what it gave after programming.
    """

    hardware: Hardware
    device: DeviceSpec
    seed: int = 0
    age_s: float = 0.0
    compensation: Compensation = "none"
    calibration: AdcRanges = field(default_factory=lambda: FULL)

    def when_fresh(self) -> Reading:
        """Return the same reading of cells that have just been written."""
        return replace(self, age_s=self.device.earliest_s)

    def readable(self, cells: Sequence[Cells], code: WeightCode, part: ArrayUse, layer: str) -> Readable:
        """Return the crossbars of a part with ``cells`` of ``code``, converted as the layer's range asks."""
        bar, errors = self.hardware.crossbar, self.hardware.tile.adc.errors
        devices = _side_by_side(self.device_levels(some, code) for some in cells)
        levels, charges = (part.connected(code.by_column(devices, sign), code) for sign in (-1, 1))
        codes = self._codes(code, len(levels), part.most_connected, layer)
        noise_usiemens = _side_by_side(self.device.read_sigma_usiemens(some, self.age_s) for some in cells)
        sigma = noise_usiemens / (self._level_usiemens(code) * codes.step)
        squares = code.by_column(np.square(sigma.astype(np.float64)), sign=1) * codes.unit**2
        variances = part.connected(squares, code)
        noisy = bool(variances.any())
        conductances = fixed_point(levels / codes.step, codes.fraction_bits)
        crossbar = AnalogArray(conductances, bar.wordlines_active, bar.dac_bits, variances if noisy else None)
        reads = random_streams.rng(self.seed, "read", layer, part.content, part.number)
        noise = ReadNoise(int(reads.integers(1 << 63)), adc_sigma=errors.noise_lsb * codes.unit)
        converters = random_streams.rng(self.seed, "adc", part.content, part.number)
        offset_lsb = errors.offset_lsb * converters.standard_normal(levels.shape[1])
        offsets = np.rint(offset_lsb * codes.unit).astype(np.int64)
        return Readable(
            crossbar,
            codes.converter,
            offsets,
            noise if noisy or errors.noise_lsb else None,
            codes.step * self._factors(cells, code, part),
            np.asarray(charges.sum(axis=1), float),
            float((code.levels - 1) * part.n_connected(devices.shape[1])),
        )

    def device_levels(self, cells: Cells, code: WeightCode) -> Floats:
        """Return (rows, devices) all cells in level steps above the least one, as the ends of the lines see them."""
        return self._levels(self.device.conductance_usiemens(cells, self.age_s), code, behind_wires=True)

    def _level_usiemens(self, code: WeightCode) -> float:
        return (self.device.g_max_usiemens - self.device.g_min_usiemens) / (code.levels - 1)

    def _levels(self, g_usiemens: Floats, code: WeightCode, behind_wires: bool) -> Floats:
        """Return conductances in level steps above the least one; ``behind_wires`` as line ends see them."""
        wires = self.hardware.crossbar.wires
        if behind_wires and isinstance(wires, ResistiveWires):
            g_usiemens = wires.effective_usiemens(np.asarray(g_usiemens, float))
        return np.asarray((g_usiemens - self.device.g_min_usiemens) / self._level_usiemens(code))

    def _factors(self, cells: Sequence[Cells], code: WeightCode, part: ArrayUse) -> float | NDArray[np.float64]:
        """Return what outputs are multiplied with against drift."""
        if self.compensation == "none":
            return 1.0
        conductances = (
            [self.device.conductance_usiemens(some, self.age_s) for some in cells],
            [some.programmed_usiemens for some in cells],
        )
        now, fresh = (
            part.connected(code.by_column(self._levels(_side_by_side(g), code, behind_wires=False)), code)
            for g in conductances
        )
        return global_factor(fresh, now) if self.compensation == "global" else column_factors(fresh, now)

    def _codes(self, code: WeightCode, rows: int, together: int, layer: str) -> _Codes:
        """Return codes over the range of ``together`` columns whose currents are summed, no finer than a level.

        Thresholds lie halfway between the values of the codes; an ideal converter has one for every whole sum, also
        below 0.
        """
        bar, adc = self.hardware.crossbar, self.hardware.tile.adc
        largest = min(rows, bar.wordlines_active) * (code.levels - 1) * ((1 << bar.dac_bits) - 1) * together
        if adc.kind == "ideal":
            return _Codes(3 * largest + 1, -largest, 1.0, largest, code.levels - 1)
        wanted = self.calibration.range_of(layer, -largest if code.is_signed else 0, largest)
        step = max(1.0, (wanted.high - wanted.low) / ((1 << adc.bits) - 1))
        return _Codes(1 << adc.bits, round(wanted.low / step), step, largest, code.levels - 1)


def _side_by_side(crossbars: Iterable[Floats]) -> Floats:
    return np.concatenate(list(crossbars), axis=1)


@dataclass(frozen=True)
class _Codes:
    """Describe ``n_codes`` codes from ``lowest`` on, ``step`` levels wide.

    Sums are at most ``largest`` levels, cells ``highest``.
    """

    n_codes: int
    lowest: int
    step: float
    largest: int
    highest: int

    @property
    def fraction_bits(self) -> int:
        """Return the fraction bits of conductances in steps: as many as a cell needs, if sums and codes leave room."""
        needed = (HIGHEST * self.step / self.highest - 1e-9).__ceil__()
        room = MOST_BITS - max(self.n_codes, round(2 * self.largest / self.step)).bit_length()
        return min(max(8, (needed - 1).bit_length()), room)

    @property
    def unit(self) -> int:
        """Return the fixed-point units of a step."""
        return 1 << self.fraction_bits

    @property
    def converter(self) -> Quantizer:
        """Return the converter with these codes, in fixed-point units."""
        return Quantizer.uniform(
            self.n_codes, self.fraction_bits, self.lowest * self.unit - self.unit // 2, self.lowest
        )
