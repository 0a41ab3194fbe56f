"""Multiply on one crossbar: programmed with fixed-point conductances, read through ADCs, column by column.

Conductances are integers, ``fixed_point`` of level steps: 8 or more fractional bits, rounded to the nearest, halves to
even. Sums, thresholds, offsets and sigmas are in the same units. They may be negative where a column stands for the
difference of two. Rows are ordered so that those of one wordline group follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imcsim.functional.kernels import analog
from imcsim.functional.kernels.tables import tabulate
from imcsim.util.errors import ImcsimError
from imcsim.util.kernels.counter_noise import LANES

Ints: TypeAlias = NDArray[np.int64]
LARGEST_CELL, LARGEST_NARROW_CELL = (1 << 24) - 1, 4095  # the latter's nibbles fit into 16 bits four at a time
LARGEST_SUM = 1 << 29  # so that sum + offset + noise - origin fits into 32 bits
FINEST, COARSEST = 1 << 20, 1 << 6  # steps of the largest variance of a cell
MOST_BINS = 4096
LINE_BYTES = 64
NO_INTS = np.zeros(0, np.int32)


def need(holds: bool, where: str, problem: str) -> None:
    """Raise ImcsimError where a condition does not hold."""
    if not holds:
        raise ImcsimError(where, problem)


def fixed_point(levels: ArrayLike, fraction_bits: int = 8) -> Ints:
    """Round level steps to integers: the nearest multiple of 2**-fraction_bits, halves to even."""
    return np.rint(np.asarray(levels, float) * 2.0**fraction_bits).astype(np.int64)


def aligned(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """Return zeros from a cache line on: a table row across three lines instead of two costs a fifth of the speed."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + LINE_BYTES, np.uint8)
    first = -memory.ctypes.data % LINE_BYTES
    return memory[first : first + n_bytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Quantizer:
    """Describe what a sum becomes in a converter; make one with ``uniform`` or ``listed``."""

    converter: analog.CodeMap
    largest: int  # of the values, without sign

    @classmethod
    def uniform(cls, n_codes: int, shift: int, origin: int, lowest: int = 0) -> Quantizer:
        """Give ``lowest + k`` to sums in [origin + k step, origin + (k + 1) step), step = 2**shift; clip outside."""
        high = origin + (n_codes << shift)
        need(n_codes > 0 and 0 <= shift < 30, "adc", f"{n_codes} codes of 2**{shift}: need a code, and shift < 30")
        need(-LARGEST_SUM <= origin < high <= LARGEST_SUM, "adc", f"range {origin} ... {high} is beyond +-2**29")
        fields = (origin, shift, n_codes - 1, lowest, NO_INTS, NO_INTS, NO_INTS, 0, origin, high)
        return cls(analog.CodeMap(*fields), max(abs(lowest), abs(lowest + n_codes - 1)))

    @classmethod
    def listed(cls, thresholds: ArrayLike, values: ArrayLike, low: int, high: int) -> Quantizer:
        """Give ``values[k]`` to sums at or above k of the sorted ``thresholds``; saturated outside [low, high)."""
        cuts, outputs = np.asarray(thresholds, np.int64), np.asarray(values, np.int64)
        need(cuts.size > 0 and outputs.size == cuts.size + 1, "adc", "needs a threshold, and one value more")
        need(bool((np.diff(cuts) >= 0).all()), "adc", "thresholds are not sorted")
        need(bool((np.abs(cuts) < LARGEST_SUM).all()), "adc", "a threshold is beyond +-2**29")
        fits = max(abs(low), abs(high)) <= LARGEST_SUM and bool((np.abs(outputs) < 1 << 31).all())
        need(fits, "adc", "out of 32 bits")
        shift = max(int(cuts[-1] - cuts[0]) // MOST_BINS, 0).bit_length()
        starts = np.arange(int(cuts[-1] - cuts[0] >> shift) + 1, dtype=np.int64) << shift
        coarse = np.searchsorted(cuts, cuts[0] + starts, side="left")
        compares = int(np.bincount((cuts - cuts[0]) >> shift).max())
        ends = np.append(cuts, np.iinfo(np.int32).max).astype(np.int32)
        arrays = (ends, outputs.astype(np.int32), coarse.astype(np.int32))
        fields = (int(cuts[0]), shift, outputs.size - 1, 0, *arrays, compares, low, high)
        return cls(analog.CodeMap(*fields), int(np.abs(outputs).max()))


@dataclass(frozen=True)
class ReadNoise:
    """Describe noise, fresh at every conversion, normal, independent; crossbars of the same seed are correlated."""

    seed: int
    cell_sigma: float = 0.0  # of every cell; not used by a crossbar that has variances of its own
    adc_sigma: float | NDArray[np.float64] = 0.0  # of a conversion, for all or for each column


@dataclass(frozen=True)
class Products:
    """Hold the products of a crossbar, and how often its converters were out of range."""

    results: Ints  # (vectors, columns)
    saturated: Ints  # (columns,) conversions out of the converter's range


class AnalogArray:
    """Hold a programmed crossbar as tables of partial sums."""

    def __init__(
        self, cells: ArrayLike, group_rows: int, digit_bits: int = 1, variances: NDArray[np.float64] | None = None
    ) -> None:
        """Program ``cells`` (rows, columns), integers. ``variances``: of each cell's read noise, in squared units."""
        array = np.asarray(cells)
        need(array.ndim == 2 and np.issubdtype(array.dtype, np.integer), "crossbar", "cells are no matrix of integers")
        need(group_rows > 0 and 1 <= digit_bits <= 8, "crossbar", "needs rows in a wordline group, and 1 to 8 DAC bits")
        (self.n_rows, self.n_columns), self.digit_bits = array.shape, digit_bits
        self.group_rows = min(group_rows, max(self.n_rows, 1))
        self.n_groups, self.nibbles = -(-self.n_rows // self.group_rows), -(-self.group_rows // 4)
        self.n_blocks = -(-self.n_columns // LANES)
        need(self.n_groups * self.nibbles <= 4096, "crossbar", f"{self.n_rows} rows are too many")
        size = np.abs(array.astype(np.int64))
        need(int(size.max(initial=0)) <= LARGEST_CELL, "crossbar", f"a cell exceeds {LARGEST_CELL}")
        self.largest_sum = int(size.sum(0).max(initial=0)) * ((1 << digit_bits) - 1)
        need(self.largest_sum < LARGEST_SUM, "crossbar", "a column sum may exceed 2**29: use fewer fractional bits")
        is_narrow = int(size.max(initial=0)) <= LARGEST_NARROW_CELL
        base, entries = self._tables(array, np.uint16 if is_narrow else np.uint32)
        self.scale, amounts = 0.0, np.zeros(0, np.uint32)
        if variances is not None:
            self.scale, amounts = self._variances(variances)
        chunk = self._chunk(size) if is_narrow else self.nibbles
        self.tables = analog.Tables(entries, chunk, base.ravel(), np.zeros(0, np.int32), amounts)

    def _tables(self, cells: NDArray[Any], dtype: type) -> tuple[NDArray[np.int32], NDArray[Any]]:
        entries = aligned((self.n_blocks, self.n_groups * self.nibbles, 16, LANES), dtype)
        base = np.zeros((self.n_blocks, self.n_groups, LANES), np.int32)
        tabulate(np.ascontiguousarray(cells, np.int32), self.group_rows, entries, base)
        return base, entries.ravel()

    def _chunk(self, size: Ints) -> int:
        """Return the most nibbles, in equal parts of a wordline group, whose entries never exceed 16 bits together."""
        rows = np.zeros((self.n_groups, 4 * self.nibbles, self.n_columns), np.int64)
        for group in range(self.n_groups):
            part = size[group * self.group_rows : (group + 1) * self.group_rows]
            rows[group, : len(part)] = part
        chunk: int = self.nibbles
        for n_parts in range(1, self.nibbles + 1):
            chunk = -(-self.nibbles // n_parts)
            sums = np.add.reduceat(rows, np.arange(0, 4 * self.nibbles, 4 * chunk), axis=1)
            if sums.max(initial=0) < 1 << 16:
                break
        return chunk

    def _variances(self, variances: NDArray[np.float64]) -> tuple[float, NDArray[Any]]:
        """Round variances to integers, to the nearest 2**-20 of the largest one where sums then fit, at worst 2**-6."""
        need(np.shape(variances) == (self.n_rows, self.n_columns), "variances", "not one for each cell")
        need(bool(np.isfinite(variances).all() and (variances >= 0).all()), "variances", "negative, or not a number")
        weight = max(self.n_rows, 1) * ((1 << self.digit_bits) - 1) ** 2
        steps = min(FINEST, ((1 << 31) - 1) // weight)
        need(steps >= COARSEST, "variances", "too many rows and DAC bits for a table of variances")
        scale = float(np.max(variances, initial=0)) / steps
        return scale, self._tables(np.rint(variances / (scale or 1)).astype(np.int64), np.uint32)[1]


def multiply(
    crossbar: AnalogArray,
    inputs: ArrayLike,
    n_bits: int,
    adc: Quantizer,
    offsets: ArrayLike = 0,
    noise: ReadNoise | None = None,
    numbers: ArrayLike | None = None,
) -> Products:
    """Multiply ``inputs`` (vectors, rows), unsigned integers of ``n_bits``, digit by digit.

    ``offsets``: added to every sum before conversion, for all or for each column. ``numbers``: (vectors,) which vector
    of a run each one is, so that its noise does not depend on how a run is cut; their position by default.
    """
    vectors = np.asarray(inputs)
    need(vectors.ndim == 2 and vectors.shape[1] == crossbar.n_rows, "inputs", f"not (vectors, {crossbar.n_rows} rows)")
    need(1 <= n_bits <= 16 and np.issubdtype(vectors.dtype, np.integer), "inputs", "no integers of 1 to 16 bits")
    fits = int(vectors.min(initial=0)) >= 0 and int(vectors.max(initial=0)) < 1 << n_bits
    need(fits, "inputs", f"not in {n_bits} bits")
    n_vectors, padded = vectors.shape[0], crossbar.n_blocks * LANES
    order = np.arange(n_vectors) if numbers is None else np.asarray(numbers)
    need(order.shape == (n_vectors,), "numbers", "not one for each vector")
    shift = _padded(offsets, crossbar.n_columns, np.int64)
    need(int(np.abs(shift).max(initial=0)) < LARGEST_SUM, "offsets", "beyond +-2**29")
    tables = crossbar.tables._replace(offsets=shift.astype(np.int32))
    results = np.zeros((n_vectors, crossbar.n_columns), np.int64)
    saturated = np.zeros((-(-n_vectors // analog.BATCH), padded), np.int64)
    phases = _phases(crossbar, n_bits, adc)
    if results.size and crossbar.n_groups:
        drawn = _noise(crossbar, noise)
        places = order.astype(np.uint64)
        narrow = np.ascontiguousarray(vectors, np.uint16)
        analog.multiply(narrow, places, tables, adc.converter, drawn, phases, results, saturated)
    return Products(results, saturated.sum(0)[: crossbar.n_columns])


def _padded(values: ArrayLike, n_columns: int, dtype: type) -> NDArray[Any]:
    """Spread a number, or one for each column, over all columns of all blocks."""
    padded: NDArray[Any] = np.zeros(-(-n_columns // LANES) * LANES, dtype)
    need(np.shape(values) in ((), (n_columns,)), "columns", f"neither one value nor {n_columns}")
    padded[:n_columns] = values
    return padded


def _phases(crossbar: AnalogArray, n_bits: int, adc: Quantizer) -> analog.Phases:
    per_flush, digit, largest = 1, crossbar.digit_bits, adc.largest * max(crossbar.n_groups, 1)
    need(largest < 1 << 31, "adc", "values of all wordline groups together exceed 32 bits")
    while per_flush * digit < n_bits and largest * sum(1 << digit * i for i in range(per_flush + 1)) < 1 << 31:
        per_flush += 1
    return analog.Phases(n_bits, digit, crossbar.n_groups, crossbar.group_rows, per_flush)


def _noise(crossbar: AnalogArray, noise: ReadNoise | None) -> analog.Noise:
    given = noise or ReadNoise(0)
    scale = crossbar.scale if crossbar.tables.variances.size else given.cell_sigma**2
    conversion = _padded(np.square(given.adc_sigma), crossbar.n_columns, np.float32)
    weight = crossbar.n_rows * ((1 << crossbar.digit_bits) - 1) ** 2
    steps = FINEST if crossbar.tables.variances.size else 1
    largest = np.sqrt(scale * steps * weight + conversion.max(initial=0))
    need(bool(7 * largest < LARGEST_SUM), "noise", "a sigma is beyond 2**29 / 7")
    return analog.Noise(noise is not None, np.uint64(given.seed), np.float32(scale), conversion)  # type: ignore[arg-type]
