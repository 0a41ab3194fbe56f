"""Turn integers into cells and digits: weight slices and polarities, unsigned inputs.

Everything here is exact; what a real array makes of it is the business of the crossbars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.tiling import WeightBlock
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, Integers

Array = NDArray[Any]


@dataclass(frozen=True)
class WeightCode:
    """Say how one weight becomes cells: ``slices`` base-2^``bits_per_cell`` digits, least significant first.

    'differential': each slice has a column for positive and one for negative weights. 'paired': a cell has two devices
    with a column in common, which gives their difference; the only slice then has a sign instead of its highest bit.
    'offset': one column holds w + 2^(slices bits_per_cell - 1), and the offset times the sum of the inputs is taken off
    digitally.
    """

    bits_per_cell: int
    slices: int
    polarity: Literal["differential", "offset", "paired"]

    @staticmethod
    def of(weight_bits: int, hardware: Hardware) -> WeightCode:
        """Return the code of weights of so many bits on the crossbars of a chip."""
        bar = hardware.crossbar
        return WeightCode(bar.bits_per_cell, hardware.slices(weight_bits), bar.polarity)

    @property
    def polarities(self) -> int:
        """Return the columns of one slice."""
        return 2 if self.polarity == "differential" else 1

    @property
    def columns(self) -> int:
        """Return c_w, the columns of one weight."""
        return self.slices * self.polarities

    @property
    def offset(self) -> int:
        """Return what is added to every weight, so that none is negative."""
        return 1 << (self.slices * self.bits_per_cell - 1) if self.polarity == "offset" else 0

    @property
    def is_signed(self) -> bool:
        """Tell whether column sums may be negative."""
        return self.polarity == "paired"

    def by_column(self, devices: Array, sign: int = -1) -> Array:
        """Return (rows, columns) from one value per device: two in a cell subtracted, or added with ``sign`` 1."""
        return devices[:, 0::2] + sign * devices[:, 1::2] if self.is_signed else devices

    @property
    def levels(self) -> int:
        """Return the levels of one device, 0 included."""
        return 1 << self._digit_bits

    @property
    def _digit_bits(self) -> int:
        return max(1, self.bits_per_cell - (self.is_signed and self.slices == 1))

    @property
    def _bases(self) -> Integers:
        return np.asarray(np.int64(1) << self._digit_bits * np.arange(self.slices, dtype=np.int64))

    def device_columns(self, block: WeightBlock) -> int:
        """Return the devices in a row of a block."""
        return int(block.weights.shape[1]) * self.columns * (2 if self.is_signed else 1)

    def encode(self, weights: Integers) -> Integers:
        """Return (rows, devices) levels of weights (rows, channels): one device per column, two if paired.

        Raises ImcsimError where weights do not fit.
        """
        parts = np.stack([weights, -weights], -1).clip(0) if not self.offset else (weights + self.offset)[..., None]
        if parts.min() < 0 or parts.max() >= 1 << (self.slices * self._digit_bits):
            problem = f"weights from {weights.min()} to {weights.max()} do not fit {self.slices} slices"
            hint = f"of {self.bits_per_cell} bits, {self.polarity}: use more bits per weight or per cell"
            raise ImcsimError("weights", problem, hint)
        digits = parts[:, :, None, :] // self._bases[:, None] % self.levels  # rows, channels, slices, polarities
        return np.asarray(digits.reshape(len(weights), -1))

    def decode(
        self, columns: Integers, inputs: Integers, unit: float | Array = 1.0, together: int | Integers = 1
    ) -> Integers:
        """Return (vectors, channels) sums of products from column results (vectors, channels * c_w).

        ``inputs``: (vectors, rows), what was driven, for the offset. ``unit``: levels that 1 in a result stands for, of
        all columns or of each; the sums are rounded to whole ones. ``together``: weights whose columns were added up
        for each sum, each of which has the offset.
        """
        in_levels = np.ndim(unit) == 0 and unit == 1
        parts = (columns if in_levels else columns * unit).reshape(len(columns), -1, self.slices, self.polarities)
        signs = np.array([1, -1][: self.polarities], np.int64)
        sums = np.einsum("vcsp,s,p->vc", parts, self._bases, signs)
        rounded: Integers = sums if sums.dtype.kind == "i" else np.rint(sums).astype(np.int64)
        return np.asarray(rounded - self.offset * together * inputs.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class InputCode:
    """Make inputs unsigned: what is driven is x_q - low, and low's share of the sums is taken off digitally."""

    shift: int  # zero point less the least integer

    @staticmethod
    def of(layer: IntegerLayer) -> InputCode:
        """Return the code of the inputs of a layer."""
        return InputCode(layer.input.zero - layer.input.low)

    def driven(self, vectors: Integers) -> Integers:
        """Return (vectors, groups * rows) unsigned, from (images, positions, groups, rows) less their zero point."""
        return vectors.reshape(vectors.shape[0] * vectors.shape[1], -1) + self.shift
