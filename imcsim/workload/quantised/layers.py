"""Compute weighted layers of a quantised network in integers, exactly as the library computes them.

y = zero_out + requantised(sum_k (x_k - zero_in) (w_k - zero_w) + bias, s_in s_w / s_out), saturated; each library has a
rule of its own for the product with the scales and its rounding (``requantisation.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.workload.quantised.requantisation import Integers as Integers
from imcsim.workload.quantised.requantisation import Requantise, Scales, float32_half_even


@dataclass(frozen=True)
class Format:
    """Hold scale, zero point and integer type of a quantised tensor."""

    scale: float
    zero: int
    dtype: np.dtype[Any]

    @property
    def low(self) -> int:
        """Return the least integer of the type."""
        return int(np.iinfo(self.dtype).min)

    @property
    def high(self) -> int:
        """Return the greatest integer of the type."""
        return int(np.iinfo(self.dtype).max)


@dataclass(frozen=True)
class Sliding:
    """Describe a convolution's window: kernel, stride, dilation per dimension, padding as all begins, then all ends."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]


@dataclass(frozen=True)
class IntegerLayer:
    """Describe a convolution (``sliding``) or fully connected layer of integers.

    ``weights``: (channels, rows of one group) less their zero point. ``bias``: (channels,) in units of the sum.
    ``scale``: (channels,) s_in s_w. ``output``: what the sum is requantised to; None where it stays a float.
    ``floor``, ``ceiling``: the least and greatest output, where an activation behind the layer cuts off.
    """

    name: str
    weights: Integers
    bias: Integers
    groups: int
    input: Format
    scale: Scales
    output: Format | None
    floor: int | None = None
    sliding: Sliding | None = None
    ceiling: int | None = None
    requantise: Requantise = float32_half_even

    @property
    def channels(self) -> int:
        """Return the number of output channels."""
        return len(self.weights)

    @property
    def rows(self) -> int:
        """Return the number of inputs of one output."""
        return int(self.weights.shape[1])

    def vectors(self, x: NDArray[Any]) -> Integers:
        """Return (images, positions, groups, rows) inputs of each position less their zero point, padding as 0.

        ``x``: (images, channels, *size), or (images, features) of a fully connected layer.
        """
        centred = x.astype(np.int64) - self.input.zero
        if self.sliding is None:
            return centred.reshape(len(x), 1, 1, -1)
        return _windows(centred, self.sliding, self.groups)

    def sums(self, vectors: Integers) -> Integers:
        """Return (images, positions, channels) exact sums of products, bias included: what crossbars stand for."""
        images, positions = vectors.shape[:2]
        by_group = vectors.reshape(-1, self.groups, self.rows).swapaxes(0, 1).astype(np.float64)
        weights = self.weights.reshape(self.groups, -1, self.rows).swapaxes(1, 2).astype(np.float64)
        products = (by_group @ weights).astype(np.int64)  # exact: far below 2^53
        return products.swapaxes(0, 1).reshape(images, positions, -1) + self.bias

    def finish(self, sums: Integers, size: tuple[int, ...]) -> NDArray[Any]:
        """Return (images, channels, *size) the layer's outputs from its sums (images, positions, channels)."""
        if self.output is None:
            return _channels_first(sums.astype(np.float32) * self.scale, size)
        low = self.output.low if self.floor is None else max(self.output.low, self.floor)
        high = self.output.high if self.ceiling is None else min(self.output.high, self.ceiling)
        values = self.requantise(sums, self.scale, self.output.scale) + self.output.zero
        return _channels_first(np.clip(values, low, high).astype(self.output.dtype), size)

    def output_size(self, x: NDArray[Any]) -> tuple[int, ...]:
        """Return the positions per dimension of the output; () for a fully connected layer."""
        if self.sliding is None:
            return ()
        n, window = len(self.sliding.kernel), self.sliding
        sizes = zip(x.shape[2:], window.kernel, window.stride, window.dilation, range(n), strict=True)
        return tuple(
            (size + window.padding[axis] + window.padding[n + axis] - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation, axis in sizes
        )


def _channels_first(values: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    images, _, channels = values.shape
    return np.moveaxis(values, -1, 1).reshape(images, channels, *size)


def _windows(x: Integers, sliding: Sliding, groups: int) -> Integers:
    """Return (images, positions, groups, rows), rows ordered as (channel, *kernel)."""
    n = len(sliding.kernel)
    pads = [(sliding.padding[axis], sliding.padding[n + axis]) for axis in range(n)]
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    reach = tuple(d * (k - 1) + 1 for k, d in zip(sliding.kernel, sliding.dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + n)))
    view = view[(slice(None), slice(None), *(slice(None, None, s) for s in sliding.stride))]
    inside = [slice(None)] * (2 + n) + [slice(None, None, d) for d in sliding.dilation]
    view = view[tuple(inside)]
    images, channels = x.shape[:2]
    size = view.shape[2 : 2 + n]
    split = view.reshape(images, groups, channels // groups, *size, *sliding.kernel)
    order = (0, *range(3, 3 + n), 1, 2, *range(3 + n, 3 + 2 * n))
    return np.asarray(split.transpose(order).reshape(images, int(np.prod(size)), groups, -1))
