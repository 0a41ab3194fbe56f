"""Run a quantised ONNX network as a differentiable function of its images and of the weights of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from imcsim.training.basis.operators import OPERATORS, conv, why_not
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised.onnx_graph import load_onnx

HINT = "train a network of convolutions, pooling and additions, as imcsim quantize writes it"
Values = dict[str, Any]


class Weights(NamedTuple):
    """Replace the weights of a layer by (groups * channels, *rows) in ``groups``, of which ``channels`` count."""

    weight: Tensor
    bias: Tensor
    groups: int
    channels: int


def load_differentiable(path: str | Path) -> DifferentiableNetwork:
    """Load a QDQ model from an ONNX file. Raises ImcsimError where it is none, or cannot be trained through."""
    if Path(path).suffix != ".onnx":
        raise ImcsimError(str(path), "is no ONNX file, which is what a training needs", HINT)
    return DifferentiableNetwork(load_onnx(path), str(path))


class DifferentiableNetwork:
    """Compute the scores of a QDQ model.

    Rounding and saturation of activations are included; their gradient goes straight through. Raises ImcsimError for
    operators that cannot be trained through.
    """

    def __init__(self, model: ModelProto, where: str) -> None:
        """Prepare a model; ``where`` stands for the file in errors."""
        graph, self.where = model.graph, where
        self.constants: Values = {item.name: _tensor(numpy_helper.to_array(item)) for item in graph.initializer}
        entry = next(item for item in graph.input if item.name not in self.constants)
        if entry.type.tensor_type.elem_type != TensorProto.FLOAT:
            raise ImcsimError(self.where, "its images are integers, through which no gradient passes", HINT)
        self.input, self.output = entry.name, graph.output[0].name
        self.nodes = self._folded([_Node(node) for node in graph.node])
        self.output = self._before_softmax()

    def _folded(self, nodes: list[_Node]) -> list[_Node]:
        """Return the nodes that depend on images; what does not becomes a constant."""
        left = []
        for node in nodes:
            if node.kind == "Constant":
                self.constants[node.gives] = _tensor(numpy_helper.to_array(node.attributes["value"]))
            elif problem := why_not(node.kind, len(node.reads), node.attributes):
                raise ImcsimError(f"{self.where}: node '{node.name}' ({node.kind})", problem, HINT)
            elif all(name in self.constants for name in node.reads if name):
                self.constants[node.gives] = node.run(self.constants)
            else:
                left.append(node)
        return left

    def _before_softmax(self) -> str:
        """Return the tensor of the scores: a softmax in the end would be one too many, for the loss takes its own."""
        makers: dict[str, _Node] = {node.gives: node for node in self.nodes}
        at: str = self.output
        while at in makers and makers[at].kind in ("QuantizeLinear", "DequantizeLinear", "Identity"):
            at = makers[at].reads[0]
        last = makers.get(at)
        return last.reads[0] if last and last.kind == "Softmax" else str(self.output)

    def __call__(self, images: Tensor, replaced: Mapping[str, Weights]) -> Tensor:
        """Return (images, classes) scores, with other weights for the layers that are ``replaced``."""
        values: Values = {self.input: images, **self.constants}
        for node in self.nodes:
            weights = replaced.get(node.name)
            values[node.gives] = node.run(values) if weights is None else node.run_with(values[node.reads[0]], weights)
        scores: Tensor = values[self.output]
        return scores.flatten(1)


class _Node:
    def __init__(self, node: NodeProto) -> None:
        self.kind: str = node.op_type
        self.reads: list[str] = list(node.input)
        self.gives: str = node.output[0]
        self.name: str = node.name or self.gives
        self.attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}

    def run(self, values: Values) -> Tensor:
        return OPERATORS[self.kind]([values[name] if name else None for name in self.reads], self.attributes)

    def run_with(self, x: Tensor, weights: Weights) -> Tensor:
        """Run the node with other weights; groups that share a segment are one group of these."""
        if self.kind != "Conv":
            return functional.linear(x, weights.weight[: weights.channels], weights.bias)
        missing = weights.groups * weights.weight.shape[1] - x.shape[1]
        x = functional.pad(x, [0, 0] * (x.ndim - 2) + [0, missing]) if missing else x
        y = conv(x, weights.weight, None, self.attributes, weights.groups)
        return y[:, : weights.channels] + weights.bias.reshape(-1, *(1,) * (y.ndim - 2))


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.array(array))
