"""Say in the operator table of the importer which layer each ONNX operator becomes.

A handler takes the converter and a node, and binds the node's outputs to values. To understand a further operator,
add a handler and its row in TABLE.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from imcsim.workload.importers.onnx_constants import Array, bits_of, quantisation
from imcsim.workload.importers.onnx_layout import concat, gather, pad, part, rearrange, reshape, resize, transpose
from imcsim.workload.importers.onnx_values import Axes, Handler, OnnxLayerCollector, TracedTensor, attributes
from imcsim.workload.importers.onnx_weighted import convolution, gemm, matmul, window_of
from imcsim.workload.workload import (
    Activation,
    Elementwise,
    GlobalPool,
    LayerBase,
    Normalisation,
    Pool,
    Reduce,
    Softmax,
)


def alias(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Drop the node: its output is its input."""
    value = converter.dynamic(node)[0]
    converter.bind(node, replace(value, foldable=_can_fold(converter, node, value)))


def quantize(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Drop QuantizeLinear and what follows it; the bits stay with the value."""
    value = converter.dynamic(node)[0]
    zero_point = converter.const(node, 2)
    element = np.uint8 if zero_point is None else zero_point.dtype
    scale = converter.const(node, 1)
    quant = quantisation(bits_of(element), np.ones(()) if scale is None else scale, zero_point)
    converter.bind(node, replace(value, quant=quant, foldable=False))


def dequantize(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Give integers that come from outside or from no QuantizeLinear the bits of their own type."""
    value = converter.dynamic(node)[0]
    if value.quant is None and converter.const(node, 1) is not None:
        element = helper.tensor_dtype_to_np_dtype(converter.graph.types[node.input[0]].tensor_type.elem_type)
        if bits_of(element) <= 16:  # wider ones are sums, not operands
            scale = converter.needed_const(node, 1)
            value = replace(value, quant=quantisation(bits_of(element), scale, converter.const(node, 2)))
    converter.bind(node, value)


def brevitas(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Drop Quant and BipolarQuant; their bits stay with the value."""
    bits = 1 if node.op_type == "BipolarQuant" else int(converter.needed_const(node, 3))
    zero_point = None if node.op_type == "BipolarQuant" else converter.const(node, 2)
    quant = quantisation(bits, converter.needed_const(node, 1), zero_point)
    converter.bind(node, replace(converter.dynamic(node)[0], quant=quant, foldable=False))


def same_shape(cls: type[LayerBase], function: str = "") -> Handler:
    """Add one layer that keeps the layout of its input: activations, softmax, normalisations."""

    def handler(converter: OnnxLayerCollector, node: NodeProto) -> None:
        value = converter.dynamic(node)[0]
        fields: dict[str, Any] = {"function": function} if function else {}
        converter.emit(node, cls, [value], value.channels, **fields)

    return handler


def batch_norm(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Fold it into the convolution before it where that is possible, else add a normalisation layer."""
    scale, bias, mean, variance = (converter.needed_const(node, i).astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
    shift = bias - mean * factor
    value = converter.dynamic(node)[0]
    if not _can_fold(converter, node, value) or value.channels != (1,):
        value = converter.with_channels(node, value, (1,))
        emitted = converter.emit(node, Normalisation, [value], (1,), function="batch")
        converter.affine[emitted.layer] = (np.ones(len(factor)), np.zeros(len(factor)))
        value = replace(emitted, foldable=True)
    converter.scale_and_shift(node, value, factor, shift)


def _can_fold(converter: OnnxLayerCollector, node: NodeProto, value: TracedTensor) -> bool:
    tensor = next(name for name in node.input if name in converter.values)
    return value.foldable and len(converter.graph.readers(tensor)) == 1 and tensor not in converter.graph.outputs


def arithmetic(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Fold Add, Sub, Mul, Div where they scale or shift channels by a constant, else add an element-wise layer."""
    sources = converter.dynamic(node)
    if len(sources) == 1 and len(node.input) == 2:
        constant = converter.const(node, 0 if node.input[1] in converter.values else 1)
        constant_first = node.input[1] in converter.values
        if constant is not None and not (constant_first and node.op_type in ("Sub", "Div")):
            numbers = converter.per_channel(constant, sources[0], converter.graph.shape(node.output[0]))
            if numbers is not None and _can_fold(converter, node, sources[0]):
                converter.scale_and_shift(node, sources[0], *_affine(node.op_type, numbers))
                return
    elementwise(converter, node)


def _affine(op_type: str, numbers: Array) -> tuple[Array, Array]:
    one, zero = np.ones_like(numbers), np.zeros_like(numbers)
    return {"Add": (one, numbers), "Sub": (one, -numbers), "Mul": (numbers, zero), "Div": (1 / numbers, zero)}[op_type]


def elementwise(converter: OnnxLayerCollector, node: NodeProto, function: str = "") -> None:
    """Add any operation between tensors; the largest operand gives the layout."""
    sources = converter.dynamic(node)
    largest = max(sources, key=lambda value: np.prod(value.shape))
    offset = len(converter.graph.shape(node.output[0])) - len(largest.shape)
    channels = tuple(axis + offset for axis in largest.channels)
    sources = [
        converter.with_channels(node, value, channels) if value.shape == largest.shape and offset == 0 else value
        for value in sources
    ]
    name = function or {"Sum": "add"}.get(node.op_type, node.op_type.lower())
    converter.emit(node, Elementwise, sources, channels, function=name)


def pool(mode: str) -> Handler:
    """Return the handler of poolings over a window."""

    def handler(converter: OnnxLayerCollector, node: NodeProto) -> None:
        value = converter.with_channels(node, converter.dynamic(node)[0], (1,))
        converter.emit(node, Pool, [value], (1,), mode=mode, window=window_of(converter, node, value))

    return handler


def global_pool(mode: str) -> Handler:
    """Return the handler of poolings over all positions."""

    def handler(converter: OnnxLayerCollector, node: NodeProto) -> None:
        value = converter.with_channels(node, converter.dynamic(node)[0], (1,))
        converter.emit(node, GlobalPool, [value], (1,), mode=mode)

    return handler


def reduce(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a global pooling for a mean or maximum over all positions, a layer of its own for any other reduction."""
    value = converter.dynamic(node)[0]
    options = attributes(node)
    listed = converter.const(node, 1)
    axes = options.get("axes", listed.tolist() if listed is not None else None)
    rank = len(value.shape)
    reduced = {axis % rank for axis in (range(rank) if axes is None else np.atleast_1d(axes).tolist())}
    channels = _kept_axes(value.channels, reduced, bool(options.get("keepdims", 1)))
    mode = {"ReduceMean": "avg", "ReduceMax": "max"}.get(node.op_type)
    if mode and set(value.positions) <= reduced and not reduced & set(value.channels):
        converter.emit(node, GlobalPool, [value], channels, mode=mode)
    else:
        converter.emit(node, Reduce, [value], channels, function=node.op_type.removeprefix("Reduce").lower())


def _kept_axes(channels: Axes, removed: set[int], keep: bool) -> Axes:
    if keep:
        return channels
    return tuple(axis - sum(other < axis for other in removed) for axis in channels if axis not in removed)


ACTIVATIONS = (
    "Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "Tanh", "Gelu",
    "Erf", "Softplus", "Softsign", "HardSwish", "Swish", "Mish", "Clip", "Exp", "Log", "Sqrt", "Reciprocal", "Abs",
    "Neg", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Not", "FastGelu", "QuickGelu",
)  # fmt: skip
BINARIES = (
    "Sum", "Mean", "Max", "Min", "Pow", "Mod", "Where", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
    "And", "Or", "Xor",
)  # fmt: skip
NORMALISATIONS = {
    "LRN": "local_response",
    "LayerNormalization": "layer",
    "InstanceNormalization": "instance",
    "GroupNormalization": "group",
    "RMSNormalization": "rms",
    "SimplifiedLayerNormalization": "rms",
    "LpNormalization": "lp",
    "MeanVarianceNormalization": "mean_variance",
}
REDUCTIONS = (
    "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSumExp", "ArgMax", "ArgMin",
)  # fmt: skip

TABLE: dict[str, Handler] = {
    **{op: same_shape(Activation, op.lower()) for op in ACTIVATIONS},
    **dict.fromkeys(BINARIES, elementwise),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), arithmetic),
    **{op: same_shape(Normalisation, function) for op, function in NORMALISATIONS.items()},
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys(("Identity", "Dropout", "Cast", "CastLike"), alias),
    **{op: same_shape(Softmax) for op in ("Softmax", "LogSoftmax", "Hardmax")},
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshape),
    **dict.fromkeys(("Slice", "Split"), part),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND"), gather),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), rearrange),
    **dict.fromkeys(("Quant", "IntQuant", "BipolarQuant"), brevitas),
    "BatchNormalization": batch_norm,
    "Concat": concat,
    "Conv": convolution,
    "DequantizeLinear": dequantize,
    "Expand": resize("expand"),
    "Gemm": gemm,
    "GlobalAveragePool": global_pool("avg"),
    "GlobalMaxPool": global_pool("max"),
    "AveragePool": pool("avg"),
    "MaxPool": pool("max"),
    "MatMul": matmul,
    "Pad": pad,
    "QuantizeLinear": quantize,
    "Resize": resize("resize"),
    "Tile": resize("expand"),
    "Transpose": transpose,
    "Upsample": resize("resize"),
}
