"""Read a quantised ONNX model, whose digital operators onnxruntime computes."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised.graph import Array, DigitalPart, Known, QuantisedGraph, Tensor, ancestors
from imcsim.workload.quantised.onnx_reader import OnnxReader


def load_onnx(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file. Raises ImcsimError where it cannot be read."""
    try:
        return onnx.load(str(path))
    except FileNotFoundError:
        raise ImcsimError(str(path), "the file does not exist", "check the path") from None
    except Exception as error:  # onnx hands on what its parser raises
        raise ImcsimError(str(path), "is no readable ONNX model, perhaps truncated", "export it again") from error


class OnnxGraph(QuantisedGraph):
    """Describe QDQ and QLinear models; the first input and the first output count."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.model, self.where = model, where
        self.sites = OnnxReader(model, where).sites()
        constants = {item.name for item in model.graph.initializer}
        entry = next(item for item in model.graph.input if item.name not in constants)
        self.input, self.output = entry.name, model.graph.output[0].name
        kind = entry.type.tensor_type
        self.image_shape = tuple(dim.dim_value for dim in kind.shape.dim)[1:]
        self.input_dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))

    def digital_part(self, gives: Tensor, known: Collection[Tensor]) -> DigitalPart:
        nodes = [(node.input, node.output) for node in self.model.graph.node]
        taken, needs = ancestors(nodes, gives, known)
        session = self._session([self.model.graph.node[number] for number in taken], needs, gives)

        def run(values: Known) -> Array:
            (value,) = session.run([gives], {name: values[name] for name in needs})
            return np.asarray(value)

        return run

    def _session(self, nodes: list[onnx.NodeProto], needs: list[Any], gives: Any) -> Any:
        """Return the nodes as a model of their own in onnxruntime; types and shapes from shape inference."""
        import onnxruntime

        model, read = self.model, {name for node in nodes for name in node.input}
        graph = onnx.helper.make_graph(
            nodes,
            "piece",
            [_open_batch(self._types[name]) for name in needs],
            [_open_batch(self._types[gives])],
            [item for item in model.graph.initializer if item.name in read],
        )
        piece = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        # integer kernels for int8 on every processor
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        return onnxruntime.InferenceSession(piece.SerializeToString(), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _types(self) -> dict[str, onnx.ValueInfoProto]:
        graph = onnx.shape_inference.infer_shapes(self.model).graph
        return {item.name: item for item in [*graph.value_info, *graph.input, *graph.output]}


def _open_batch(item: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """Return the same tensor for any number of images."""
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(item)
    dims = copy.type.tensor_type.shape.dim
    if dims:
        dims[0].dim_param = "images"
    return copy
