"""Compute a perceptron of sign activations and batch normalisation, as in the public code of the rule.

Signs pass the gradient of inputs from -1 to 1 on (straight through); normalisation takes its statistics from the batch
at hand, in tests too. Only its gain and offset are learnt, and they belong to a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
EPSILON = 1e-5  # added to variances: PyTorch's, which the public code leaves as it is


@dataclass(frozen=True, eq=False)
class Norm:
    """Hold gain and offset of each unit of a layer."""

    gain: Array
    offset: Array

    def copy(self) -> Norm:
        """Return one that is learnt on its own."""
        return Norm(self.gain.copy(), self.offset.copy())


@dataclass(frozen=True, eq=False)
class _Pass:
    """Hold what a layer's gradients need of its forward pass."""

    x: Array
    normalised: Array
    deviation: Array
    y: Array


def scores(x: Array, weights: Sequence[Array], norms: Sequence[Norm]) -> Array:
    """Return (n, classes) scores of images (n, pixels)."""
    return _forward(x, weights, norms)[-1].y


def gradients(
    x: Array, labels: NDArray[np.int64], weights: Sequence[Array], norms: Sequence[Norm]
) -> tuple[float, list[Array], list[Norm]]:
    """Return the cross entropy of the batch and its gradients.

    Gradients are by layer, for weights (inputs, outputs) and normalisation.
    """
    passes = _forward(x, weights, norms)
    loss, dy = _cross_entropy(passes[-1].y, labels)
    of_weights: list[Array] = []
    of_norms: list[Norm] = []
    for layer in reversed(range(len(weights))):
        done = passes[layer]
        of_norms.insert(0, Norm((dy * done.normalised).sum(axis=0), dy.sum(axis=0)))
        dz = dy * norms[layer].gain
        da = (dz - dz.mean(axis=0) - done.normalised * (dz * done.normalised).mean(axis=0)) / done.deviation
        of_weights.insert(0, done.x.T @ da)
        if layer:
            dy = (da @ weights[layer].T) * (abs(passes[layer - 1].y) <= 1)
    return loss, of_weights, of_norms


def _forward(x: Array, weights: Sequence[Array], norms: Sequence[Norm]) -> list[_Pass]:
    passes: list[_Pass] = []
    for weight, norm in zip(weights, norms, strict=True):
        a = x @ weight
        deviation = np.sqrt(a.var(axis=0) + np.float32(EPSILON))
        normalised = (a - a.mean(axis=0)) / deviation
        passes.append(_Pass(x, normalised, deviation, normalised * norm.gain + norm.offset))
        x = np.sign(passes[-1].y)
    return passes


def _cross_entropy(y: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    shifted = y - y.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    true_class = np.arange(len(labels)), labels
    loss, gradient = float(-logs[true_class].mean()), np.exp(logs)
    gradient[true_class] -= 1
    return loss, gradient / np.float32(len(labels))
