"""Compute ONNX operators in PyTorch, so that a loss can be followed back through a network.

Quantised activations are kept as the numbers that they stand for, so that DequantizeLinear has nothing left to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]  # tensors; None where an optional one is left out
Operator = Callable[[Inputs, Attributes], Tensor]

RANGES = {  # of the integers of activations
    torch.uint8: (0, 255),
    torch.int8: (-128, 127),
    torch.int16: (-(1 << 15), (1 << 15) - 1),
}
CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
MOST = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, attributes: Attributes, groups: int) -> Tensor:
    """Compute a convolution of any dimension with the padding, stride and dilation of a node."""
    n = weight.ndim - 2
    ones, (x, pads) = [1] * n, _padded(x, attributes, n, 0.0)
    stride, dilation = attributes.get("strides", ones), attributes.get("dilations", ones)
    return CONV[n](x, weight, bias, stride, pads, dilation, groups)


def _padded(x: Tensor, attributes: Attributes, n: int, value: float) -> tuple[Tensor, list[int]]:
    """Return the input, and the padding that is left to the operator: it takes the same at both ends only."""
    pads = list(attributes.get("pads", [0] * (2 * n)))
    begins, ends = pads[:n], pads[n:]
    if begins == ends:
        return x, begins
    pairs = [size for pair in zip(reversed(begins), reversed(ends), strict=True) for size in pair]
    return functional.pad(x, pairs, value=value), [0] * n


def _conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    bias = inputs[2] if len(inputs) > 2 else None
    return conv(inputs[0], inputs[1], bias, attributes, attributes.get("group", 1))


def _gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    a = inputs[0].T if attributes.get("transA", 0) else inputs[0]
    b = inputs[1].T if attributes.get("transB", 0) else inputs[1]
    product: Tensor = attributes.get("alpha", 1.0) * (a @ b)
    return product + attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    kernel = attributes["kernel_shape"]
    n, counted = len(kernel), bool(attributes.get("count_include_pad", 0))
    x, pads = _padded(inputs[0], attributes, n, 0.0)
    options = (attributes.get("strides", [1] * n), pads, bool(attributes.get("ceil_mode", 0)))
    pooled = AVERAGE[n](x, kernel, *options, True)
    if counted or not any(attributes.get("pads", [0])):
        return pooled
    ones, _ = _padded(torch.ones_like(inputs[0][:1, :1]), attributes, n, 0.0)
    return pooled / AVERAGE[n](ones, kernel, *options, True)


def _max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    kernel = attributes["kernel_shape"]
    n = len(kernel)
    x, pads = _padded(inputs[0], attributes, n, -torch.inf)
    stride, dilation = attributes.get("strides", [1] * n), attributes.get("dilations", [1] * n)
    return MOST[n](x, kernel, stride, pads, dilation, bool(attributes.get("ceil_mode", 0)))


def _reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    shape = inputs[1].tolist()
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _flatten(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _slice(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    starts, ends = inputs[1].tolist(), inputs[2].tolist()
    axes = inputs[3].tolist() if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
    steps = inputs[4].tolist() if len(inputs) > 4 else [1] * len(starts)
    where = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        where[axis] = slice(start, end, step)
    return x[tuple(where)]


def _pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    pads = inputs[1].tolist()
    n = len(pads) // 2
    pairs = [size for axis in reversed(range(n)) for size in (pads[axis], pads[n + axis])]
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return functional.pad(inputs[0], pairs, value=value)


def _clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    bounds = [value if value is None else float(value) for value in (*inputs[1:], None, None)[:2]]
    x: Tensor = inputs[0]
    if not {"min", "max"} & set(attributes) and bounds == [None, None]:
        return x
    return x.clamp(attributes.get("min", bounds[0]), attributes.get("max", bounds[1]))


def _reduce_mean(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x.mean(_axes(inputs, attributes), keepdim=bool(attributes.get("keepdims", 1)))


def _squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x.squeeze(_axes(inputs, attributes))


def _axes(inputs: Inputs, attributes: Attributes) -> list[int]:
    """Return the axes of a node: an input of newer operators, an attribute of older ones."""
    return list(inputs[1].tolist() if len(inputs) > 1 else attributes["axes"])


def _quantise(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Round to the grid of a tensor's integers; the gradient passes where nothing is cut off."""
    x, scale, zero = (*inputs, torch.zeros((), dtype=torch.uint8))[:3]
    low, high = RANGES[zero.dtype]
    rounded: Tensor = _Rounded.apply(x, float(scale), low - int(zero), high - int(zero))  # type: ignore[no-untyped-call]
    return rounded


class _Rounded(torch.autograd.Function):
    """Round like ``torch.fake_quantize_per_tensor_affine``, in a third of its time on processors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, low: int, high: int) -> Tensor:
        steps = x * (1 / scale)
        ctx.save_for_backward((steps >= low) & (steps <= high))
        return steps.round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


def _dequantise(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    scale: Tensor = inputs[1]
    if x.is_floating_point():
        return x
    shape = [1] * x.ndim
    if scale.numel() > 1:
        shape[attributes.get("axis", 1)] = -1
    zero = inputs[2] if len(inputs) > 2 else torch.zeros((), dtype=torch.int64)
    spread = shape if zero.numel() > 1 else []
    return (x.to(torch.float32) - zero.to(torch.float32).reshape(spread)) * scale.reshape(shape)


OPERATORS: Mapping[str, Operator] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), attributes["axis"]),
    "Conv": _conv,
    "DequantizeLinear": _dequantise,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(list(range(2, inputs[0].ndim)), keepdim=True),
    "HardSigmoid": lambda inputs, a: (a.get("alpha", 0.2) * inputs[0] + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda inputs, _: functional.hardswish(inputs[0]),
    "Identity": lambda inputs, _: inputs[0],
    "LeakyRelu": lambda inputs, attributes: functional.leaky_relu(inputs[0], attributes.get("alpha", 0.01)),
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "ReduceMean": _reduce_mean,
    "Relu": lambda inputs, _: functional.relu(inputs[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda inputs, _: torch.sigmoid(inputs[0]),
    "Slice": _slice,
    "Softmax": lambda inputs, attributes: inputs[0].softmax(attributes.get("axis", -1)),
    "Squeeze": _squeeze,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
}


def why_not(kind: str, n_inputs: int, attributes: Attributes) -> str:
    """Say why no gradient passes through a node of a kind; the text is empty where one does."""
    if kind not in OPERATORS:
        return "cannot be trained through"
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return "cannot be trained through: it pads as it sees fit"
    needs = {"ReduceMean": "axes", "Squeeze": "axes", "Transpose": "perm"}.get(kind, "")
    if needs and needs not in attributes and (needs == "perm" or n_inputs < 2):
        return f"cannot be trained through: it does not say which {needs}"
    return ""
