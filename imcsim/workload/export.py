"""Export a model as a workload file with what it holds: weights, and the integers that sample images make of layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.workload.datasets import load_dataset
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import IntegerLayer, Integers, QuantisedNetwork, load_quantised
from imcsim.workload.workload import Workload, with_tensors

Arrays = dict[str, NDArray[Any]]


def with_weights(model: str | Path) -> Workload:
    """Return the trace of a quantised model with ``LAYER.weight`` (channels, rows), ``.bias_sums`` and ``.scale``.

    Weights are less their zero point, in int16. Raises ImcsimError for a model that is not quantised.
    """
    return with_tensors(load_network(model), _weights(load_quantised(model)))


def with_samples(
    model: str | Path, data: str, images: int, mean: tuple[float, ...] = (0.0,), std: tuple[float, ...] = (1.0,)
) -> Workload:
    """Return the same with ``LAYER.input`` (images, positions, groups, rows) and ``.sums`` of the first images.

    Inputs are less their zero point, padding is 0. Raises ImcsimError where model and data do not fit.
    """
    network, sample = load_quantised(model), load_dataset(data).first(images)
    network.check_images(sample.images.shape[1:])
    recorded = _Recorder()
    network.run(network.pixels(sample, mean, std), recorded)
    return with_tensors(load_network(model), _weights(network) | recorded.arrays)


def _weights(network: QuantisedNetwork) -> Arrays:
    arrays: Arrays = {}
    for layer in network.layers:
        arrays[f"{layer.name}.weight"] = layer.weights.astype(np.int16)
        arrays[f"{layer.name}.bias_sums"] = layer.bias.astype(np.int32)
        arrays[f"{layer.name}.scale"] = np.asarray(layer.scale, np.float32)
    return arrays


class _Recorder:
    """Multiply exactly, and keep what was given and what came out."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}

    def __call__(self, layer: IntegerLayer, vectors: Integers) -> Integers:
        sums = layer.sums(vectors)
        self.arrays[f"{layer.name}.input"] = vectors.astype(np.int16)
        self.arrays[f"{layer.name}.sums"] = sums.astype(np.int32)
        return sums
