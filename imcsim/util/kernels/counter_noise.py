"""Draw normal numbers that depend on nothing but where they stand: counter-based, so threads and order do not matter.

A draw belongs to (seed, vector, phase, wordline group, column). The first four are hashed to a 64-bit key; key and
column give 32 hashed bits. Two columns, ``HALF`` apart in a block of ``2 * HALF``, share a Box-Muller pair: the first
one's bits give the radius sqrt(-2 ln u) with u = (k + 1/2) / 2**31, the second one's the angle. Logarithm, sine and
cosine are polynomials; a draw is within 1e-5 sigma of the exact pair (1e-3 for a radius below 0.02, once in 5,000
pairs), so the tails are right as far as 31 bits go: no draw exceeds 6.66 sigma, and beyond 6 sigma the steps
between neighbouring radii can be seen. Products and sums are fused, so every machine draws the same.

Writing cells (``write_verify.py``) draws from the same functions, with cell and turn in the place of key and column.
"""

from __future__ import annotations

import math

import numpy as np

from imcsim.util.compiling import fused, inlined

LANES = 64  # columns of a block: a table row of 16-bit entries is two cache lines
HALF = LANES // 2
GOLDEN, GOLDEN_32 = np.uint64(0x9E3779B97F4A7C15), np.uint32(0x9E3779B9)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # splitmix64
FIRST_32, SECOND_32 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)  # lowbias32

# log2(1 + x) = x (L0 + L1 x + ...) for x in [0, 1): error below 3.1e-7
L0, L1, L2, L3 = np.float32(1.44266783), np.float32(-0.720585454), np.float32(0.473553314), np.float32(-0.325901684)
L4, L5, L6 = np.float32(0.194293885), np.float32(-0.0795574046), np.float32(0.0155298222)
# of x quarter turns, x in [0, 1]: sine = x (S0 + S1 x**2 + ...) and cosine = C0 + C1 x**2 + ..., errors below 6e-7
S0, S1, S2, S3 = np.float32(1.57079101), np.float32(-0.64589285), np.float32(0.0794343445), np.float32(-0.00433309519)
C0, C1, C2 = np.float32(0.999999954), np.float32(-1.23369822), np.float32(0.253650747)
C3, C4 = np.float32(-0.0208106309), np.float32(0.000858192121)
ZERO, ONE, MINUS_2_LN_2 = np.float32(0), np.float32(1), np.float32(-2 * math.log(2))
TO_U, HALF_A_STEP, TO_QUARTERS = np.float32(2.0**-31), np.float32(2.0**-32), np.float32(2.0**-30)
EXPONENT, FRACTION, BITS_OF_ONE, BIAS = np.int32(23), np.int32(0x7FFFFF), np.int32(0x3F800000), np.int32(127)
LOW_30, SIGN = np.uint32((1 << 30) - 1), np.uint32(1)


@inlined
def mixed(key, word):  # type: ignore[no-untyped-def]
    """Return a 64-bit key that depends on every bit of a key and of a word (splitmix64's finalizer)."""
    x = np.uint64(key) ^ (np.uint64(word) * GOLDEN + GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@inlined
def bits_of(low, high, column):  # type: ignore[no-untyped-def]
    """Return 32 hashed bits of a column; ``low`` and ``high`` are the halves of the key; all uint32 (lowbias32)."""
    x = np.uint32(np.uint32(column * GOLDEN_32) + low)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * FIRST_32)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) + high)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * SECOND_32)
    return np.uint32(x ^ (x >> np.uint32(16)))


@inlined
def log2(y):  # type: ignore[no-untyped-def]
    """Return the binary logarithm of a positive float32."""
    bits = np.float32(y).view(np.int32)
    exponent = np.float32(np.int32(np.int32(bits >> EXPONENT) - BIAS))
    x = np.int32(np.int32(bits & FRACTION) | BITS_OF_ONE).view(np.float32) - ONE
    high = fused(x, fused(x, fused(x, fused(x, fused(x, L6, L5), L4), L3), L2), L1)
    return fused(x, fused(x, high, L0), exponent)


@inlined
def squared_radius(bits):  # type: ignore[no-untyped-def]
    """Return -2 ln u of 31 bits, float32."""
    u = fused(np.float32(np.int32(bits >> SIGN)), TO_U, HALF_A_STEP)
    return max(MINUS_2_LN_2 * log2(u), ZERO)


@inlined
def direction(bits):  # type: ignore[no-untyped-def]
    """Return cosine and sine, float32: 30 bits say where in a quadrant, two bits are the signs."""
    x = np.float32(np.int32(bits & LOW_30)) * TO_QUARTERS
    y = x * x
    cosine = fused(y, fused(y, fused(y, fused(y, C4, C3), C2), C1), C0)
    sine = x * fused(y, fused(y, fused(y, S3, S2), S1), S0)
    return (cosine if bits >> np.uint32(31) else -cosine), (sine if (bits >> np.uint32(30)) & SIGN else -sine)


@inlined
def floored(x):  # type: ignore[no-untyped-def]
    """Return the integer at or below a float32, int32."""
    return np.int32(np.floor(x))


@inlined
def add_noise(scratch, sums, amounts, common, scale, conversion, at, key, column):  # type: ignore[no-untyped-def]
    """Add to the ``LANES`` integers from ``sums`` on a normal number each, floored.

    Variances are ``scale`` times the integers from ``amounts`` on, each plus ``common``, plus ``conversion[at:]``
    (float32). ``column``: the number of the first lane's column.
    """
    low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
    for lane in range(HALF):
        radius = squared_radius(bits_of(low, high, np.uint32(column + lane)))
        cosine, sine = direction(bits_of(low, high, np.uint32(column + lane + HALF)))
        amount, other = np.int32(scratch[amounts + lane] + common), np.int32(scratch[amounts + HALF + lane] + common)
        variance = fused(np.float32(amount), scale, conversion[np.uint64(at + lane)])
        other_variance = fused(np.float32(other), scale, conversion[np.uint64(at + HALF + lane)])
        scratch[sums + lane] += floored(np.float32(math.sqrt(radius * variance)) * cosine)
        scratch[sums + HALF + lane] += floored(np.float32(math.sqrt(radius * other_variance)) * sine)
