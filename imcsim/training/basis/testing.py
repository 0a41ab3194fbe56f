"""Test a trained basis on images that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imcsim.mapping.basis.digital import answers, combined
from imcsim.mapping.basis.fitted import FittedBasis
from imcsim.training.basis.options import BasisTrainOptions
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset
from imcsim.workload.quantised import IntegerLayer, QuantisedNetwork, load_quantised


@dataclass(frozen=True)
class Tested:
    """Hold the shares of the test images that are classified correctly, all sums exact.

    They are those of the 8-bit network that was given, of the basis before the training, and of the trained one.
    """

    name: str
    n_images: int
    network_frac: float
    before_frac: float
    after_frac: float


def test(
    model: str | Path, before: FittedBasis, after: FittedBasis, data: Dataset, options: BasisTrainOptions
) -> Tested:
    """Return the accuracies of a training on images that it has not seen. Raises ImcsimError where they do not fit."""
    network = load_quantised(model)
    check_images(network, data)
    pixels = network.pixels(data, options.mean, options.std)
    right = [
        answers(network, data, pixels, multiply) / len(data.labels)
        for multiply in (IntegerLayer.sums, combined(before), combined(after))
    ]
    return Tested(data.name, len(data.labels), *right)


def check_images(network: QuantisedNetwork, data: Dataset) -> None:
    """Raise ImcsimError where images or labels are not those of a network."""
    network.check_images(data.images.shape[1:])
    classes = network.layers[-1].channels
    if data.labels.min() < 0 or data.labels.max() >= classes:
        problem = f"has labels up to {data.labels.max()}, the network has {classes} classes"
        raise ImcsimError(data.name, problem, "give the data set that it was trained on")
