"""How well a network answers when something else than exact arithmetic multiplies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.errors import ImcsimError
from imcsim.progress import Progress, silent
from imcsim.quantised import IntegerLayer, Integers, Multiply, QuantisedNetwork

Array = NDArray[Any]
Z_95 = 1.959963984540054  # two-sided 95 % of a normal distribution


@dataclass(frozen=True)
class Accuracy:
    """Answers to ``n_images`` images: how many are right, and how many equal those of exact arithmetic.

    ``snr_db``: by layer, power of the exact sums over that of the error that this layer adds to them on the inputs that
    reach it; infinite where there is none.
    """

    n_images: int
    n_correct: int
    n_agreeing: int
    snr_db: Mapping[str, float]

    @property
    def accuracy_frac(self) -> float:
        return self.n_correct / self.n_images

    @property
    def agreement_frac(self) -> float:
        return self.n_agreeing / self.n_images

    @property
    def interval_95_frac(self) -> tuple[float, float]:
        """Wilson's interval for the accuracy on all images like these (J. Am. Stat. Assoc. 22, 209, 1927)."""
        return wilson(self.n_correct, self.n_images)


def wilson(n_hits: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a proportion: its ends are where the normal test of that proportion just does not reject."""
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

    ``labels``: (n,) the class of each. ``at_once``: images of one batch; it bounds the memory and changes nothing else.
    Raises ImcsimError where a label is no class of the network.
    """
    errors = _Errors(multiply)
    correct = agreeing = 0
    for number, part in enumerate(_parts(len(images), at_once)):
        progress(number, -(-len(images) // at_once), "images")
        scores = network.run(images[part])
        _check_labels(labels[part], scores.shape[-1])
        exact = scores.argmax(axis=-1).reshape(-1)
        answers = network.run(images[part], errors).argmax(axis=-1).reshape(-1)
        correct += int((answers == labels[part]).sum())
        agreeing += int((answers == exact).sum())
    return Accuracy(len(images), correct, agreeing, errors.snr_db())


def _check_labels(labels: Array, n_classes: int) -> None:
    if labels.min() < 0 or labels.max() >= n_classes:
        problem = f"run from {labels.min()} to {labels.max()}, the network tells {n_classes} classes apart"
        raise ImcsimError("labels", problem, f"number the classes from 0 to {n_classes - 1}")


def _parts(n: int, at_once: int) -> Iterator[slice]:
    return (slice(start, start + at_once) for start in range(0, n, at_once))


class _Errors:
    """A multiplication that adds up by layer what it was asked for and what it got wrong."""

    def __init__(self, multiply: Multiply) -> None:
        self.multiply = multiply
        self.signal: dict[str, float] = defaultdict(float)
        self.error: dict[str, float] = defaultdict(float)

    def __call__(self, layer: IntegerLayer, vectors: Integers) -> Integers:
        found, exact = self.multiply(layer, vectors), layer.sums(vectors)
        self.signal[layer.name] += float(np.square(exact - layer.bias, dtype=np.float64).sum())
        self.error[layer.name] += float(np.square(found - exact, dtype=np.float64).sum())
        return found

    def snr_db(self) -> dict[str, float]:
        return {name: _db(signal, self.error[name]) for name, signal in self.signal.items()}


def _db(signal: float, error: float) -> float:
    return 10 * math.log10(signal / error) if signal and error else (math.inf if not error else -math.inf)
