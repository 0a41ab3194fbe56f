"""Measure how well a network answers when something else than exact arithmetic multiplies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, silent
from imcsim.workload.quantised import IntegerLayer, Integers, Multiply, QuantisedNetwork

Array = NDArray[Any]
Z_95 = 1.959963984540054  # two-sided 95 % of a normal distribution


@dataclass
class LayerCounts:
    """Add up what all conversions and products of a layer came to so far.

    ``signal``, ``error``: squares of its exact sums, and of what it got wrong on the inputs that reached it.
    ``driven``: input digits added up, ``drivable``: if all were the largest; ``charge``: digits times
    conductances above the least one, ``chargeable``: if all cells were at their highest too.
    """

    signal: float = 0.0
    error: float = 0.0
    conversions: float = 0.0
    saturated: float = 0.0
    driven: float = 0.0
    drivable: float = 0.0
    charge: float = 0.0
    chargeable: float = 0.0

    def add(self, other: LayerCounts) -> None:
        """Add the sums of other conversions and products of the same layer to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def snr_db(self) -> float:
        """Return the power of the exact sums over that of the error, in dB; infinite where there is no error."""
        if not self.error:
            return math.inf
        return 10 * math.log10(self.signal / self.error) if self.signal else -math.inf

    @property
    def saturated_frac(self) -> float:
        """Return the share of the conversions that were out of the range of their converter; 0 without conversions."""
        return self.saturated / self.conversions if self.conversions else 0.0


@dataclass(frozen=True)
class Accuracy:
    """Count answers to ``n_images`` images: how many are right, and how many equal those of exact arithmetic.

    ``n_exact_correct``: how many answers of exact arithmetic are right.
    """

    n_images: int
    n_correct: int
    n_agreeing: int
    n_exact_correct: int
    layers: Mapping[str, LayerCounts]

    def __add__(self, other: Accuracy) -> Accuracy:
        layers = {name: LayerCounts() for name in {**self.layers, **other.layers}}
        for part in (self, other):
            for name, counts in part.layers.items():
                layers[name].add(counts)
        return Accuracy(
            self.n_images + other.n_images,
            self.n_correct + other.n_correct,
            self.n_agreeing + other.n_agreeing,
            self.n_exact_correct + other.n_exact_correct,
            layers,
        )

    @property
    def snr_db(self) -> dict[str, float]:
        """Return the signal-to-noise ratio of each layer's sums, in dB; infinite where there is no error."""
        return {name: counts.snr_db for name, counts in self.layers.items()}

    @property
    def accuracy_frac(self) -> float:
        """Return the share of the images that are answered rightly."""
        return self.n_correct / self.n_images

    @property
    def agreement_frac(self) -> float:
        """Return the share of the images that are answered as by exact arithmetic."""
        return self.n_agreeing / self.n_images

    @property
    def exact_accuracy_frac(self) -> float:
        """Return the share of the images that exact arithmetic answers rightly."""
        return self.n_exact_correct / self.n_images

    @property
    def interval_95_frac(self) -> tuple[float, float]:
        """Return Wilson's interval for the accuracy on all images like these (J. Am. Stat. Assoc. 22, 209, 1927)."""
        return wilson(self.n_correct, self.n_images)


NOTHING = Accuracy(0, 0, 0, 0, {})


def wilson(n_hits: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return the score interval of a proportion, at whose ends the normal test of it just does not reject."""
    centre, spread = n_hits + z * z / 2, z * math.sqrt(n_hits * (n - n_hits) / n + z * z / 4)
    return (centre - spread) / (n + z * z), (centre + spread) / (n + z * z)


def evaluate(
    network: QuantisedNetwork,
    images: Array,
    labels: Array,
    multiply: Multiply,
    *,
    at_once: int = 50,
    progress: Progress = silent,
) -> Accuracy:
    """Run images (n, ...) through a network with ``multiply``, and beside it with exact arithmetic.

    ``labels``: (n,) the class of each image. ``at_once``: images of one batch; it bounds the memory and changes nothing
    else. Raises ImcsimError where a label is no class of the network.
    """
    total = NOTHING
    for number, part in enumerate(batches(len(images), at_once)):
        progress(number, -(-len(images) // at_once), "images")
        exact = exact_answers(network, images[part], labels[part])
        total += score(network, images[part], labels[part], exact, multiply)
    return total


def batches(n: int, at_once: int) -> Iterator[slice]:
    """Cut ``n`` images into slices of at most ``at_once``."""
    return (slice(start, min(start + at_once, n)) for start in range(0, n, at_once))


def exact_answers(network: QuantisedNetwork, images: Array, labels: Array) -> Array:
    """Return (n,) the classes that exact arithmetic answers. Raises ImcsimError where a label is no class."""
    scores = network.run(images)
    _check_labels(labels, scores.shape[-1])
    return np.asarray(scores.argmax(axis=-1).reshape(-1))


def score(network: QuantisedNetwork, images: Array, labels: Array, exact: Array, multiply: Multiply) -> Accuracy:
    """Compare the answers to one batch with ``multiply`` with its labels (n,) and with the ``exact`` answers (n,)."""
    watched = _Errors(multiply)
    answers = network.run(images, watched).argmax(axis=-1).reshape(-1)
    n_correct, n_agreeing, n_exact = (
        int((one == other).sum()) for one, other in ((answers, labels), (answers, exact), (exact, labels))
    )
    return Accuracy(len(images), n_correct, n_agreeing, n_exact, dict(watched.layers))


def _check_labels(labels: Array, n_classes: int) -> None:
    if labels.min() < 0 or labels.max() >= n_classes:
        problem = f"run from {labels.min()} to {labels.max()}, the network tells {n_classes} classes apart"
        raise ImcsimError("labels", problem, f"number the classes from 0 to {n_classes - 1}")


class _Errors:
    """Multiply, and add up by layer what was asked for and what came out wrong."""

    def __init__(self, multiply: Multiply) -> None:
        self.multiply = multiply
        self.layers: dict[str, LayerCounts] = defaultdict(LayerCounts)

    def __call__(self, layer: IntegerLayer, vectors: Integers) -> Integers:
        computed, exact = self.multiply(layer, vectors), layer.sums(vectors)
        counts = self.layers[layer.name]
        counts.signal += float(np.square(exact - layer.bias, dtype=np.float64).sum())
        counts.error += float(np.square(computed - exact, dtype=np.float64).sum())
        return computed
