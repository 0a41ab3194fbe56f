"""Read ONNX models as workloads: float, QDQ and QLinear, with real shapes and the bits that the model states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from onnx import ModelProto, NodeProto

from imcsim.workload.importers.onnx_graph import load_model, read_graph, unknown_operator, weights_of
from imcsim.workload.importers.onnx_layers import TABLE
from imcsim.workload.importers.onnx_values import OnnxLayerCollector
from imcsim.workload.workload import Input, Layer, Tensors, Unknown, Workload, with_tensors


def import_onnx(
    path: str | Path,
    allow_unknown: bool = False,
    keep_tensors: bool = False,
    *,
    input_bits: int = 8,
    weight_bits: int = 8,
    dimensions: Mapping[str, int] | None = None,
) -> Workload:
    """Return the layer trace of an ONNX file.

    ``input_bits`` and ``weight_bits`` hold where the model states none, ``dimensions`` gives symbolic sizes by name (an
    open batch is 1), ``keep_tensors`` keeps the weights (``load_tensors`` gives them, ``save_workload`` stores them).
    Raises ImcsimError, naming the node, for files that cannot be read, sizes that stay unknown, and operators that are
    not understood, unless ``allow_unknown`` turns those into free layers.
    """
    path = Path(path)
    return convert(
        load_model(path),
        path.stem,
        str(path),
        source=f"imcsim export {path.name}",
        allow_unknown=allow_unknown,
        keep_tensors=keep_tensors,
        input_bits=input_bits,
        weight_bits=weight_bits,
        dimensions=dimensions,
    )


def convert(
    model: ModelProto,
    name: str,
    where: str,
    *,
    source: str,
    description: str = "",
    allow_unknown: bool = False,
    keep_tensors: bool = False,
    input_bits: int = 8,
    weight_bits: int = 8,
    dimensions: Mapping[str, int] | None = None,
) -> Workload:
    """Return the layer trace of an ONNX model in memory; ``where`` stands for the file in errors."""
    graph = read_graph(model, where, dimensions, allow_unknown=allow_unknown)
    converter = OnnxLayerCollector(graph, input_bits, weight_bits)
    for node in graph.nodes:
        _convert_node(converter, node, allow_unknown)
    description = description or model.doc_string.strip().split("\n")[0] or f"{name}, imported from ONNX"
    workload = Workload(name=name, description=description, source=source, layers=_live(converter))
    workload.check(where)
    return with_tensors(workload, _tensors(converter)) if keep_tensors else workload


def _convert_node(converter: OnnxLayerCollector, node: NodeProto, allow_unknown: bool) -> None:
    handler = TABLE.get(node.op_type)
    if handler is not None:
        handler(converter, node)
        return
    if not allow_unknown or weights_of(converter.graph, node):
        raise unknown_operator(converter.graph, node)
    for index, tensor in enumerate(node.output):
        if tensor in converter.graph.types:
            sources = converter.dynamic(node)
            converter.emit(node, Unknown, sources, (), index=index, operator=node.op_type)


def _live(converter: OnnxLayerCollector) -> tuple[Layer, ...]:
    """Return all layers but the inputs that nothing reads, such as indices into an embedding table."""
    read = {name for layer in converter.layers.values() for name in layer.inputs}
    read |= {converter.values[name].layer for name in converter.graph.outputs if name in converter.values}
    layers = (layer for layer in converter.layers.values() if layer.name in read or not isinstance(layer, Input))
    return cast(tuple[Layer, ...], tuple(layers))


def _tensors(converter: OnnxLayerCollector) -> Tensors:
    """Return weights with folded scales; quantised ones stay integers, with their sums' factor as 'LAYER.scale'."""
    tensors: Tensors = {}
    for layer, weights in converter.weights.items():
        scale, shift = converter.affine[layer]
        flat = np.asarray(weights).reshape(len(weights), -1)
        if np.issubdtype(flat.dtype, np.floating):
            flat = (flat * scale[:, None]).astype(np.float32)
        elif (scale != 1).any():
            tensors[f"{layer}.scale"] = scale.astype(np.float32)
        tensors[f"{layer}.weight"] = flat
        if shift.any():
            tensors[f"{layer}.bias"] = shift.astype(np.float32)
    return tensors
