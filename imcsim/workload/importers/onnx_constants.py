"""Compute constants of an ONNX model: fold nodes on them, and find the integers behind quantised ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from imcsim.workload.workload import Quantisation

Array = np.ndarray[Any, Any]

LAYOUT_OPS = ("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")
LATE_OPS = ("QuantizeLinear", "DequantizeLinear")
BREVITAS_OPS = ("Quant", "BipolarQuant", "IntQuant")


@dataclass(frozen=True)
class Constant:
    """Hold a tensor known at import; ``raw`` holds the integers and ``quant`` the bits where it is quantised."""

    array: Array
    quant: Quantisation | None = None
    raw: Array | None = None

    @property
    def stored(self) -> Array:
        """Return the integers where there are any, else the real numbers; types that numpy lacks become wider ones."""
        array = self.array if self.raw is None else self.raw
        if array.dtype.isbuiltin == 1:
            return array
        return array.astype(np.float32 if "float" in array.dtype.name else np.int8)


def evaluate(node: NodeProto, inputs: list[Constant], opsets: list[onnx.OperatorSetIdProto]) -> list[Constant]:
    """Compute the node on constants; integers and bits follow a quantised weight through changes of layout."""
    if node.op_type in BREVITAS_OPS:
        return [_brevitas(node, inputs)]
    if node.op_type == "ConstantOfShape":
        value = next((numpy_helper.to_array(attribute.t) for attribute in node.attribute), np.zeros(1, np.float32))
        shape = tuple(int(size) for size in inputs[0].array)
        return [Constant(np.broadcast_to(value.reshape(()), shape))]  # a view: such weights need no memory
    if node.op_type == "Identity":
        return [inputs[0]]
    if node.op_type in LATE_OPS:  # the evaluator has only their newer versions, which compute the same
        opsets = [helper.make_opsetid("", onnx.defs.onnx_opset_version())]
    results = _run(node, [constant.array for constant in inputs], opsets)
    if node.op_type == "DequantizeLinear":
        return [Constant(results[0], _quantisation(inputs), inputs[0].array)]
    if node.op_type in LAYOUT_OPS and inputs[0].raw is not None:
        raw = _run(node, [inputs[0].raw, *(constant.array for constant in inputs[1:])], opsets)[0]
        return [Constant(results[0], inputs[0].quant, raw)]
    return [Constant(result) for result in results]


def _run(node: NodeProto, arrays: list[Array], opsets: list[onnx.OperatorSetIdProto]) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    names = [f"i{i}" for i in range(len(arrays))]
    given = iter(names)
    copy = NodeProto()
    copy.CopyFrom(node)
    for i, name in enumerate(node.input):
        copy.input[i] = next(given) if name else ""
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in copy.output if name]
    graph = helper.make_graph([copy], "constant", values, outputs)
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets))
    return [np.asarray(result) for result in evaluator.run(None, dict(zip(names, arrays, strict=True)))]


def quantisation(bits: int, scale: Array, zero_point: Array | None) -> Quantisation:
    """Return bits, scales and zero points in the form of the trace; a zero point of 0 everywhere is left out."""
    zeros = () if zero_point is None else tuple(int(value) for value in np.ravel(zero_point))
    return Quantisation(
        bits=bits, scale=tuple(float(value) for value in np.ravel(scale)), zero_point=zeros if any(zeros) else ()
    )


def bits_of(dtype: Any) -> int:
    """Return the bits of an ONNX or numpy element type, such as int8, uint4 or float8e4m3fn."""
    digits = "".join(c for c in str(np.dtype(dtype).name).split("e")[0].removesuffix("fn") if c.isdigit())
    return int(digits or 1)


def _quantisation(inputs: list[Constant]) -> Quantisation:
    zero_point = inputs[2].array if len(inputs) > 2 else None
    return quantisation(bits_of(inputs[0].array.dtype), inputs[1].array, zero_point)


def _brevitas(node: NodeProto, inputs: list[Constant]) -> Constant:
    """Compute Quant and BipolarQuant as QONNX defines them: round, clip, and back to real numbers."""
    x, scale = inputs[0].array, inputs[1].array
    if node.op_type == "BipolarQuant":
        integers = np.where(x >= 0, 1, -1)
        return Constant((integers * scale).astype(x.dtype), quantisation(1, scale, None), integers.astype(np.int8))
    zero_point, bits = inputs[2].array, int(inputs[3].array)
    options = {attribute.name: attribute.i for attribute in node.attribute}
    signed, narrow = options.get("signed", 1), options.get("narrow", 0)
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    integers = np.clip(np.round(x / scale + zero_point), low, high)
    real = ((integers - zero_point) * scale).astype(x.dtype)
    return Constant(real, quantisation(bits, scale, zero_point), integers.astype(np.int32))
