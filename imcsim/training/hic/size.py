"""Say how large a model is, in bits and in cells, and where curves of accuracy against size cross.

Size counts logical bits: a pair that tells ``levels`` differences apart holds log2(levels) of them. What stays digital
(normalisations, biases) counts 32 bits a number for both kinds of networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from imcsim.training.hic.options import HybridOptions
from imcsim.training.hic.physics import LEVEL_USIEMENS

DIGITAL_BITS = 32


@dataclass(frozen=True)
class Size:
    """Hold ``bits`` for inference; ``cells``: multi-level ones, for inference; ``binary_cells``: those for training."""

    weights: int
    digital: int
    bits: float
    cells: int
    binary_cells: int


def pair_bits(options: HybridOptions) -> float:
    """Return log2 of the differences that are whole levels, up to a full cell: 29 of them, 4.86 bits, by default."""
    return math.log2(2 * round(options.physics.full_usiemens / LEVEL_USIEMENS) + 1)


def hybrid_size(weights: int, digital: int, options: HybridOptions) -> Size:
    """Return the size of a network on cells."""
    bits = weights * pair_bits(options) + digital * DIGITAL_BITS
    return Size(weights, digital, bits, 2 * weights, options.bits * weights)


def float_size(weights: int, digital: int) -> Size:
    """Return the size of the same network in 32-bit numbers."""
    return Size(weights, digital, float((weights + digital) * DIGITAL_BITS), 0, 0)


Curve = Sequence[tuple[float, float]]
"""(bits, accuracy) by growing size"""


def accuracy_at(curve: Curve, bits: float) -> float:
    """Return the accuracy at a size, on straight lines over the logarithm of sizes; not a number outside."""
    sizes, accuracies = np.log([size for size, _ in curve]), [accuracy for _, accuracy in curve]
    return float(np.interp(math.log(bits), sizes, accuracies, math.nan, math.nan))


def size_at(curve: Curve, accuracy: float) -> float:
    """Return the least size at which a curve reaches an accuracy, in bits; infinite where it does not."""
    if curve[0][1] >= accuracy:
        return curve[0][0]
    for (small, low), (large, high) in pairwise(curve):
        if low < accuracy <= high:
            share = (accuracy - low) / (high - low)
            return math.exp(math.log(small) + share * math.log(large / small))
    return math.inf
