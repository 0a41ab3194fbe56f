"""Write operators on integers as those on real numbers that they stand for, between dequantisation and quantisation.

The importer then has to understand one form of quantised model only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

Rewrite = Callable[[NodeProto], list[NodeProto]]
ONE = "imcsim/one"  # the scale of integers whose scale is applied later
EXTRA_CONSTANTS: tuple[TensorProto, ...] = (numpy_helper.from_array(np.ones((), np.float32), ONE),)


def rewrite(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    """Return all nodes, those of the table replaced; execution order is kept."""
    return [new for node in nodes for new in (TABLE[node.op_type](node) if node.op_type in TABLE else [node])]


def _input(node: NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _named(node: NodeProto) -> str:
    return node.name or node.output[0]


def _dequantize(node: NodeProto, tensor: str, scale: str, zero_point: str, axis: int | None = None) -> NodeProto:
    inputs = [tensor, scale or ONE] + ([zero_point] if zero_point else [])
    output = f"{_named(node)}/{tensor}/real"
    new = helper.make_node("DequantizeLinear", inputs, [output], name=f"{output}/dequantize")
    if axis is not None:
        new.attribute.append(helper.make_attribute("axis", axis))
    return new


def _quantize(node: NodeProto, tensor: str, scale: str, zero_point: str) -> NodeProto:
    inputs = [tensor, scale] + ([zero_point] if zero_point else [])
    return helper.make_node("QuantizeLinear", inputs, [node.output[0]], name=f"{_named(node)}/quantize")


def _float_form(
    node: NodeProto,
    op_type: str,
    operands: list[tuple[str, str, str]],
    out: tuple[str, str],
    *,
    weight_axis: int | None = None,
) -> list[NodeProto]:
    """Return DequantizeLinear of (tensor, scale, zero point), the float operator, QuantizeLinear for ``out``."""
    axes = [None, weight_axis] + [None] * len(operands)
    before = [_dequantize(node, *operand, axis=axes[i]) for i, operand in enumerate(operands)]
    result = f"{_named(node)}/real" if out[0] else node.output[0]
    core = helper.make_node(op_type, [new.output[0] for new in before], [result], name=node.name)
    core.attribute.extend(node.attribute)
    after = [_quantize(node, result, *out)] if out[0] else []
    return [*before, core, *after]


def _add_bias(nodes: list[NodeProto], node: NodeProto, bias: str, x_scale: str, w_scale: str) -> list[NodeProto]:
    """Add an integer bias, which has the scale of the products, x_scale times w_scale."""
    scale, real = f"{_named(node)}/{bias}/scale", f"{_named(node)}/{bias}/real"
    extra = [
        helper.make_node("Mul", [x_scale, w_scale], [scale]),
        helper.make_node("DequantizeLinear", [bias, scale], [real], axis=0),
    ]
    core = next(new for new in nodes if new.op_type in ("Conv", "Gemm"))
    core.input.append(real)
    return extra + nodes


def _qlinear_conv(node: NodeProto) -> list[NodeProto]:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.input[:8]
    operands = [(x, x_scale, x_zero), (w, w_scale, w_zero)]
    nodes = _float_form(node, "Conv", operands, (y_scale, y_zero), weight_axis=0)
    return _add_bias(nodes, node, _input(node, 8), x_scale, w_scale) if _input(node, 8) else nodes


def _qlinear_matmul(node: NodeProto) -> list[NodeProto]:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.input[:8]
    return _float_form(node, "MatMul", [(a, a_scale, a_zero), (b, b_scale, b_zero)], (y_scale, y_zero), weight_axis=1)


def _qgemm(node: NodeProto) -> list[NodeProto]:
    a, a_scale, a_zero, b, b_scale, b_zero = node.input[:6]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    operands = [(a, a_scale, a_zero), (b, b_scale, b_zero)]
    nodes = _float_form(node, "Gemm", operands, (_input(node, 7), _input(node, 8)), weight_axis=0 if transposed else 1)
    return _add_bias(nodes, node, _input(node, 6), a_scale, b_scale) if _input(node, 6) else nodes


def _integer_product(op_type: str) -> Rewrite:
    def replace(node: NodeProto) -> list[NodeProto]:
        operands = [(node.input[0], ONE, _input(node, 2)), (node.input[1], ONE, _input(node, 3))]
        return _float_form(node, op_type, operands, ("", ""), weight_axis=0 if op_type == "Conv" else 1)

    return replace


def _qlinear_binary(op_type: str) -> Rewrite:
    def replace(node: NodeProto) -> list[NodeProto]:
        operands = [tuple(node.input[:3]), tuple(node.input[3:6])]
        return _float_form(node, op_type, operands, (node.input[6], _input(node, 7)))

    return replace


def _qlinear_unary(op_type: str) -> Rewrite:
    def replace(node: NodeProto) -> list[NodeProto]:
        nodes = _float_form(
            node, op_type, [(node.input[0], node.input[1], _input(node, 2))], (node.input[3], _input(node, 4))
        )
        for new in nodes:  # the float operators have no such attributes
            kept = [attribute for attribute in new.attribute if attribute.name not in ("channels_last", "opset")]
            del new.attribute[:]
            new.attribute.extend(kept)
        return nodes

    return replace


def _qlinear_concat(node: NodeProto) -> list[NodeProto]:
    y_scale, y_zero, *rest = node.input
    operands = [tuple(rest[i : i + 3]) for i in range(0, len(rest), 3)]
    return _float_form(node, "Concat", operands, (y_scale, y_zero))


def _dynamic_quantize(node: NodeProto) -> list[NodeProto]:
    """Quantise with a constant: the scale is known only at run time, and for a trace the bits are what counts."""
    tensor, scale, zero = node.output
    kind = helper.make_tensor(zero, TensorProto.UINT8, [], [0])
    return [
        helper.make_node("Constant", [], [scale], value=numpy_helper.from_array(np.ones((), np.float32), scale)),
        helper.make_node("Constant", [], [zero], value=kind),
        helper.make_node("QuantizeLinear", [node.input[0], scale, zero], [tensor], name=_named(node)),
    ]


TABLE: dict[str, Rewrite] = {
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QGemm": _qgemm,
    "ConvInteger": _integer_product("Conv"),
    "MatMulInteger": _integer_product("MatMul"),
    "QLinearAdd": _qlinear_binary("Add"),
    "QLinearMul": _qlinear_binary("Mul"),
    "QLinearConcat": _qlinear_concat,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "QLinearAveragePool": _qlinear_unary("AveragePool"),
    "QLinearGlobalAveragePool": _qlinear_unary("GlobalAveragePool"),
    "QLinearSigmoid": _qlinear_unary("Sigmoid"),
    "QLinearLeakyRelu": _qlinear_unary("LeakyRelu"),
    "QLinearSoftmax": _qlinear_unary("Softmax"),
}
