"""Find the weighted layers of a quantised ONNX model: QDQ (float operators between DequantizeLinear) and QLinear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised.graph import Site
from imcsim.workload.quantised.layers import Format, IntegerLayer, Integers, Sliding

Array = NDArray[Any]
WEIGHTED = ("Conv", "Gemm", "MatMul")
QLINEAR = ("QLinearConv", "QLinearMatMul")
HINT = "quantise it first: imcsim quantize MODEL.onnx --data IMAGES -o INT8.onnx"


class OnnxReader:
    """Find the weighted layers of a model in execution order. Raises ImcsimError naming the node."""

    def __init__(self, model: ModelProto, where: str) -> None:
        self.where, self.nodes = where, list(model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def sites(self) -> list[Site]:
        """Return all weighted layers; a model without any is refused."""
        sites = [self._qlinear(node) for node in self.nodes if node.op_type in QLINEAR]
        sites += [self._qdq(node) for node in self.nodes if node.op_type in WEIGHTED and self._has_weights(node)]
        if not sites:
            raise ImcsimError(self.where, "the model has no layer with weights", "give a network with Conv or Gemm")
        place = {name: number for number, node in enumerate(self.nodes) for name in node.output}
        return sorted(sites, key=lambda site: place[site.gives])

    # -- QDQ -------------------------------------------------------------------------------------------------------

    def _has_weights(self, node: NodeProto) -> bool:
        return node.input[1] in self.constants or self._dequantises_constant(node.input[1])

    def _dequantises_constant(self, tensor: str) -> bool:
        maker = self.makers.get(tensor)
        return maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in self.constants

    def _qdq(self, node: NodeProto) -> Site:
        source, weight = self.makers.get(node.input[0]), self.makers.get(node.input[1])
        if source is None or source.op_type != "DequantizeLinear" or not self._dequantises_constant(node.input[1]):
            raise self._error(node, "its input or weights are not quantised", HINT)
        assert weight is not None
        fmt = self._format(source.input[1:])
        stored, scale, zero = self._weights(node, [weight.input[0], *weight.input[1:]])
        result, gives, floor = self._behind(node)
        bias = self._bias(node, 2, fmt.scale * scale)
        layer = self._layer(node, stored - zero, bias, fmt, scale, result, floor)
        return Site(layer, source.input[0], gives)

    def _behind(self, node: NodeProto) -> tuple[Format | None, str, int | None]:
        """Return the format behind a layer, the tensor that holds it, and the least value behind a Relu, if any."""
        readers = self._readers(node.output[0])
        relu = len(readers) == 1 and readers[0].op_type == "Relu"
        last = readers[0].output[0] if relu else node.output[0]
        behind = self._readers(last)
        if len(behind) != 1 or behind[0].op_type != "QuantizeLinear":
            if relu:
                raise self._error(node, "its Relu is not quantised", HINT)
            return None, node.output[0], None
        fmt = self._format(behind[0].input[1:])
        return fmt, behind[0].output[0], fmt.zero if relu else None

    def _readers(self, tensor: str) -> list[NodeProto]:
        return [node for node in self.nodes if tensor in node.input]

    # -- QLinear ---------------------------------------------------------------------------------------------------

    def _qlinear(self, node: NodeProto) -> Site:
        fmt, out = self._format(node.input[1:3]), self._format(node.input[6:8])
        stored, scale, zero = self._weights(node, list(node.input[3:6]))
        layer = self._layer(node, stored - zero, self._bias(node, 8, fmt.scale * scale), fmt, scale, out, None)
        return Site(layer, node.input[0], node.output[0])

    # -- parts -----------------------------------------------------------------------------------------------------

    def _layer(
        self,
        node: NodeProto,
        weights: Integers,
        bias: Integers,
        fmt: Format,
        scale: Array,
        out: Format | None,
        floor: int | None,
    ) -> IntegerLayer:
        channels = len(weights)
        scales = np.broadcast_to(np.float32(fmt.scale) * scale.astype(np.float32), channels)
        sliding = _sliding(node, weights.shape[2:]) if weights.ndim > 2 else None
        groups = int(_attributes(node).get("group", 1))
        wide = np.broadcast_to(bias, channels).astype(np.int64)
        flat = weights.reshape(channels, -1)
        return IntegerLayer(node.name or node.output[0], flat, wide, groups, fmt, scales, out, floor, sliding)

    def _weights(self, node: NodeProto, names: list[str]) -> tuple[Integers, Array, Array]:
        """Return (channels, ...) integers, their scale per channel or (1,), and their zero point shaped to subtract."""
        stored, scale = self._constant(node, names[0]).astype(np.int64), np.ravel(self._constant(node, names[1]))
        zero = np.ravel(self._constant(node, names[2])).astype(np.int64) if len(names) > 2 else np.zeros(1, np.int64)
        if node.op_type in ("MatMul", "QLinearMatMul") or (
            node.op_type == "Gemm" and not _attributes(node).get("transB", 0)
        ):
            stored = stored.T
        return stored, scale, zero.reshape(-1, *(1,) * (stored.ndim - 1))

    def _bias(self, node: NodeProto, index: int, unit: Array) -> Integers:
        """Return the bias in units of the sums; a float one is rounded to them, as the library does when it fuses."""
        if len(node.input) <= index or not node.input[index]:
            return np.zeros(1, np.int64)
        name = node.input[index]
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            return self._constant(node, maker.input[0]).astype(np.int64)
        values = self._constant(node, name)
        if np.issubdtype(values.dtype, np.integer):
            return values.astype(np.int64)
        return np.rint(values / unit).astype(np.int64)

    def _format(self, names: Any) -> Format:
        scale = self.constants.get(names[0])
        zero = self.constants.get(names[1]) if len(names) > 1 else np.zeros((), np.uint8)
        if scale is None or zero is None or scale.size != 1:
            raise ImcsimError(f"{self.where}: tensor '{names[0]}'", "activations need one constant scale", HINT)
        return Format(float(scale.ravel()[0]), int(zero.ravel()[0]), zero.dtype)

    def _constant(self, node: NodeProto, name: str) -> Array:
        if name not in self.constants:
            raise self._error(node, f"'{name}' must be a constant", HINT)
        return self.constants[name]

    def _error(self, node: NodeProto, problem: str, hint: str) -> ImcsimError:
        return ImcsimError(f"{self.where}: node '{node.name or node.output[0]}' ({node.op_type})", problem, hint)


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _sliding(node: NodeProto, kernel: tuple[int, ...]) -> Sliding:
    options, n = _attributes(node), len(kernel)
    ones, none = (1,) * n, (0,) * (2 * n)
    return Sliding(
        kernel,
        tuple(options.get("strides", ones)),
        tuple(options.get("dilations", ones)),
        tuple(options.get("pads", none)),
    )
