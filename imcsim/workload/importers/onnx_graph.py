"""Read an ONNX model as nodes on activations only: constants folded, every shape known, batch 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, helper, inliner, numpy_helper

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers.onnx_constants import BREVITAS_OPS, Constant, evaluate
from imcsim.workload.importers.onnx_rewrite import EXTRA_CONSTANTS, rewrite

Shape = tuple[int, ...]

INFERENCE_ERRORS = (
    onnx.shape_inference.InferenceError,
    onnx.checker.ValidationError,
    onnx.defs.SchemaError,
    RuntimeError,
    ValueError,
)
# Inferred by their newest definition: before operator set 22, onnx counts pooling windows that start behind the input,
# which no runtime computes; and what `onnx_rewrite` writes has scales per channel, whatever the operator set.
CORRECTED_OPS = ("MaxPool", "AveragePool", "DequantizeLinear", "QuantizeLinear")
NEWEST = onnx.defs.onnx_opset_version()
SAME_MEANING = ("", "ai.onnx", "com.microsoft")  # domains in which a standard name means the standard operator
SMALL = 1024  # constants up to this many elements take part in shape inference (sizes, axes, pads)


@dataclass
class ImportedGraph:
    """Hold ``nodes`` in execution order, and the ``shapes`` of all tensors that they read or write, batch included."""

    where: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    types: dict[str, TypeProto] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a constant or an activation, batch included."""
        if tensor in self.constants:
            return tuple(self.constants[tensor].array.shape)
        return tuple(dim.dim_value for dim in self.types[tensor].tensor_type.shape.dim)

    def __post_init__(self) -> None:
        self._readers: dict[str, list[NodeProto]] = {}

    def add(self, node: NodeProto) -> None:
        """Append a node, which then counts among the readers of its inputs."""
        self.nodes.append(node)
        for name in node.input:
            self._readers.setdefault(name, []).append(node)

    def readers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read an activation."""
        return self._readers.get(tensor, [])

    def feeds_only(self, tensor: str, op_type: str) -> bool:
        """Say whether nodes of this type alone read a tensor, behind quantisation or not."""
        readers = self.readers(tensor)
        if not readers or tensor in self.outputs:
            return False
        through = ("QuantizeLinear", "DequantizeLinear", "Identity")
        return all(
            node.op_type == op_type or (node.op_type in through and self.feeds_only(node.output[0], op_type))
            for node in readers
        )


def read_graph(
    model: ModelProto, where: str, dimensions: Mapping[str, int] | None = None, *, allow_unknown: bool = False
) -> ImportedGraph:
    """Fold the constants and infer the shapes of a model; ``dimensions`` fixes symbolic sizes by name.

    Raises ImcsimError for sizes that stay unknown, nodes whose shapes do not fit, and operators without known shapes.
    """
    source = model.graph
    graph = ImportedGraph(where, outputs=[output.name for output in source.output])
    for tensor in (*EXTRA_CONSTANTS, *source.initializer):
        graph.constants[tensor.name] = Constant(numpy_helper.to_array(tensor))
    _read_inputs(graph, source, dimensions or {})
    reader = _Reader(graph, model, allow_unknown)
    for node in rewrite(map(_told_apart, source.node)):
        reader.read(node)
    return graph


def _told_apart(node: NodeProto) -> NodeProto:
    """Return a node whose operator is called by its domain too where that domain redefines a standard operator."""
    if node.domain in SAME_MEANING or not onnx.defs.has(node.op_type):
        return node
    renamed = NodeProto()
    renamed.CopyFrom(node)
    renamed.op_type = f"{node.domain}.{node.op_type}"
    return renamed


def _read_inputs(graph: ImportedGraph, source: GraphProto, dimensions: Mapping[str, int]) -> None:
    inputs = [item for item in source.input if item.name not in graph.constants]
    batch = {_symbol(item, 0) for item in inputs} - {""}
    for item in inputs:
        if not item.type.tensor_type.HasField("shape"):
            hint = "export the model with the shapes of its inputs"
            raise ImcsimError(f"{graph.where}: input '{item.name}'", "is no tensor with a shape", hint)
        rank = len(item.type.tensor_type.shape.dim)
        sizes = [_size(graph.where, item, axis, batch, dimensions) for axis in range(rank)]
        graph.types[item.name] = helper.make_tensor_type_proto(item.type.tensor_type.elem_type, sizes)
        graph.inputs.append(item.name)


def _symbol(item: onnx.ValueInfoProto, axis: int) -> str:
    dims = item.type.tensor_type.shape.dim
    return dims[axis].dim_param if axis < len(dims) else ""


def _size(where: str, item: onnx.ValueInfoProto, axis: int, batch: set[str], dimensions: Mapping[str, int]) -> int:
    """Return a size of an input: as stated, as fixed by the caller, or 1 for a batch that is left open."""
    dim = item.type.tensor_type.shape.dim[axis]
    place = f"{where}: input '{item.name}'"
    if dim.dim_param in dimensions:
        return dimensions[dim.dim_param]
    if dim.HasField("dim_value") and (dim.dim_value > 0 or axis > 0):
        if dim.dim_value > 0:
            return int(dim.dim_value)
        raise ImcsimError(place, f"dimension {axis} has the size {dim.dim_value}", "sizes are 1 or more")
    if axis == 0 or dim.dim_param in batch:
        return 1
    label = f"'{dim.dim_param}' " if dim.dim_param else ""
    hint = "export the model with a fixed size there"
    hint += f", or import it from Python with dimensions={{'{dim.dim_param}': SIZE}}" if dim.dim_param else ""
    raise ImcsimError(place, f"dimension {axis} {label}is symbolic", hint)


class _Reader:
    """Walk the nodes once; each is folded into constants or gets the types of its outputs."""

    def __init__(self, graph: ImportedGraph, model: ModelProto, allow_unknown: bool) -> None:
        self.graph, self.allow_unknown = graph, allow_unknown
        self.opsets = list(model.opset_import)
        self.versions = {opset.domain: opset.version for opset in model.opset_import}
        infos = (*model.graph.value_info, *model.graph.output)
        self.declared = {info.name: info.type for info in infos if _is_fixed(info.type)}

    def read(self, node: NodeProto) -> None:
        for name in node.input:
            if name and name not in self.graph.constants and name not in self.graph.types:
                problem = f"reads '{name}', which no node before it writes with a known shape"
                raise ImcsimError(self.place(node), problem, "check the model")
        folded = self.fold(node)
        if folded is not None:
            self.graph.constants.update(zip(node.output, folded, strict=False))
            return
        self.graph.add(node)
        self.graph.types.update(self.infer(node))

    def place(self, node: NodeProto) -> str:
        return f"{self.graph.where}: node '{node.name or node.output[0]}' ({node.op_type})"

    def fold(self, node: NodeProto) -> list[Constant] | None:
        """Return the outputs of a node that reads only constants (or only the shape of something), else nothing."""
        if node.op_type == "Shape":
            shape = np.array(self.graph.shape(node.input[0]), np.int64)
            options = {attribute.name: attribute.i for attribute in node.attribute}
            return [Constant(shape[options.get("start", 0) : options.get("end", len(shape))])]
        if node.op_type == "CastLike" and node.input[0] in self.graph.constants:
            element = self.types_of(node)[0][node.input[1]].tensor_type.elem_type
            array = self.graph.constants[node.input[0]].array
            return [Constant(array.astype(helper.tensor_dtype_to_np_dtype(element)))]
        inputs = [self.graph.constants.get(name) for name in node.input if name]
        known = [constant for constant in inputs if constant is not None]
        if len(known) < len(inputs) or _has_subgraph(node):
            return None
        try:
            return evaluate(node, known, self.opsets)
        except Exception as error:  # the evaluator raises whatever numpy or the operator raises
            if not self.versions.get(node.domain) or not onnx.defs.has(node.op_type, node.domain):
                return None
            problem = f"cannot be evaluated on its constants ({error})"
            raise ImcsimError(self.place(node), problem, "check the model") from None

    def infer(self, node: NodeProto) -> dict[str, TypeProto]:
        types = self.by_schema(node) or self.by_rule(node)
        for name in filter(None, node.output):
            if not _is_fixed(types.get(name)) and name in self.declared:
                types[name] = self.declared[name]
            if not _is_fixed(types.get(name)):
                if name == node.output[0] or self.graph_uses(name):
                    hint = "export the model with fixed shapes, or simplify it first"
                    raise ImcsimError(self.place(node), f"the shape of its output '{name}' cannot be inferred", hint)
                types.pop(name, None)
        return types

    def graph_uses(self, name: str) -> bool:
        return name in self.graph.outputs

    def by_schema(self, node: NodeProto) -> dict[str, TypeProto]:
        version = self.versions.get(node.domain)
        if version is None or not onnx.defs.has(node.op_type, node.domain):
            return {}
        try:
            newest = node.op_type in CORRECTED_OPS
            schema = onnx.defs.get_schema(node.op_type, NEWEST if newest else version, node.domain)
            types, data = self.types_of(node)
            return onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=self.opsets)
        except INFERENCE_ERRORS as error:
            reason = str(error).strip().splitlines()[0]
            raise ImcsimError(self.place(node), f"its shapes do not fit ({reason})", "check the model") from None

    def types_of(self, node: NodeProto) -> tuple[dict[str, TypeProto], dict[str, onnx.TensorProto]]:
        types, data = {}, {}
        for name in filter(None, node.input):
            constant = self.graph.constants.get(name)
            if constant is None:
                types[name] = self.graph.types[name]
                continue
            element = helper.np_dtype_to_tensor_dtype(constant.array.dtype)
            types[name] = helper.make_tensor_type_proto(element, constant.array.shape)
            if constant.array.size <= SMALL:
                data[name] = numpy_helper.from_array(np.array(constant.array), name)
        return types, data

    def by_rule(self, node: NodeProto) -> dict[str, TypeProto]:
        """Type operators without a schema: quantisers, and those let through, keep the shape of their input."""
        keeps = node.op_type in BREVITAS_OPS or self.allow_unknown
        first = next((self.graph.types[name] for name in node.input if name in self.graph.types), None)
        if not keeps and node.output[0] not in self.declared:
            raise unknown_operator(self.graph, node)
        return dict.fromkeys(node.output, first) if first is not None and node.output[0] not in self.declared else {}


def unknown_operator(graph: ImportedGraph, node: NodeProto) -> ImcsimError:
    """Return the error for a node whose operator is not understood, and may be free only if it has no weights."""
    operator = node.op_type if node.op_type.startswith(f"{node.domain}.") else f"{node.domain}.{node.op_type}"
    problem, hint = (
        f"operator {operator.lstrip('.')} is not understood",
        "--allow-unknown makes it a free digital operator",
    )
    weights = weights_of(graph, node)
    if weights:
        shape = " x ".join(map(str, graph.constants[weights[0]].array.shape))
        problem += f", and its weights '{weights[0]}' ({shape}) cannot be free"
        hint = "export this layer as convolutions, Gemm or MatMul"
    return ImcsimError(f"{graph.where}: node '{node.name or node.output[0]}'", problem, hint)


def weights_of(graph: ImportedGraph, node: NodeProto) -> list[str]:
    """Return the constants of a node that look like weights: matrices or more of real or 8-bit numbers."""
    arrays = {name: graph.constants[name].array for name in node.input if name in graph.constants}
    return [
        name for name, array in arrays.items() if array.ndim > 1 and (array.dtype.kind == "f" or array.itemsize == 1)
    ]


def _is_fixed(kind: TypeProto | None) -> bool:
    if kind is None or not kind.tensor_type.HasField("shape"):
        return False
    return all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in kind.tensor_type.shape.dim)


def _has_subgraph(node: NodeProto) -> bool:
    return any(attribute.HasField("g") for attribute in node.attribute)


def load_model(path: Path) -> ModelProto:
    """Read an ONNX file, local functions inlined. Raises ImcsimError where it is missing or something else."""
    try:
        model = onnx.load(str(path))
    except FileNotFoundError:
        raise ImcsimError(str(path), "the file does not exist", "check the path, or its external data") from None
    except Exception as error:  # protobuf's own decode errors and onnx's checks of external data
        reason = str(error).strip().splitlines()[0]
        problem = f"is no readable ONNX model, perhaps truncated ({reason})"
        raise ImcsimError(str(path), problem, "export it again") from None
    if not model.graph.node or not model.opset_import:
        raise ImcsimError(str(path), "is no ONNX model with nodes and an operator set", "export it again")
    return inliner.inline_local_functions(model) if model.functions else model


def unique_names(nodes: list[NodeProto]) -> set[str]:
    """Return the node names that are not empty and occur once."""
    return {name for name, count in Counter(node.name for node in nodes).items() if name and count == 1}
