"""Estimate an outer product without multipliers: by trains of random pulses, in the manner of ESSOP (arXiv 2003.11256).

In each of ``length`` slots an input pulses with probability |x| / s_x and an error with |d| / s_d; a slot counts where
both do. With streams that are independent of each other the mean is x d exactly and the variance of one product is
s_x^2 s_d^2 p (1 - p) / length, p = |x d| / (s_x s_d); s_x and s_d are powers of two, so that scaling is a shift.
An input that several positions read pulses alike for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def scale_of(x: Tensor) -> float:
    """Return the least power of two that no element exceeds; 1 where all are 0."""
    least, most = torch.aminmax(x)
    largest = max(-float(least), float(most))
    return 2.0 ** math.ceil(math.log2(largest)) if largest else 1.0


def pulses(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Draw one slot: -1, 0 or 1 for each element."""
    chance = torch.rand(x.shape, generator=generator, dtype=x.dtype)
    return torch.where(chance * scale < x.abs(), x.sign(), torch.zeros_like(x))


def outer(
    x: Tensor, errors: Tensor, product: Callable[[Tensor, Tensor], Tensor], length: int, generator: torch.Generator
) -> Tensor:
    """Estimate ``product`` of x and errors, which is bilinear, from trains of ``length`` slots."""
    scales = scale_of(x), scale_of(errors)
    total = product(pulses(x, scales[0], generator), pulses(errors, scales[1], generator))
    for _ in range(1, length):
        total += product(pulses(x, scales[0], generator), pulses(errors, scales[1], generator))
    return total * (scales[0] * scales[1] / length)
