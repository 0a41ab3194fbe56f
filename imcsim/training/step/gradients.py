"""Build the way back through a network: errors and gradients are layers, planned and run as all others.

The error of a layer has the shape of its output. Where several layers read an output, its error is the sum of what
comes back from each.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from imcsim.util.errors import ImcsimError
from imcsim.workload.layers import (
    Activation,
    Concat,
    Elementwise,
    GlobalPool,
    Input,
    Layer,
    Normalisation,
    Pool,
    Quantisation,
    Reshape,
    Slice,
    Softmax,
    WeightedLayer,
)
from imcsim.workload.workload import Workload

SUMS = ("add", "sub")  # element-wise functions whose error goes on to every operand as it is
HINT = "train a network of convolutions, linear layers, activations, sums and poolings, or leave the layer out"

Role = Literal["loss", "transposed", "outer", "digital"]


@dataclass(frozen=True)
class Gradient:
    """Hold a layer of the way back, and the layer of the network that it belongs to."""

    layer: Layer
    of: Layer
    role: Role
    absorbed: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Backward:
    """Hold ``workload``: the network, and behind it all errors and gradients.

    ``gradients``: these, in order of execution. What is done together with another one is in its ``absorbed`` alone.
    """

    workload: Workload
    gradients: tuple[Gradient, ...]


def backward(workload: Workload, error_bits: int) -> Backward:
    """Build the errors and gradients of a network with one output, from a loss that is a softmax against a label.

    Raises ImcsimError for several outputs and for layers through which the way back is not known.
    """
    gradients = _Builder(workload, Quantisation(bits=error_bits)).build()
    network = Workload(
        name=workload.name,
        description=workload.description,
        source=workload.source,
        layers=(*workload.layers, *(gradient.layer for gradient in gradients)),
    )
    return Backward(network, tuple(_joined(gradients)))


@dataclass
class _Builder:
    """Walk the network from its output to its inputs."""

    workload: Workload
    quant: Quantisation
    gradients: list[Gradient] = field(default_factory=list)
    arrived: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # errors that come back, by layer

    def build(self) -> list[Gradient]:
        self._loss()
        trained = self._behind_weights()
        for layer in reversed(self.workload.layers):
            if layer.name in trained and self.arrived[layer.name]:
                self._through(layer, self._error_of(layer), [name for name in layer.inputs if name in trained])
        return self.gradients

    def _behind_weights(self) -> set[str]:
        """Return the layers that a weight has a part in: errors go back to them alone."""
        names: set[str] = set()
        for layer in self.workload.layers:
            if isinstance(layer, WeightedLayer) or names.intersection(layer.inputs):
                names.add(layer.name)
        return names

    def _loss(self) -> None:
        ends = [layer for layer in self.workload.layers if not self.workload.consumers[layer.name]]
        ends = [layer for layer in ends if not isinstance(layer, Input)]
        if len(ends) != 1:
            names = ", ".join(layer.name for layer in ends) or "none"
            problem = f"a loss needs one output, the outputs are: {names}"
            raise ImcsimError(self.workload.name, problem, "cut the others")
        (end,) = ends
        if isinstance(end, Softmax):
            logits = self.workload.by_name[end.inputs[0]]
            self._add(Elementwise, f"error of {logits.name}", (end.name,), logits, end, "loss", function="sub")
        else:
            self._add(Softmax, f"error of {end.name}", (end.name,), end, end, "loss")

    def _add(
        self, kind: type[Layer], name: str, inputs: tuple[str, ...], target: Layer, of: Layer, role: Role, **fields: str
    ) -> None:
        """Add an error of ``target``, that comes back from ``of``."""
        shape = {"name": name, "inputs": inputs, "output_shape": target.output_shape, "input_quant": self.quant}
        self.gradients.append(Gradient(kind(**shape, **fields), of, role))  # type: ignore[arg-type]
        self.arrived[target.name].append(name)

    def _back(self, kind: type[Layer], of: Layer, error: str, source: str, role: Role, **fields: str) -> None:
        target = self.workload.by_name[source]
        self._add(kind, f"error of {source} by {of.name}", (error,), target, of, role, **fields)

    def _error_of(self, layer: Layer) -> str:
        """Return the error of a layer's output, added up where several came back."""
        parts = self.arrived[layer.name]
        if len(parts) > 1:
            name = f"error of {layer.name}"
            self._add(Elementwise, name, tuple(parts), layer, layer, "digital", function="add")
            return name
        return parts[0]

    def _through(self, layer: Layer, error: str, trained: list[str]) -> None:
        """Add the errors of the inputs of a layer, and the gradient of its weights."""
        if isinstance(layer, WeightedLayer):
            for source in trained:
                self._back(Elementwise, layer, error, source, "transposed", function="transposed")
            self._gradient(layer, error)
        elif isinstance(layer, Elementwise) and layer.function in SUMS and len(layer.inputs) > 1:
            self._sum(layer, error, trained)
        elif not (isinstance(layer, Softmax) and not self.workload.consumers[layer.name]):
            for source in dict.fromkeys(trained):
                kind, fields = self._way_back(layer)
                self._back(kind, layer, error, source, "digital", **fields)

    def _way_back(self, layer: Layer) -> tuple[type[Layer], dict[str, str]]:
        """Return the kind of layer that turns the error of a digital layer into that of its input, and its fields."""
        match layer:
            case Slice():
                return Elementwise, {"function": "pad"}
            case Concat(axis="channel") | Elementwise(function="pad"):
                return Slice, {}
            case Reshape():
                return Reshape, {}
            case Pool() | GlobalPool():
                return Elementwise, {"function": "expand"}
            case Normalisation(function=function):
                return Normalisation, {"function": function}
            case Activation(function=function) | Elementwise(function=function, inputs=(_,)):
                if layer.elements == self.workload.by_name[layer.inputs[0]].elements:
                    return Activation, {"function": f"derivative of {function}"}
        raise self._unknown(layer)

    def _sum(self, layer: Elementwise, error: str, trained: list[str]) -> None:
        if any(self.workload.by_name[source].elements != layer.elements for source in trained):
            raise self._unknown(layer)
        for source in trained:
            self.arrived[source].append(error)

    def _gradient(self, layer: WeightedLayer, error: str) -> None:
        product = Elementwise(
            name=f"gradient of {layer.name}",
            inputs=(layer.inputs[0], error),
            input_quant=self.quant,
            output_shape=(layer.rows * layer.channels,),
            function="outer",
        )
        self.gradients.append(Gradient(product, layer, "outer"))

    def _unknown(self, layer: Layer) -> ImcsimError:
        function = f" '{layer.function}'" if isinstance(layer, Elementwise) else ""
        problem = f"the way back through a layer of kind {layer.kind}{function} is not known"
        return ImcsimError(f"{self.workload.name}: layer '{layer.name}'", problem, HINT)


def _joined(gradients: list[Gradient]) -> list[Gradient]:
    """Join derivatives to what makes the error that only they read; not so behind a view or a loss."""
    readers: dict[str, list[Gradient]] = defaultdict(list)
    for gradient in gradients:
        for name in gradient.layer.inputs:
            readers[name].append(gradient)
    result: list[Gradient] = []
    gone: set[str] = set()
    for gradient in gradients:
        chain: list[Layer] = []
        last = gradient.layer
        hosts = gradient.role in ("transposed", "digital") and not isinstance(last, Slice | Reshape)
        while hosts and len(readers[last.name]) == 1 and _is_derivative(readers[last.name][0].layer):
            last = readers[last.name][0].layer
            chain.append(last)
        if gradient.layer.name not in gone:
            result.append(Gradient(gradient.layer, gradient.of, gradient.role, tuple(chain)))
            gone.update(layer.name for layer in chain)
    return result


def _is_derivative(layer: Layer) -> bool:
    return isinstance(layer, Activation | Normalisation)
