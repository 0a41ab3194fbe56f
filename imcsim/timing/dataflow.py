"""Tell which positions of its producers a layer needs for each of its own, and which it may forget afterwards.

Positions are counted in raster order; "needs n" means the first n positions of the producer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.workload.workload import Concat, Conv, GlobalPool, Layer, MatMul, Pool, Window

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """Count producer positions: ``needs``, ``frees`` (steps of the consumer,), non-decreasing, frees <= needs."""

    needs: Ints
    frees: Ints


def steps(layer: Layer, inputs: list[Layer]) -> int:
    """Return the vectors that a layer works through: its positions, or those of its input for a global pooling."""
    return inputs[0].positions if isinstance(layer, GlobalPool) else layer.positions


def reach(layer: Layer, inputs: list[Layer], index: int) -> Reach:
    """Return what ``layer`` reads from its input number ``index``, step by step."""
    n, source = steps(layer, inputs), inputs[index]
    if isinstance(layer, Conv | Pool):
        return _window(layer.window, source.output_shape[1:], layer.output_shape[1:])
    if isinstance(layer, Concat) and layer.axis == "position":
        return _shifted(n, source.positions, sum(other.positions for other in inputs[:index]))
    keys = isinstance(layer, MatMul) and index == 1  # every position of the first operand meets all of the second
    return _all(n, source.positions) if keys or n != source.positions else one_by_one(n)


def one_by_one(n: int) -> Reach:
    """Return that each of ``n`` steps reads one position, in order."""
    count = np.arange(1, n + 1, dtype=np.int64)
    return Reach(count, count)


def _all(n: int, available: int) -> Reach:
    frees = np.zeros(n, np.int64)
    frees[-1] = available
    return Reach(np.full(n, available, np.int64), frees)


def _shifted(n: int, available: int, offset: int) -> Reach:
    count = np.clip(np.arange(1, n + 1, dtype=np.int64) - offset, 0, available)
    return Reach(count, count)


def _window(window: Window, size: tuple[int, ...], out: tuple[int, ...]) -> Reach:
    """Return the last and first position under the window, as running maximum and as what later windows leave alone."""
    needs = np.zeros(out, np.int64)
    first = np.zeros(out, np.int64)
    for axis, (low, high) in enumerate(_spans(window, size, out)):
        shape = [1] * len(out)
        shape[axis] = -1
        needs = needs * size[axis] + high.reshape(shape)
        first = first * size[axis] + low.reshape(shape)
    flat_needs = np.maximum.accumulate(needs.ravel()) + 1
    later = np.minimum.accumulate(first.ravel()[::-1])[::-1]
    total = int(np.prod(size))
    frees = np.append(later[1:], total)
    return Reach(flat_needs, np.minimum(np.maximum.accumulate(frees), flat_needs))


def _spans(window: Window, size: tuple[int, ...], out: tuple[int, ...]) -> list[tuple[Ints, Ints]]:
    """Return by dimension the first and last input index under the window, per output index, clipped to the input."""
    spans = []
    for axis, (kernel, stride, dilation) in enumerate(zip(window.kernel, window.stride, window.dilation, strict=True)):
        begin = np.arange(out[axis], dtype=np.int64) * stride - window.padding[axis]
        end = begin + dilation * (kernel - 1)
        spans.append((np.clip(begin, 0, size[axis] - 1), np.clip(end, 0, size[axis] - 1)))
    return spans
