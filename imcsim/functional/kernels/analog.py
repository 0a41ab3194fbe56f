"""Multiply as the crossbar does: column sums from tables, noise, converter and shift-add, fused.

A column sum is added up from the tables of ``tables.py``, for one input bit, or for the bits of a digit with shifts:
the converter sees sum(digit * conductance). Everything is integer but the noise, and that is floored to an integer,
which moves no code: for an integer threshold T, floor(sum + noise) >= T just where sum + noise >= T.

The least significant digit comes first. Each wordline group is converted by itself.

The converter gives ``lowest + code`` or ``values[code]``, where code is the number of thresholds at or below the sum:
a sum exactly on a threshold gets the upper code. A sum below ``low``, or at or above ``high``, is counted as saturated.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numba import prange
from numpy.typing import NDArray

from imcsim.functional.kernels.tables import Entries, Inputs, Ints, add_rows, select, shifted
from imcsim.util.compiling import inlined, parallel
from imcsim.util.kernels.counter_noise import LANES, add_noise, mixed

BATCH = 32  # vectors that a thread takes at a time
SUMS, AMOUNTS, TOTALS, SATURATED, SCRATCH_SIZE = (LANES * i for i in range(5))  # what stands where in scratch
LARGEST_SHIFT = np.uint32(31)

Results: TypeAlias = NDArray[np.int64]


class Tables(NamedTuple):
    """Hold a programmed crossbar, in the units of its fixed-point conductances."""

    entries: Entries  # (blocks * nibbles * 16 * LANES,)
    chunk: int  # nibbles whose entries can be added without overflow
    base: Ints  # (blocks * wordline groups * LANES,) what to add to the sum of one bit's entries
    offsets: Ints  # (blocks * LANES,) what to add to every sum before its conversion
    variances: Entries  # like entries, of the variances of single cells; (0,) where all cells are alike


class CodeMap(NamedTuple):
    """Map column sums to the codes of an ADC, and codes to what they stand for."""

    origin: int  # uniform: code = (sum - origin) >> shift, clipped to 0 ... top
    shift: int
    top: int
    lowest: int
    thresholds: Ints  # (top + 1,) sorted, the last one above every sum; (0,) where uniform
    values: Ints  # (top + 1,) what a code stands for
    coarse: Ints  # (bins,) code just below each bin of 2**shift sums, of which the first starts at origin
    compares: int  # most thresholds in one bin
    low: int
    high: int


class Noise(NamedTuple):
    """Describe Gaussian noise of a column sum, of variance scale * sum(digit**2 * amount of the cell) + conversion."""

    is_on: bool
    seed: int  # uint64
    scale: float  # float32, in squared units; amounts are 1 where all cells are alike
    conversion: NDArray[np.float32]  # (blocks * LANES,) variances of the converters


class Phases(NamedTuple):
    """Describe how the inputs are fed: digit by digit, one wordline group after another."""

    n_bits: int
    digit_bits: int  # of the DAC
    n_groups: int  # wordline groups
    group_rows: int
    per_flush: int  # phases whose results fit into 32 bits together


@parallel
def multiply(
    inputs: Inputs,
    numbers: NDArray[np.uint64],
    tables: Tables,
    converter: CodeMap,
    noise: Noise,
    phases: Phases,
    results: Results,
    saturated: Results,
) -> None:
    """Add the products to ``results`` (vectors, columns), saturations to ``saturated`` (batches, blocks * LANES).

    ``inputs``: (vectors, rows). ``numbers``: (vectors,) the number of each vector, which decides its noise.
    """
    for batch in prange(saturated.shape[0]):
        part = slice(batch * BATCH, min(batch * BATCH + BATCH, inputs.shape[0]))
        _multiply_batch(inputs[part], numbers[part], tables, converter, noise, phases, results[part], saturated[batch])


@inlined
def _multiply_batch(  # type: ignore[no-untyped-def]
    inputs, numbers, tables, converter, noise, phases, results, saturated
):
    """Do one thread's share: block after block of columns, so that a block's tables stay in cache."""
    rows = np.zeros((inputs.shape[0], phases.n_bits, phases.n_groups * ((phases.group_rows + 3) // 4)), np.uint16)
    select(inputs, phases.group_rows, rows)
    squares = np.zeros((inputs.shape[0], phases.n_bits, phases.n_groups), np.int32)
    if noise.is_on and tables.variances.size == 0:
        _sum_squares(inputs, phases, squares)
    scratch = np.zeros(SCRATCH_SIZE, np.int32)
    for block in range(saturated.size // LANES):
        for lane in range(LANES):
            scratch[SATURATED + lane] = 0
        for vector in range(inputs.shape[0]):
            key = mixed(noise.seed, numbers[vector])
            _multiply_vector(rows, squares, vector, key, block, tables, converter, noise, phases, results, scratch)
        for lane in range(LANES):
            saturated[block * LANES + lane] += scratch[SATURATED + lane]


@inlined
def _multiply_vector(  # type: ignore[no-untyped-def]
    rows, squares, vector, key, block, tables, converter, noise, phases, results, scratch
):
    """Do all phases of one vector on one block of columns."""
    flushed, n_phases = 0, (phases.n_bits + phases.digit_bits - 1) // phases.digit_bits
    for lane in range(LANES):
        scratch[TOTALS + lane] = 0
    for phase in range(n_phases):
        for group in range(phases.n_groups):
            _sum_columns(rows, vector, phase, group, tables, block, phases, scratch)
            if noise.is_on:
                if tables.variances.size > 0:
                    _sum_variances(rows, vector, phase, group, tables, block, phases, scratch)
                draw, common = mixed(key, phase * phases.n_groups + group), squares[vector, phase, group]
                at = block * LANES
                add_noise(scratch, SUMS, AMOUNTS, common, noise.scale, noise.conversion, at, draw, at)
            _convert(scratch, converter, (phase - flushed) * phases.digit_bits)
        if phase + 1 - flushed == phases.per_flush or phase + 1 == n_phases:
            _flush(scratch, results, vector, block * LANES, flushed * phases.digit_bits)
            flushed = phase + 1


@inlined
def _sum_squares(inputs, phases, squares):  # type: ignore[no-untyped-def]
    """Fill ``squares`` (vectors, phases or more, wordline groups) with the sums of squared digits."""
    mask = np.uint32((1 << phases.digit_bits) - 1)
    for vector in range(inputs.shape[0]):
        for low in range(0, phases.n_bits, phases.digit_bits):
            for group in range(phases.n_groups):
                first, total = group * phases.group_rows, np.uint32(0)
                for row in range(first, min(first + phases.group_rows, inputs.shape[1])):
                    digit = (np.uint32(inputs[vector, np.uint64(row)]) >> np.uint32(low)) & mask
                    total = np.uint32(total + np.uint32(digit * digit))
                squares[vector, low // phases.digit_bits, group] = total


@inlined
def _sum_columns(rows, vector, phase, group, tables, block, phases, scratch):  # type: ignore[no-untyped-def]
    """Set the sums to offset + sum(digit * conductance), bit by bit and chunk by chunk."""
    nibbles, low = (phases.group_rows + 3) // 4, phase * phases.digit_bits
    high = min(low + phases.digit_bits, phases.n_bits)
    at, weight = (block * phases.n_groups + group) * LANES, np.int32((1 << (high - low)) - 1)
    for lane in range(LANES):
        base = np.int32(tables.base[np.uint64(at + lane)] * weight)
        scratch[SUMS + lane] = np.int32(base + tables.offsets[np.uint64(block * LANES + lane)])
    at = block * rows.shape[2] * 16 * LANES
    for bit in range(low, high):
        for chunk in range(0, nibbles, tables.chunk):
            n_rows = min(tables.chunk, nibbles - chunk)
            first = (vector * phases.n_bits + bit) * rows.shape[2] + group * nibbles + chunk
            add_rows(scratch, SUMS, tables.entries, at, rows, first, first, n_rows, bit - low)


@inlined
def _sum_variances(rows, vector, phase, group, tables, block, phases, scratch):  # type: ignore[no-untyped-def]
    """Add variances up: with bits x_i, (sum 2**i x_i)**2 = sum 4**i x_i + sum over i < j of 2**(i + j + 1) x_i x_j."""
    for lane in range(LANES):
        scratch[AMOUNTS + lane] = 0
    nibbles = (phases.group_rows + 3) // 4
    low, at = phase * phases.digit_bits, block * rows.shape[2] * 16 * LANES
    for bit in range(low, min(low + phases.digit_bits, phases.n_bits)):
        for other in range(low, bit + 1):
            shift = bit + other - 2 * low + (1 if other < bit else 0)
            first = (vector * phases.n_bits + bit) * rows.shape[2] + group * nibbles
            second = (vector * phases.n_bits + other) * rows.shape[2] + group * nibbles
            add_rows(scratch, AMOUNTS, tables.variances, at, rows, first, second, nibbles, shift)


@inlined
def _convert(scratch, converter, shift):  # type: ignore[no-untyped-def]
    """Convert the sums, add the values times 2**shift to the totals, and count what is out of range."""
    by, step = np.uint32(shift) & LARGEST_SHIFT, np.int32(converter.shift)
    low, high, origin = np.int32(converter.low), np.int32(converter.high), np.int32(converter.origin)
    top, lowest, last_bin = np.int32(converter.top), np.int32(converter.lowest), np.int32(converter.coarse.size - 1)
    if converter.thresholds.size == 0:
        for lane in range(LANES):
            x = scratch[SUMS + lane]
            scratch[SATURATED + lane] += np.int32(x < low) | np.int32(x >= high)
            code = min(shifted(max(np.int32(x - origin), np.int32(0)), step), top)
            scratch[TOTALS + lane] += np.int32(np.uint32(code + lowest) << by)
        return
    for lane in range(LANES):
        x = scratch[SUMS + lane]
        scratch[SATURATED + lane] += np.int32(x < low) | np.int32(x >= high)
        place = min(shifted(max(np.int32(x - origin), np.int32(0)), step), last_bin)
        code = converter.coarse[place]
        for _ in range(converter.compares):
            code += np.int32(x >= converter.thresholds[code])
        scratch[TOTALS + lane] += np.int32(np.uint32(converter.values[code]) << by)


@inlined
def _flush(scratch, results, vector, column, shift):  # type: ignore[no-untyped-def]
    """Move the totals, times 2**shift, to the results."""
    for lane in range(min(LANES, results.shape[1] - column)):
        results[vector, column + lane] += np.int64(scratch[TOTALS + lane]) << shift
    for lane in range(LANES):
        scratch[TOTALS + lane] = 0
