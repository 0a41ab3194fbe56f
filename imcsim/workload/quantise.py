"""Quantise float networks to 8-bit integers: statically, by onnxruntime, with the ranges of activations from images.

Weights are int8 and symmetric, activations uint8 with one scale per tensor, biases int32, as ``quantised`` reads
them. Only what a layer reads is rounded: a sum passes its addition and its ReLU first, and the scores stay numbers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file
from imcsim.workload.datasets import load_dataset
from imcsim.workload.float_network import FloatNetwork, Floats
from imcsim.workload.quantised import QuantisedNetwork

AT_ONCE = 32  # images of one batch: it bounds the memory and changes nothing else
SUMS = ["Conv", "Gemm", "MatMul", "Add"]  # their outputs are not rounded


@dataclass(frozen=True)
class QuantisedModel:
    """Describe what was done. ``layers``: how many weighted layers of each kind.

    ``agreement_frac``: of the images, for how many the largest score stayed where it was. ``accuracy_frac``: of the
    'float' and the 'int8' network on the same images; empty where the labels are no classes of the network.
    """

    layers: Mapping[str, int]
    n_images: int
    bytes_before: int
    bytes_after: int
    agreement_frac: float
    accuracy_frac: Mapping[str, float]


def quantise(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    images: int = 100,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    per_channel: bool = True,
) -> QuantisedModel:
    """Quantise a float ONNX model to int8, with ranges of its activations from sample images, and write it.

    Parameters
    ----------
    model : str or Path
        The float ONNX model.
    data : str or Path
        Images to calibrate with, as the network sees them: an npz, idx or CIFAR file, or folders of pictures.
    out : str or Path
        The int8 model, written whole or not at all.
    images : int
        How many of the data, from the first on.
    mean, std : tuple of float
        What the network expects pixels from 0 to 1 to be shifted and divided by.
    per_channel : bool
        One scale of the weights for each output channel, else one for a layer.

    Returns
    -------
    QuantisedModel
        What was done: layers, sizes in bytes, accuracies as fractions.

    Raises
    ------
    ImcsimError
        For a model that is quantised already or cannot be, and for images that do not fit it.
    """
    network, sample = FloatNetwork(model), load_dataset(data).first(images)
    network.check_images(sample.images.shape[1:], sample.name)
    batches = Batches(network.input.name, sample.scaled(mean, std), network.images_at_once or AT_ONCE)
    scores, bytes_before = {"float": batches.scores(network.run)}, Path(model).stat().st_size
    with new_file(Path(out)) as partial:
        _write(network, batches, per_channel, partial)
        quantised = QuantisedNetwork(onnx.load(str(partial)), str(out))
        scores["int8"] = batches.scores(quantised.run)
        bytes_after = partial.stat().st_size
    answers = {name: outputs.argmax(axis=1) for name, outputs in scores.items()}
    agreement = float((answers["float"] == answers["int8"]).mean())
    are_classes = sample.labels.min() >= 0 and sample.labels.max() < scores["float"].shape[1]
    accuracy = {name: float((classes == sample.labels).mean()) for name, classes in answers.items() if are_classes}
    return QuantisedModel(_kinds(quantised), images, bytes_before, bytes_after, agreement, accuracy)


def _kinds(network: QuantisedNetwork) -> dict[str, int]:
    return dict(Counter("convolutional" if layer.sliding else "fully connected" for layer in network.layers))


@dataclass(frozen=True)
class Batches:
    """Yield images (n, ...) of the input ``name``, ``at_once`` of them at a time."""

    name: str
    images: Floats
    at_once: int

    def __iter__(self) -> Iterator[dict[str, Floats]]:
        starts = range(0, len(self.images), self.at_once)
        return ({self.name: self.images[start : start + self.at_once]} for start in starts)

    def scores(self, run: Callable[[Floats], NDArray[Any]]) -> NDArray[Any]:
        """Return (n, scores) of a network."""
        return np.concatenate([run(batch[self.name]) for batch in self]).reshape(len(self.images), -1)


def _write(network: FloatNetwork, batches: Batches, per_channel: bool, target: Path) -> None:
    """Take the library's two steps: shapes and fused normalisations, then ranges and scales."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        given, prepared = Path(folder) / "given.onnx", Path(folder) / "prepared.onnx"
        onnx.save(network.model, given)  # the library would move the weights out of a model in memory
        try:
            quant_pre_process(given, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                target,
                _reader(batches),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=per_channel,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": SUMS},
            )
        except OSError:
            raise
        except Exception as error:  # the library raises many kinds
            reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
            problem = f"onnxruntime cannot quantise it ({reason})"
            raise ImcsimError(network.where, problem, "check that onnxruntime runs the model") from error


def _reader(batches: Batches) -> Any:
    """Return the batches as the class that the quantiser asks for."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        left = iter(batches)

        def get_next(self) -> dict[str, Floats] | None:
            return next(self.left, None)

    return Reader()
