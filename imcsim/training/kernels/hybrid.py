"""Read, update, carry and refresh weights in pairs of multi-level cells and accumulators in binary ones, fused.

Every array has one entry per weight, flat, and those of the pair one row for the positive and one for the negative
cell. Each weight draws from hashed bits of (key, weight), so results depend on neither threads nor order
(``hybrid_reference.py`` says the same in plain numpy). ``cell`` is a ``training.physics.Cell``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from imcsim.util.compiling import inlined, parallel
from imcsim.util.kernels.counter_noise import bits_of, direction, mixed, squared_radius

BLOCK = 4096  # weights that one thread takes at a time
TO_UNIT, UNUSED_BITS = np.float32(2.0**-24), np.uint32(8)
TWOS_COMPLEMENT, SIGN_MAGNITUDE, GRAY = range(3)


class PairArrays(NamedTuple):
    """Hold the cells of all pairs, (2, weights) each: ``g`` in uS, ``pulses`` since RESET, ``since_s`` the last pulse.

    ``exponent``: of drift. ``n_set``, ``n_reset``: how often each cell was pulsed.
    """

    g: NDArray[Any]
    pulses: NDArray[Any]
    since_s: NDArray[Any]
    exponent: NDArray[Any]
    n_set: NDArray[Any]
    n_reset: NDArray[Any]


class Accumulators(NamedTuple):
    """Hold the accumulators of all weights.

    ``value``: (weights,) int16, between -half and half; ``bit_set``, ``bit_reset``: (weights, bits) counters.

    ``code``: how a value becomes bits, such as ``GRAY``.
    """

    value: NDArray[Any]
    bit_set: NDArray[Any]
    bit_reset: NDArray[Any]
    half: int
    code: int


@inlined
def encoded(value, half, code):  # type: ignore[no-untyped-def]
    """Return the bits of an accumulator's value, from -half to half - 1 (sign and magnitude: from 1 - half)."""
    if code == TWOS_COMPLEMENT:
        return value & (2 * half - 1)
    if code == SIGN_MAGNITUDE:
        return -value | half if value < 0 else value
    shifted = value + half
    return shifted ^ (shifted >> 1)


@inlined
def normal_pair(low, high, number):  # type: ignore[no-untyped-def]
    """Return two independent normal numbers, float32: the ``number``-th pair of a key."""
    radius = np.float32(math.sqrt(squared_radius(bits_of(low, high, np.uint32(2 * number)))))
    cosine, sine = direction(bits_of(low, high, np.uint32(2 * number + 1)))
    return radius * cosine, radius * sine


@inlined
def exponent_of(g, normal, cell):  # type: ignore[no-untyped-def]
    """Return the drift exponent that a cell at ``g`` draws when it is programmed."""
    log = math.log(max(g / cell.exponent_full_usiemens, 1e-7))
    mean = cell.exponent_log * log + cell.exponent_fixed
    sigma = cell.spread_log * log + cell.spread_fixed
    mean = min(max(mean, cell.exponent_least), cell.exponent_most)
    return abs(mean + min(max(sigma, cell.spread_least), cell.spread_most) * normal)


@inlined
def set_pulse(row, i, normals, now_s, cell, pairs):  # type: ignore[no-untyped-def]
    """Apply one SET pulse to cell ``i`` of a row of the pair."""
    before, nth = np.float64(pairs.g[row, i]), pairs.pulses[row, i] + 1
    history = math.exp(-nth / cell.memory_pulses)
    mean = cell.step_by_g * before + cell.step_usiemens + cell.step_by_history * history
    sigma = cell.sigma_by_g * before + cell.sigma_usiemens + cell.sigma_by_history * history
    after = min(max(before + mean + sigma * normals[0], cell.least_usiemens), cell.full_usiemens)
    pairs.g[row, i], pairs.pulses[row, i], pairs.since_s[row, i] = after, nth, now_s
    pairs.exponent[row, i] = exponent_of(after, normals[1], cell)
    pairs.n_set[row, i] += 1


@inlined
def reset(row, i, normals, now_s, cell, pairs):  # type: ignore[no-untyped-def]
    """RESET cell ``i`` of a row of the pair once."""
    after = cell.reset_usiemens + cell.reset_sigma_usiemens * np.float64(normals[0])
    after = min(max(after, cell.reset_least_usiemens), cell.full_usiemens)
    pairs.g[row, i], pairs.pulses[row, i], pairs.since_s[row, i] = after, 0, now_s
    pairs.exponent[row, i] = exponent_of(after, normals[1], cell)
    pairs.n_reset[row, i] += 1


@inlined
def seen(g, normal, cell):  # type: ignore[no-untyped-def]
    """Return what one read of a cell at ``g`` shows."""
    return max(g + (cell.read_by_g * g + cell.read_usiemens) * np.float64(normal), 0.0)


@inlined
def drifted(row, i, now_s, cell, g, since_s, exponent):  # type: ignore[no-untyped-def]
    """Return where a cell is by now."""
    age = (now_s - since_s[row, i]) / cell.first_read_s
    return g[row, i] * (1 + age) ** -np.float64(exponent[row, i])


