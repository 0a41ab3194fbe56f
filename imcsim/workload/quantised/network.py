"""Run a quantised network layer by layer: weighted layers by whatever multiplies, everything between by its library.

The graph is cut at the integers that weighted layers read and give; what lies between two cuts is a small model of its
own for the library, so that pooling, additions and the like are the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset
from imcsim.workload.importers.tflite_model import load_tflite
from imcsim.workload.quantised.graph import Array, DigitalPart, QuantisedGraph, Site, Tensor
from imcsim.workload.quantised.layers import IntegerLayer, Integers
from imcsim.workload.quantised.onnx_graph import OnnxGraph, load_onnx
from imcsim.workload.quantised.tflite_graph import TfliteGraph

Multiply = Callable[[IntegerLayer, Integers], Integers]
"""Sums (images, positions, channels) of a layer from its vectors (images, positions, groups, rows)."""


def load_quantised(path: str | Path) -> QuantisedNetwork:
    """Read a quantised ONNX or TensorFlow Lite file.

    Raises ImcsimError where it is none, cannot be read, or has float layers with weights.
    """
    suffix = Path(path).suffix
    if suffix == ".onnx":
        return QuantisedNetwork(load_onnx(path), str(path))
    if suffix == ".tflite":
        return QuantisedNetwork(load_tflite(path), str(path), TfliteGraph)
    hint = "give a quantised ONNX model, such as workloads/models/resnet8_fashion.onnx, or a TensorFlow Lite one"
    raise ImcsimError(str(path), "is a trace of layers, from which no values follow", hint)


class QuantisedNetwork:
    """Hold a quantised network.

    ``sites``: the weighted layers in execution order. ``run`` computes a batch with a given multiplication.
    """

    def __init__(self, model: Any, where: str, graph: Callable[[Any, str], QuantisedGraph] = OnnxGraph) -> None:
        """Prepare ``model``, an ONNX model, or what else ``graph`` reads; ``where`` stands for the file in errors."""
        self.graph = graph(model, where)

    @property
    def sites(self) -> list[Site]:
        """Return the weighted layers in their graph, in execution order."""
        return self.graph.sites

    @property
    def layers(self) -> list[IntegerLayer]:
        """Return the weighted layers, in execution order."""
        return [site.layer for site in self.sites]

    def pixels(self, data: Dataset, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> Array:
        """Return images as the network takes them: scaled, or as they are where they have its input's own integer type.

        Raises ImcsimError where mean and spread do not fit the data.
        """
        own_type = data.images.dtype.kind in "iu" and data.images.dtype == self.graph.input_dtype
        unscaled = own_type and set(mean) == {0.0} and set(std) == {1.0}
        return data.images if unscaled else data.scaled(mean, std)

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Raise ImcsimError where images of a ``shape`` (without their number) are not what the network takes."""
        if not self.graph.takes(shape):
            problem = f"takes images of {_by(self.graph.image_shape)}, the data has {_by(shape)} (channels first)"
            hint = "give the data set that it was trained on, or resize the images"
            raise ImcsimError(self.graph.where, problem, hint)

    def run(self, images: Array, multiply: Multiply = IntegerLayer.sums) -> Array:
        """Return the network's first output for images (n, channels, ...), with ``multiply`` for the weighted layers.

        Where the network's input is an integer tensor, floating images are quantised to it.
        """
        *_, (_, output) = self.steps(images, multiply)
        return output

    def steps(self, images: Array, multiply: Multiply = IntegerLayer.sums) -> Iterator[tuple[str, Array]]:
        """Yield the name and output of every weighted layer in turn; last of all '' and the network's first output.

        Outputs are in the layout of the file.
        """
        known: dict[Tensor, Array] = {self.graph.input: self.graph.prepared(images)}
        for site in self.sites:
            x = self.graph.channels_first(site, self._value(site.reads, known))
            sums = multiply(site.layer, site.layer.vectors(x))
            y = site.layer.finish(sums, site.layer.output_size(x))
            known[site.gives] = self.graph.own_layout(site, y)
            yield site.layer.name, known[site.gives]
        yield "", self._value(self.graph.output, known)

    def _value(self, tensor: Tensor, known: dict[Tensor, Array]) -> Array:
        if tensor not in known:
            known[tensor] = self._digital_parts[tensor](known)
        return known[tensor]

    @cached_property
    def _digital_parts(self) -> dict[Tensor, DigitalPart]:
        """Return the digital operators in front of every weighted layer, where there are any, and behind the last."""
        known, parts = {self.graph.input}, dict[Tensor, DigitalPart]()
        cuts = [(site.reads, site.gives) for site in self.sites]
        for reads, gives in [*cuts, (self.graph.output, self.graph.output)]:
            if reads not in known:
                parts[reads] = self.graph.digital_part(reads, known)
            known |= {reads, gives}
        return parts


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size or "any") for size in shape)
