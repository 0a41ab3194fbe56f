"""A network on a fitted basis without crossbars: what the coefficients answer where every sum is exact."""

from __future__ import annotations

import numpy as np

from imcsim.mapping.basis.fitted import FittedBasis
from imcsim.mapping.tiling import segments
from imcsim.workload.datasets import Array, Dataset
from imcsim.workload.quantised import IntegerLayer, Integers, Multiply, QuantisedNetwork

AT_ONCE = 100  # images of one batch; it changes no answer


def combined(basis: FittedBasis) -> Multiply:
    """A multiplication of layers by what stands for their weights; resident layers keep their own."""
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
    """(inputs, channels) what inputs are multiplied by; where groups share a segment, those of other groups too."""
    own, length = basis.layers[layer.name], len(basis.elements)
    found = np.zeros((layer.groups * layer.rows, layer.channels))
    for part, values in zip(segments(layer, length, max(1, length // layer.rows)), own.values, strict=True):
        combination = basis.elements[: len(part.rows)] @ values[:, : len(part.channels)].astype(np.int64)
        found[np.ix_(part.rows, part.channels)] += combination
    return found * own.scale.astype(np.float64) + _spread(own.residual.dense(layer.channels, layer.rows), layer.groups)


def _spread(weights: Integers, groups: int) -> Array:
    """(inputs, channels) from (channels, rows of a group): every channel meets the inputs of its own group."""
    channels, rows = weights.shape
    found = np.zeros((groups * rows, channels))
    group = np.arange(channels) // (channels // groups)
    found[group[:, None] * rows + np.arange(rows), np.arange(channels)[:, None]] = weights
    return found


def answers(network: QuantisedNetwork, data: Dataset, pixels: Array, multiply: Multiply) -> int:
    """How many images are classified correctly."""
    right = 0
    for start in range(0, len(data.labels), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        scores = network.run(pixels[here], multiply).reshape(len(data.labels[here]), -1)
        right += int((scores.argmax(axis=1) == data.labels[here]).sum())
    return right
