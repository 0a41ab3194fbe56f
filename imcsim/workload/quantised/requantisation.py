"""Turn exact sums into the integers of an output: each library multiplies by a scale and rounds in its own way.

The libraries agree on the sum and differ in the last bit of what they make of it, so a layer names its rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Scales = NDArray[np.floating[Any]]
Requantise = Callable[[Integers, Scales, float], Integers]
"""Sums (..., channels), their scale (channels,) and that of the output -> integers less the output's zero point."""


def float32_half_even(sums: Integers, scale: Scales, output_scale: float) -> Integers:
    """Round one product in float32, half to even: ONNX's QLinearConv and onnxruntime."""
    factor = scale.astype(np.float32) / np.float32(output_scale)
    return np.rint(sums.astype(np.float32) * factor).astype(np.int64)


def float64_half_away(sums: Integers, scale: Scales, output_scale: float) -> Integers:
    """Round one product in float64, half away from zero: LiteRT's reference kernel for FULLY_CONNECTED."""
    return half_away(sums * (scale.astype(np.float64) / output_scale))


def fixed_point(sums: Integers, scale: Scales, output_scale: float) -> Integers:
    """Apply a 31-bit multiplier and a shift, rounded after each: LiteRT's reference kernels for convolutions.

    The rule of gemmlowp, SaturatingRoundingDoublingHighMul and RoundingDivideByPOT, as in TensorFlow Lite's
    MultiplyByQuantizedMultiplier without TFLITE_SINGLE_ROUNDING (Jacob et al., CVPR 2018, section 2.2).
    """
    multiplier, exponent = quantised_multiplier(scale.astype(np.float64) / output_scale)
    product = (sums << np.maximum(exponent, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.sign(nudged) * (np.abs(nudged) >> 31)  # C divides towards zero
    right = np.maximum(-exponent, 0)
    rest, half = high & ((1 << right) - 1), ((1 << right) - 1) >> 1
    return np.asarray((high >> right) + (rest > half + (high < 0)))


def quantised_multiplier(factor: NDArray[np.float64]) -> tuple[Integers, Integers]:
    """Return multiplier in 2^30..2^31 and exponent, factor = multiplier / 2^31 * 2^exponent: TensorFlow Lite's own."""
    fraction, exponent = np.frexp(factor)
    multiplier = half_away(fraction * 2.0**31)
    full = multiplier == 1 << 31
    multiplier, exponent = np.where(full, multiplier // 2, multiplier), exponent.astype(np.int64) + full
    tiny = exponent < -31
    return np.where(tiny, 0, multiplier), np.where(tiny, 0, exponent)


def half_away(values: NDArray[np.floating[Any]]) -> Integers:
    """Round to whole numbers, halves away from zero, as C's round."""
    integers = np.trunc(values)
    return np.asarray(integers + np.trunc(2 * (values - integers)), np.int64)
