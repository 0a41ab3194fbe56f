"""Map ONNX tensors to channels and positions, and collect the layers of a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers.onnx_constants import Array
from imcsim.workload.importers.onnx_graph import ImportedGraph, Shape, unique_names
from imcsim.workload.workload import Input, LayerBase, Quantisation, Reshape

Axes = tuple[int, ...]
SPATIAL_OPS = ("Conv", "MaxPool", "AveragePool", "BatchNormalization", "InstanceNormalization")


@dataclass(frozen=True)
class TracedTensor:
    """Describe an activation: the layer that gives it, its ONNX shape, and which of its axes are channels."""

    layer: str
    shape: Shape  # with the batch
    channels: Axes
    quant: Quantisation | None = None  # set behind QuantizeLinear
    pad: tuple[int, ...] = ()  # spatial zero padding (begins, ends) that the next convolution takes over
    foldable: bool = False  # straight from a layer that can take a scale and a shift per channel

    @property
    def positions(self) -> Axes:
        """Return the axes that are neither channels nor a batch of 1; idle axes stay where windows count on them."""
        axes = [a for a in range(len(self.shape)) if a not in self.channels and (a > 0 or self.shape[0] > 1)]
        if self.channels == (1,) and len(self.shape) > 2:
            return tuple(axes)
        return tuple(a for a in axes if self.shape[a] > 1) or tuple(axes[:1])

    @property
    def trace_shape(self) -> Shape:
        """Return the shape as the trace has it, channels first and without the batch."""
        return (prod(self.shape[a] for a in self.channels), *(self.shape[a] for a in self.positions))


def default_channels(rank: int) -> Axes:
    """Return the channel axes of (features,), (batch, features), (batch, tokens, features), (batch, channels, ...)."""
    return () if rank == 0 else ((0, 1, 2)[rank - 1],) if rank <= 3 else (1,)


def reshaped_channels(old: Shape, new: Shape, channels: Axes) -> Axes:
    """Return the channel axes after a reshape: axes are split and merged; mixed ones give that rank's usual layout."""
    result: list[int] = []
    mixed = len(new) <= 2
    for old_axes, new_axes in _groups(old, new):
        flags = {axis in channels for axis in old_axes if old[axis] > 1}
        mixed |= len(flags) == 2
        if flags == {True}:
            result += new_axes
    return tuple(result) if result and not mixed else default_channels(len(new))


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Return the shortest runs of axes on both sides that hold as many elements; axes of size 1 are left out."""
    left = [axis for axis, size in enumerate(old) if size > 1]
    right = [axis for axis, size in enumerate(new) if size > 1]
    groups = []
    while left or right:
        a, b = [left.pop(0)], [right.pop(0)]
        while prod(old[i] for i in a) != prod(new[i] for i in b):
            smaller = prod(old[i] for i in a) < prod(new[i] for i in b)
            (a if smaller else b).append((left if smaller else right).pop(0))
        groups.append((a, b))
    return groups


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


class OnnxLayerCollector:
    """Collect layers while the nodes of a graph are walked in execution order."""

    def __init__(self, graph: ImportedGraph, input_bits: int, weight_bits: int) -> None:
        self.graph, self.weight_bits = graph, weight_bits
        self.default_quant = Quantisation(bits=input_bits)
        self.layers: dict[str, LayerBase] = {}
        self.values: dict[str, TracedTensor] = {}
        self.weights: dict[str, Array] = {}  # as (channels, rows)
        self.affine: dict[str, tuple[Array, Array]] = {}  # scale and shift per channel behind a layer
        self._good_names = unique_names(graph.nodes)
        for name in graph.inputs:
            self.add_input(name, name)

    # tensors

    def const(self, node: NodeProto, index: int) -> Array | None:
        """Return a constant operand, or nothing where it is absent or an activation."""
        name = node.input[index] if index < len(node.input) else ""
        return self.graph.constants[name].array if name in self.graph.constants else None

    def dynamic(self, node: NodeProto) -> list[TracedTensor]:
        """Return the operands that are activations."""
        return [self.values[name] for name in node.input if name in self.values]

    def needed_const(self, node: NodeProto, index: int) -> Array:
        """Return a constant operand. Raises ImcsimError where it is absent or an activation."""
        array = self.const(node, index)
        if array is None:
            raise self.error(node, f"its input {index} must be a constant", "simplify the model first")
        return array

    def bind(self, node: NodeProto, value: TracedTensor, index: int = 0) -> None:
        """Let an output of a node stand for a value."""
        self.values[node.output[index]] = value

    # layers

    def name(self, node: NodeProto, kind: str) -> str:
        """Return the node's own name where it is good, else the kind and a number."""
        if node.name in self._good_names and node.name not in self.layers:
            return node.name
        return self.fresh(f"{kind}_{len(self.layers)}")

    def fresh(self, wanted: str) -> str:
        """Return the wanted name, with a number where another layer has it."""
        name, count = wanted, 1
        while name in self.layers:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def add(self, layer: LayerBase) -> str:
        """Add a layer and return its name."""
        self.layers[layer.name] = layer
        return layer.name

    def add_input(self, tensor: str, wanted: str) -> TracedTensor:
        """Add a tensor from outside as a layer: an input of the model, or a constant that is no weight."""
        shape = self.graph.shape(tensor)
        convs = any(node.op_type in SPATIAL_OPS and node.input[0] == tensor for node in self.graph.readers(tensor))
        channels = (1,) if convs and len(shape) > 1 else default_channels(len(shape))
        value = TracedTensor("", shape, channels)
        layer = Input(
            name=self.fresh(wanted), inputs=(), output_shape=value.trace_shape, input_quant=self.default_quant
        )
        self.values[tensor] = replace(value, layer=self.add(layer))
        return self.values[tensor]

    def emit(
        self,
        node: NodeProto,
        cls: type[LayerBase],
        sources: list[TracedTensor],
        channels: Axes,
        *,
        index: int = 0,
        **fields: Any,
    ) -> TracedTensor:
        """Add a layer for one output of a node, with the output's shape and the bits of its first operand."""
        shape = self.graph.shape(node.output[index])
        value = TracedTensor("", shape, channels or default_channels(len(shape)))
        name = self.name(node, cls.model_fields["kind"].default)
        name = self.fresh(f"{node.name or name}/{index}") if index or self._used_outputs(node) > 1 else name
        layer = cls(
            name=name,
            inputs=tuple(source.layer for source in sources),
            output_shape=value.trace_shape,
            input_quant=sources[0].quant or self.default_quant,
            **fields,
        )
        self.values[node.output[index]] = replace(value, layer=self.add(layer))
        return self.values[node.output[index]]

    def _used_outputs(self, node: NodeProto) -> int:
        return sum(bool(self.graph.readers(name)) or name in self.graph.outputs for name in node.output if name)

    def with_channels(self, node: NodeProto, value: TracedTensor, channels: Axes) -> TracedTensor:
        """Return the value in another layout; where that moves data, a reshape layer stands for it."""
        wanted = replace(value, channels=channels)
        if wanted.trace_shape == value.trace_shape:
            return wanted
        name = self.fresh(f"{node.name or node.output[0]}/layout")
        quant = value.quant or self.default_quant
        self.add(Reshape(name=name, inputs=(value.layer,), output_shape=wanted.trace_shape, input_quant=quant))
        return replace(wanted, layer=name, foldable=False)

    def error(self, node: NodeProto, problem: str, suggestion: str = "") -> ImcsimError:
        """Return an error that names the file and the node."""
        return ImcsimError(
            f"{self.graph.where}: node '{node.name or node.output[0]}' ({node.op_type})", problem, suggestion
        )

    # what follows a layer and disappears in it

    def scale_and_shift(self, node: NodeProto, value: TracedTensor, scale: Array, shift: Array) -> None:
        """Fold y = scale * x + shift, per channel, into the layer that gives ``value``."""
        old_scale, old_shift = self.affine[value.layer]
        self.affine[value.layer] = (old_scale * scale, old_shift * scale + shift)
        self.bind(node, value)

    def per_channel(self, array: Array, value: TracedTensor, shape: Shape) -> Array | None:
        """Return a constant as one number per channel of ``value``, or nothing where it varies otherwise."""
        if shape != value.shape or array.ndim > len(shape):
            return None
        sizes = (1,) * (len(shape) - array.ndim) + array.shape
        if any(size > 1 and axis not in value.channels for axis, size in enumerate(sizes)):
            return None
        kept = [size if axis in value.channels else 1 for axis, size in enumerate(shape)]
        return np.ravel(np.broadcast_to(array.reshape(sizes), kept)).astype(np.float64)


Handler = Callable[[OnnxLayerCollector, NodeProto], None]
