"""Do the analog multiply in plain numpy: slow, obvious, and what the compiled one is tested against."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
HALF = 32  # columns that share a Box-Muller pair are this far apart


def digits_of(inputs: Array, n_bits: int, digit_bits: int) -> Array:
    """Return the digits of inputs (vectors, rows) as (vectors, phases, rows), the least significant digit first."""
    shifts = np.arange(0, n_bits, digit_bits)
    return (inputs[:, None, :].astype(np.int64) >> shifts[:, None]) & ((1 << digit_bits) - 1)


def group_sums(digits: Array, cells: Array, group_rows: int) -> Array:
    """Return the column sums of every wordline group: (vectors, phases, wordline groups, columns)."""
    starts = range(0, cells.shape[0], group_rows)
    sums = [digits[..., a : a + group_rows] @ cells[a : a + group_rows] for a in starts]
    return np.stack(sums, 2) if sums else np.zeros((*digits.shape[:2], 0, cells.shape[1]), np.int64)


def mixed(key: Array, word: Array) -> Array:
    """Return a 64-bit key from a key and a word, both uint64."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    x = key ^ (word * golden + golden)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def hashed(key: Array, column: Array) -> Array:
    """Hash a 64-bit key and a column to 32 bits."""
    low, high = key.astype(np.uint32), (key >> np.uint64(32)).astype(np.uint32)
    x = column.astype(np.uint32) * np.uint32(0x9E3779B9) + low
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) + high
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def pair(first: Array, second: Array) -> tuple[Array, Array]:
    """Return two standard normals from 32 bits of the radius and 32 of the direction, by Box and Muller."""
    u = ((first >> np.uint32(1)) + 0.5) / 2**31
    radius, angle = np.sqrt(-2 * np.log(u)), (second & np.uint32(2**30 - 1)) / 2**30 * np.pi / 2
    signs = [(second >> np.uint32(place) & np.uint32(1)) * 2.0 - 1 for place in (31, 30)]
    return radius * np.cos(angle) * signs[0], radius * np.sin(angle) * signs[1]


def normals(seed: int, numbers: Array, n_phases: int, n_groups: int, n_columns: int) -> Array:
    """Draw standard normals (vectors, phases, wordline groups, columns); ``numbers`` is uint64 (vectors,)."""
    key = mixed(np.array([seed], np.uint64), numbers.astype(np.uint64))
    place = np.arange(n_phases * n_groups, dtype=np.uint64).reshape(n_phases, n_groups)
    key = mixed(key[:, None, None], place)[..., None]
    column = np.arange(n_columns)
    first = column - column // HALF % 2 * HALF
    return np.where(column == first, *pair(hashed(key, first), hashed(key, first + HALF)))


def noise_variance(digits: Array, variances: Array, group_rows: int) -> Array:
    """Return the variance of every column sum; ``variances`` (rows, columns) of the cells, or a number."""
    shape = (digits.shape[2], np.shape(variances)[1] if np.ndim(variances) else 1)
    return group_sums(digits**2, np.broadcast_to(variances, shape), group_rows)


def codes_of(sums: Array, thresholds: Array) -> Array:
    """Count the thresholds at or below each sum: a sum exactly on a threshold gets the upper code."""
    return np.searchsorted(thresholds, sums, side="right")


def multiply(
    digits: Array,
    cells: Array,
    group_rows: int,
    offsets: Array,
    thresholds: Array,
    values: Array,
    noise: Array | float = 0,
) -> tuple[Array, Array]:
    """Return results (vectors, columns) and the converted sums (vectors, phases, wordline groups, columns).

    ``noise``: added to every sum, real. ``values``: (phases, codes), what a code adds to the result, so that
    the caller decides how phases are weighed.
    """
    sums = group_sums(digits, cells, group_rows) + offsets + noise
    codes = codes_of(sums, thresholds)
    phases = np.arange(digits.shape[1])[:, None, None]
    return values[phases, codes].sum((1, 2)), sums
