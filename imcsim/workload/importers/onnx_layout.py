"""Import operators that move, select or copy elements and compute nothing: layout, parts, padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import NodeProto

from imcsim.workload.importers.onnx_constants import Array
from imcsim.workload.importers.onnx_values import (
    Handler,
    OnnxLayerCollector,
    attributes,
    default_channels,
    reshaped_channels,
)
from imcsim.workload.workload import Concat, Elementwise, Reshape, Slice


def concat(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Put tensors side by side; constants among the operands (a class token) come from outside, as inputs do."""
    for tensor in node.input:
        if tensor not in converter.values:
            converter.add_input(tensor, tensor)
    sources = converter.dynamic(node)
    channels = sources[0].channels
    sources = [converter.with_channels(node, value, channels) for value in sources]
    axis = attributes(node)["axis"] % len(sources[0].shape)
    converter.emit(node, Concat, sources, channels, axis="channel" if axis in channels else "position")


def reshape(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Import Reshape, Flatten, Squeeze, Unsqueeze: they are nothing where channels and positions stay what they are."""
    value = converter.dynamic(node)[0]
    shape = converter.graph.shape(node.output[0])
    channels = reshaped_channels(value.shape, shape, value.channels)
    after = replace(value, shape=shape, channels=channels, foldable=False)
    # the layer keeps its own shape, so a vanishing reshape may merge positions, but not split them again
    flat = len(after.trace_shape) <= 2 and after.trace_shape[0] == converter.layers[value.layer].channels
    if flat or after.trace_shape == converter.layers[value.layer].output_shape:
        converter.bind(node, after)
    else:
        converter.emit(node, Reshape, [value], channels)


def transpose(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a reshape layer where channels or positions change their order, else nothing."""
    value = converter.dynamic(node)[0]
    order = list(attributes(node).get("perm", range(len(value.shape))[::-1]))
    channels = tuple(i for i, axis in enumerate(order) if axis in value.channels)
    after = replace(value, shape=converter.graph.shape(node.output[0]), channels=channels, foldable=False)
    moved = [[order[i] for i in axes if after.shape[i] > 1] for axes in (after.channels, after.positions)]
    if after.trace_shape == value.trace_shape and all(axes == sorted(axes) for axes in moved):
        converter.bind(node, after)
    else:
        converter.emit(node, Reshape, [value], channels)


def part(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a layer per output of a Slice or Split that differs from the input."""
    value = converter.dynamic(node)[0]
    for index, tensor in enumerate(node.output):
        if tensor and converter.graph.shape(tensor) == value.shape and not _reorders(converter, node):
            converter.bind(node, value, index)
        elif tensor:
            converter.emit(node, Slice, [value], value.channels, index=index)


def _reorders(converter: OnnxLayerCollector, node: NodeProto) -> bool:
    steps = converter.const(node, 4) if node.op_type == "Slice" else None
    return steps is not None and bool((steps < 0).any())


def gather(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Take rows of a constant table (an embedding) from outside; a part of an activation is a slice."""
    if node.input[0] not in converter.values:
        value = converter.add_input(node.output[0], converter.name(node, "gather"))
        converter.bind(node, value)
        return
    value = converter.values[node.input[0]]
    axis = attributes(node).get("axis", 0) % len(value.shape)
    rank = len(converter.graph.shape(node.input[1]))
    channels = value.channels
    if node.op_type == "Gather":
        channels = tuple(a if a < axis else a + rank - 1 for a in channels if a != axis or rank == 1)
    elif node.op_type == "GatherND":
        channels = ()
    if np.prod(converter.graph.shape(node.output[0])) > np.prod(value.shape):
        converter.emit(node, Elementwise, [value], channels, function="gather")
    else:
        converter.emit(node, Slice, [value], channels)


def pad(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Join spatial zero padding to the convolution behind it; any other is a layer."""
    value = converter.dynamic(node)[0]
    begins, ends = _pads(converter, node, len(value.shape))
    pads = np.concatenate([begins, ends])
    spatial = value.channels == (1,) and not begins[:2].any() and not ends[:2].any()
    if not pads.any():
        converter.bind(node, value)
    elif (pads < 0).any():
        converter.emit(node, Slice, [value], value.channels)
    elif spatial and _fills_with_zeros(converter, node) and converter.graph.feeds_only(node.output[0], "Conv"):
        merged = tuple(int(size) for size in (*begins[2:], *ends[2:]))
        converter.bind(node, replace(value, shape=converter.graph.shape(node.output[0]), pad=merged, foldable=False))
    else:
        converter.emit(node, Elementwise, [value], value.channels, function="pad")


def _pads(converter: OnnxLayerCollector, node: NodeProto, rank: int) -> tuple[Array, Array]:
    """Return padding before and behind every axis, (rank,) each; from an attribute or, if newer, an input."""
    options, axes = attributes(node), converter.const(node, 3)
    pads = np.array(options["pads"]) if "pads" in options else converter.needed_const(node, 1)
    begins, ends = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    where = np.arange(rank) if axes is None else axes % rank
    begins[where], ends[where] = pads[: len(where)], pads[len(where) :]
    return begins, ends


def _fills_with_zeros(converter: OnnxLayerCollector, node: NodeProto) -> bool:
    options = attributes(node)
    given = len(node.input) > 2 and bool(node.input[2])
    fill = converter.const(node, 2) if given else np.array(options.get("value", 0.0))
    return options.get("mode", b"constant") == b"constant" and fill is not None and not fill.any()


def resize(function: str) -> Handler:
    """Add a layer that makes its input larger (or smaller) by copying or interpolating."""

    def handler(converter: OnnxLayerCollector, node: NodeProto) -> None:
        value = converter.dynamic(node)[0]
        shape = converter.graph.shape(node.output[0])
        offset = len(shape) - len(value.shape)
        channels = tuple(axis + offset for axis in value.channels)
        if shape == value.shape:
            converter.bind(node, value)
        elif np.prod(shape) < np.prod(value.shape):
            converter.emit(node, Slice, [value], channels)
        else:
            converter.emit(node, Elementwise, [value], channels, function=function)

    return handler


def rearrange(converter: OnnxLayerCollector, node: NodeProto) -> None:
    """Add a layer that moves elements, in the usual layout of the output's rank."""
    channels = default_channels(len(converter.graph.shape(node.output[0])))
    converter.emit(node, Reshape, [converter.dynamic(node)[0]], channels)
