"""Run a network on a fitted basis without crossbars: what the coefficients answer where every sum is exact."""

from __future__ import annotations

import numpy as np

from imcsim.mapping.basis.fitted import FittedBasis
from imcsim.mapping.tiling import Tiling
from imcsim.workload.datasets import Array, Dataset
from imcsim.workload.quantised import IntegerLayer, Integers, Multiply, QuantisedNetwork

AT_ONCE = 100  # images of one batch; it changes no answer


def combined(basis: FittedBasis) -> Multiply:
    """Return a multiplication of layers by what stands for their weights; resident layers keep their own."""
    matrices: dict[str, Array] = {}

    def multiply(layer: IntegerLayer, vectors: Integers) -> Integers:
        if layer.name not in basis.layers:
            return layer.sums(vectors)
        if layer.name not in matrices:
            matrices[layer.name] = matrix(basis, layer)
        flat = vectors.reshape(vectors.shape[0] * vectors.shape[1], -1).astype(np.float64)
        sums = np.rint(flat @ matrices[layer.name]).astype(np.int64)
        return (sums + layer.bias + basis.layers[layer.name].bias).reshape(*vectors.shape[:2], -1)

    return multiply


def matrix(basis: FittedBasis, layer: IntegerLayer) -> Array:
    """Return (inputs, channels) what inputs are multiplied by.

    Where groups share a segment, a channel meets the inputs of the other groups too.
    """
    stored, weights = basis.layers[layer.name], np.zeros((layer.groups * layer.rows, layer.channels))
    segments = Tiling.of(layer, len(basis.elements)).blocks()
    for segment, values in zip(segments, stored.values, strict=True):
        combination = basis.elements[: len(segment.rows)] @ values[:, : len(segment.channels)].astype(np.int64)
        weights[np.ix_(segment.rows, segment.channels)] = combination
    residual = _spread(stored.residual.dense(layer.channels, layer.rows), layer.groups)
    return weights * stored.scale.astype(np.float64) + residual


def _spread(weights: Integers, groups: int) -> Array:
    """Return (inputs, channels) from (channels, rows of a group): a channel meets the inputs of its own group."""
    channels, rows = weights.shape
    spread = np.zeros((groups * rows, channels))
    group = np.arange(channels) // (channels // groups)
    spread[group[:, None] * rows + np.arange(rows), np.arange(channels)[:, None]] = weights
    return spread


def answers(network: QuantisedNetwork, data: Dataset, pixels: Array, multiply: Multiply) -> int:
    """Return how many images are classified correctly."""
    right = 0
    for start in range(0, len(data.labels), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        scores = network.run(pixels[here], multiply).reshape(len(data.labels[here]), -1)
        right += int((scores.argmax(axis=1) == data.labels[here]).sum())
    return right