@parallel
def drift(now_s, cell, g, since_s, exponent, out):  # type: ignore[no-untyped-def]
    """Return conductances (2, weights) at a time."""
    n = g.shape[1]
    for block in prange((n + BLOCK - 1) // BLOCK):
        for row in range(2):
            for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                out[row, i] = drifted(row, i, now_s, cell, g, since_s, exponent)


@parallel
def read(key, cell, scale, g, out):  # type: ignore[no-untyped-def]
    """Return weights (weights,) as one read of all cells at ``g`` shows them; float32, weight = scale * difference."""
    n, low, high = out.size, np.uint32(key), np.uint32(key >> np.uint64(32))
    by_g, fixed = np.float32(cell.read_by_g), np.float32(cell.read_usiemens)
    zero, factor = np.float32(0), np.float32(scale)
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            first, second = normal_pair(low, high, i)
            plus, minus = g[0, i], g[1, i]
            plus = max(plus + (by_g * plus + fixed) * first, zero)
            minus = max(minus + (by_g * minus + fixed) * second, zero)
            out[i] = factor * (plus - minus)


@parallel
def update(  # type: ignore[no-untyped-def]
    key, gradient, gain, is_stochastic, most_pulses, now_s, cell, accumulators, pairs, carries
):
    """Add ``gain * gradient``, rounded, to the accumulators; what overflows goes to the pair as SET pulses.

    ``carries``: int32, receives the carries of this update before they are cut to ``most_pulses``.
    """
    value, bit_set, bit_reset, half, code = accumulators
    n, low, high = gradient.size, np.uint32(key), np.uint32(key >> np.uint64(32))
    factor, n_bits = np.float32(gain), bit_set.shape[1]
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            bits = bits_of(low, high, np.uint32(i))
            chance = np.float32(np.int32(bits >> UNUSED_BITS)) * TO_UNIT if is_stochastic else np.float32(0.5)
            before = np.int64(value[i])
            total = before + np.int64(math.floor(np.float32(factor * gradient[i]) + chance))
            carry = abs(total) // half * (1 if total > 0 else -1)
            after = total - carry * half
            carries[i] = carry
            if after != before:
                value[i] = after
                old, new = encoded(before, half, code), encoded(after, half, code)
                changed = old ^ new
                for bit in range(n_bits):
                    if changed >> bit & 1:
                        if new >> bit & 1:
                            bit_set[i, bit] += 1
                        else:
                            bit_reset[i, bit] += 1
            if carry:
                weight_key = mixed(key, i)
                weight_low, weight_high = np.uint32(weight_key), np.uint32(weight_key >> np.uint64(32))
                row = 0 if carry > 0 else 1
                for pulse in range(min(abs(carry), most_pulses)):
                    normals = normal_pair(weight_low, weight_high, pulse)
                    set_pulse(row, i, normals, now_s, cell, pairs)


@inlined
def write_pair(  # type: ignore[no-untyped-def]
    low, high, i, aim, band, most_pulses, now_s, cell, pairs
):
    """RESET both cells, then pulse the one that carries the sign of ``aim`` until a read is within the band."""
    for row in range(2):
        reset(row, i, normal_pair(low, high, 1 + row), now_s, cell, pairs)
    row, size = (0 if aim > 0 else 1), abs(aim)
    for pulse in range(most_pulses):
        check, _ = normal_pair(low, high, 3 + 2 * pulse)
        if size - seen(np.float64(pairs.g[row, i]), check, cell) < band:
            return
        normals = normal_pair(low, high, 4 + 2 * pulse)
        set_pulse(row, i, normals, now_s, cell, pairs)


@parallel
def write(  # type: ignore[no-untyped-def]
    key, aim, band, most_pulses, now_s, cell, pairs
):
    """Write all pairs to differences ``aim`` (weights,) in uS."""
    for block in prange((aim.size + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, aim.size)):
            weight_key = mixed(key, i)
            low, high = np.uint32(weight_key), np.uint32(weight_key >> np.uint64(32))
            write_pair(low, high, i, aim[i], band, most_pulses, now_s, cell, pairs)


@parallel
def refresh(  # type: ignore[no-untyped-def]
    key, larger, smaller, band, most_pulses, now_s, cell, pairs, refreshed
):
    """Rewrite the pairs of which one cell is read above ``larger`` and the other above ``smaller``.

    ``refreshed``: bool (weights,), receives which those are.
    """
    n = refreshed.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            refreshed[i] = False
            weight_key = mixed(key, i)
            low, high = np.uint32(weight_key), np.uint32(weight_key >> np.uint64(32))
            first, second = normal_pair(low, high, 0)
            plus = seen(drifted(0, i, now_s, cell, pairs.g, pairs.since_s, pairs.exponent), first, cell)
            minus = seen(drifted(1, i, now_s, cell, pairs.g, pairs.since_s, pairs.exponent), second, cell)
            if max(plus, minus) > larger and min(plus, minus) > smaller:
                refreshed[i] = True
                aim = plus - minus
                write_pair(low, high, i, aim, band, most_pulses, now_s, cell, pairs)


@inlined
def floored(x, most):  # type: ignore[no-untyped-def]
    """Return the integer at or below ``x``, from -most to most; so simple that the compiler takes many at once."""
    inside = min(max(x, -most), most)
    towards_zero = np.float32(np.int32(inside))
    return towards_zero - np.float32(1) if towards_zero > inside else towards_zero


@parallel
def quantise(x, step, most, key, is_stochastic, out):  # type: ignore[no-untyped-def]
    """Return ``x`` (numbers,) float32 as multiples of ``step`` from -most to most, to the nearest or by chance."""
    low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
    size, inverse, top, half = np.float32(step), np.float32(1 / step), np.float32(most), np.float32(0.5)
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        given, result = x[first : first + BLOCK], out[first : first + BLOCK]  # ten times faster than by whole arrays
        if is_stochastic:
            for i in range(given.size):
                bits = bits_of(low, high, np.uint32(first + i))
                chance = np.float32(np.int32(bits >> UNUSED_BITS)) * TO_UNIT
                result[i] = size * floored(given[i] * inverse + chance, top)
        else:
            for i in range(given.size):
                result[i] = size * floored(given[i] * inverse + half, top)
