"""Import convolutions, fully connected layers and products of activations from ONNX nodes."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto

from imcsim.workload.importers.onnx_constants import Array
from imcsim.workload.importers.onnx_values import OnnxLayerCollector, TracedTensor, attributes
from imcsim.workload.workload import Conv, Linear, MatMul, Quantisation, Window


def convolution(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a convolution with constant weights (channels, channels / groups, *kernel)."""
    source = converter.values[node.input[0]]
    value = converter.with_channels(node, replace(source, pad=()), (1,))
    weights = converter.needed_const(node, 1)
    window = window_of(converter, node, replace(value, pad=source.pad), weights.shape[2:])
    options = attributes(node)
    result = converter.emit(
        node,
        Conv,
        [value],
        (1,),
        window=window,
        groups=options.get("group", 1),
        in_channels=value.shape[1],
        weight_quant=_weight_quant(converter, node.input[1]),
    )
    stored = converter.graph.constants[node.input[1]].stored
    _finish(converter, node, result, stored, converter.const(node, 2))


def window_of(
    converter: OnnxLayerCollector, node: NodeProto, value: TracedTensor, kernel: tuple[int, ...] = ()
) -> Window:
    """Return the window of a convolution or pooling, auto_pad and a merged Pad made explicit."""
    options = attributes(node)
    kernel = tuple(options.get("kernel_shape", kernel))
    n = len(kernel)
    if n not in (1, 2):
        raise converter.error(node, f"its window has {n} dimensions", "1-D and 2-D windows are supported")
    if value.shape[0] != 1:
        raise converter.error(node, f"the model has a fixed batch of {value.shape[0]}", "export it with batch 1")
    stride = tuple(options.get("strides", (1,) * n))
    dilation = tuple(options.get("dilations", (1,) * n))
    padding = tuple(options.get("pads", (0,) * 2 * n))
    mode = options.get("auto_pad", b"NOTSET").decode()
    if mode.startswith("SAME"):
        padding = _same_padding(value.shape[2:], kernel, stride, dilation, upper=mode == "SAME_UPPER")
    elif mode == "VALID":
        padding = (0,) * 2 * n
    if value.pad:
        padding = tuple(a + b for a, b in zip(padding, value.pad, strict=True))
    return Window(
        kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=bool(options.get("ceil_mode", 0))
    )


def _same_padding(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], *, upper: bool
) -> tuple[int, ...]:
    """Pad as auto_pad SAME does: as many positions as strides, the odd pixel at the end (upper) or the beginning."""
    begins, ends = [], []
    for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max(0, (-(-length // s) - 1) * s + d * (k - 1) + 1 - length)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return (*begins, *ends)


def gemm(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a fully connected layer, or a product of two activations."""
    options = attributes(node)
    if node.input[1] not in converter.graph.constants or node.input[0] not in converter.values:
        matmul(converter, node)
        return
    value = converter.with_channels(node, converter.values[node.input[0]], (0,) if options.get("transA", 0) else (1,))
    stored = converter.graph.constants[node.input[1]].stored
    stored = stored if options.get("transB", 0) else stored.T
    bias = converter.const(node, 2)
    bias = None if bias is None else bias * options.get("beta", 1.0)
    _linear(converter, node, value, stored, bias, (1,), node.input[1], options.get("alpha", 1.0))


def matmul(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a fully connected layer where one operand is a constant matrix, else a product of two activations."""
    constants = converter.graph.constants
    for index in (1, 0):
        if node.input[index] not in constants:
            continue
        stored = constants[node.input[index]].stored
        value = converter.values[node.input[1 - index]]
        rank, out_rank = len(value.shape), len(converter.graph.shape(node.output[0]))
        if stored.ndim < 2 or prod(stored.shape[:-2]) != 1 or rank < 2:
            problem = f"operands of shapes {value.shape} and {stored.shape} (constant) are no layer with one matrix"
            raise converter.error(node, problem, "split it into MatMuls with one matrix each")
        stored = stored.reshape(stored.shape[-2:])
        value = converter.with_channels(node, value, (rank - 1 if index else rank - 2,))
        out_axis = out_rank - 1 if index else out_rank - 2
        _linear(converter, node, value, stored.T if index else stored, None, (out_axis,), node.input[index])
        return
    _product(converter, node)


def _linear(
    converter: OnnxLayerCollector,
    node: NodeProto,
    value: TracedTensor,
    weights: Array,
    bias: Array | None,
    channels: tuple[int, ...],
    tensor: str,
    alpha: float = 1.0,
) -> None:
    """Add a fully connected layer of ``weights`` (channels, rows)."""
    result = converter.emit(
        node, Linear, [value], channels, in_channels=weights.shape[1], weight_quant=_weight_quant(converter, tensor)
    )
    _finish(converter, node, result, weights, bias, alpha)


def _product(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add ``heads`` products at once: the axes before the last two of the output, batch of 1 included."""
    sources = [converter.values[name] for name in node.input[:2]]
    if any(len(source.shape) < 2 for source in sources):
        raise converter.error(node, "a product with a vector is no layer", "give both operands two dimensions")
    shape = converter.graph.shape(node.output[0])
    options = attributes(node)
    inner = sources[0].shape[0 if options.get("transA") else -1]
    channels = (*range(1 if shape[0] == 1 and len(shape) > 2 else 0, len(shape) - 2), len(shape) - 1)
    converter.emit(node, MatMul, sources, channels, heads=prod(shape[:-2]), inner=inner)


def _weight_quant(converter: OnnxLayerCollector, tensor: str) -> Quantisation:
    return converter.graph.constants[tensor].quant or Quantisation(bits=converter.weight_bits)


def _finish(
    converter: OnnxLayerCollector,
    node: NodeProto,
    result: TracedTensor,
    weights: Array,
    bias: Array | None,
    scale: float = 1.0,
) -> None:
    """Remember weights (channels, rows) and bias, and let scales and shifts behind the layer join them."""
    n = weights.shape[0]
    converter.weights[result.layer] = weights
    shift = np.zeros(n) if bias is None else np.broadcast_to(np.ravel(bias), n).astype(np.float64)
    converter.affine[result.layer] = (np.full(n, scale), shift)
    converter.bind(node, replace(result, foldable=True))
