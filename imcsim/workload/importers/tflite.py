"""Read TensorFlow Lite models as workloads: int8, uint8 and float, with the layer names of the ``quantised`` reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, cast

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers.tflite_model import CONV, DEPTHWISE, LINEAR, Operator, Tensor, TfliteModel, load_tflite
from imcsim.workload.workload import (
    Activation,
    Concat,
    Conv,
    Elementwise,
    GlobalPool,
    Input,
    Layer,
    LayerBase,
    Linear,
    Normalisation,
    Pool,
    Quantisation,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Unknown,
    Window,
    Workload,
)


def import_tflite(path: str | Path, allow_unknown: bool = False) -> Workload:
    """Return the layer trace of a ``.tflite`` file; operands without a stated bit width have 8 bits.

    Raises ImcsimError, naming the operator, for files that cannot be read and operators that are not understood, unless
    ``allow_unknown`` turns those into free layers.
    """
    path = Path(path)
    return convert(load_tflite(path), path.stem, source=f"imcsim export {path.name}", allow_unknown=allow_unknown)


def convert(model: TfliteModel, name: str, *, source: str, allow_unknown: bool = False) -> Workload:
    """Return the layer trace of a model in memory; as ``import_tflite``."""
    converter = TfliteLayerCollector(model)
    for operator in model.operators:
        if converter.dynamic(operator):  # others compute shapes, or widen weights
            _handler(model, operator, allow_unknown)(converter, operator)
    layers = cast(tuple[Layer, ...], tuple(converter.layers.values()))
    workload = Workload(name=name, description=f"{name}, imported from TensorFlow Lite", source=source, layers=layers)
    workload.check(model.where)
    return workload


class TfliteLayerCollector:
    """Collect layers while the operators are walked in execution order."""

    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.layers: dict[str, LayerBase] = {}
        self.values: dict[int, str] = {}  # the layer that gives each activation
        entry = model.tensors[model.input]
        self.add(Input(name="input", inputs=(), output_shape=trace_shape(entry), input_quant=_quant(entry)))
        self.values[model.input] = "input"

    def dynamic(self, operator: Operator) -> list[int]:
        """Return the operands that are activations."""
        return [number for number in operator.inputs if number in self.values]

    def tensor(self, operator: Operator, index: int) -> Tensor:
        """Return an operand of an operator."""
        return self.model.tensors[operator.inputs[index]]

    def add(self, layer: LayerBase) -> str:
        """Add a layer and return its name."""
        self.layers[layer.name] = layer
        return layer.name

    def source(self, operator: Operator, shape: tuple[int, ...] = ()) -> str:
        """Return the layer that gives the first operand; a reshape stands between where another ``shape`` is wanted."""
        number = self.dynamic(operator)[0]
        name = self.values[number]
        if not shape or self.layers[name].output_shape == shape:
            return name
        quant = _quant(self.model.tensors[number])
        return self.add(Reshape(name=f"{operator.name}/flat", inputs=(name,), output_shape=shape, input_quant=quant))

    def emit(self, operator: Operator, cls: type[LayerBase], sources: Sequence[str] = (), /, **fields: Any) -> None:
        """Add a layer for each output of an operator, and one for the activation fused with it."""
        numbers = self.dynamic(operator)
        for index, output in enumerate(operator.outputs):
            tensor = self.model.tensors[output]
            name = operator.name if len(operator.outputs) == 1 else f"{operator.name}/{index}"
            inputs = tuple(sources or (self.values[number] for number in numbers))
            quant = _quant(self.model.tensors[numbers[0]])
            layer = cls(name=name, inputs=inputs, output_shape=trace_shape(tensor), input_quant=quant, **fields)
            self.values[output] = self.add(layer)
            if operator.activation != "NONE":
                self.values[output] = self._fused(operator.activation.lower(), name, tensor)

    def _fused(self, function: str, behind: str, tensor: Tensor) -> str:
        return self.add(
            Activation(
                name=f"{behind}/{function}",
                inputs=(behind,),
                output_shape=trace_shape(tensor),
                input_quant=_quant(tensor),
                function=function,
            )
        )


Handler = Callable[[TfliteLayerCollector, Operator], None]


def trace_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape with channels first, without the batch of 1."""
    shape = tensor.shape or (1,)
    positions = shape[1:-1] if shape[0] == 1 else shape[:-1]
    return (shape[-1], *positions)


def convolution(converter: TfliteLayerCollector, operator: Operator) -> None:
    """Add a convolution, depthwise or in groups as its shapes say."""
    weights, x = converter.tensor(operator, 1), converter.tensor(operator, 0)
    groups = x.shape[-1] if operator.kind == DEPTHWISE else x.shape[-1] // weights.shape[-1]
    window = Window(**operator.window(x.shape[1:3], weights.shape[1:3]))
    fields = {"in_channels": x.shape[-1], "groups": groups, "weight_quant": _quant(weights)}
    converter.emit(operator, Conv, [converter.source(operator)], window=window, **fields)


def linear(converter: TfliteLayerCollector, operator: Operator) -> None:
    """Add a fully connected layer, which flattens what it reads to vectors as long as the rows of its weights."""
    weights, x = converter.tensor(operator, 1), converter.tensor(operator, 0)
    rows = weights.shape[-1]
    source = converter.layers[converter.source(operator)]
    positions = prod(x.shape) // rows
    shape = () if source.channels == rows else (rows,) if positions == 1 else (rows, positions)
    sources = [converter.source(operator, shape)]
    converter.emit(operator, Linear, sources, in_channels=rows, weight_quant=_quant(weights))


def pool(mode: str) -> Handler:
    """Return the handler of poolings over a window."""

    def handler(converter: TfliteLayerCollector, operator: Operator) -> None:
        kernel = (operator.options.filterHeight, operator.options.filterWidth)
        window = Window(**operator.window(converter.tensor(operator, 0).shape[1:3], kernel))
        converter.emit(operator, Pool, mode=mode, window=window)

    return handler


def reduce(function: str) -> Handler:
    """Add a global pooling for a mean or maximum over all positions, a layer of its own for any other reduction."""
    mode = {"mean": "avg", "max": "max"}.get(function)

    def handler(converter: TfliteLayerCollector, operator: Operator) -> None:
        axes, rank = converter.tensor(operator, 1).constant, len(converter.tensor(operator, 0).shape)
        reduced = set() if axes is None else {int(axis) % rank for axis in axes.ravel()}
        if mode and reduced - {0} == set(range(1, rank - 1)):
            converter.emit(operator, GlobalPool, mode=mode)
        else:
            converter.emit(operator, Reduce, function=function)

    return handler


def concat(converter: TfliteLayerCollector, operator: Operator) -> None:
    """Put tensors side by side along channels or positions."""
    rank = len(converter.tensor(operator, 0).shape)
    converter.emit(operator, Concat, axis="channel" if operator.options.axis % rank == rank - 1 else "position")


def reshape(converter: TfliteLayerCollector, operator: Operator) -> None:
    """Add nothing where channels and positions stay what they are."""
    before = converter.layers[converter.source(operator)]
    after = trace_shape(converter.model.tensors[operator.outputs[0]])
    merged = len(after) <= 2 and after[0] == before.channels
    if merged or after == before.output_shape:
        alias(converter, operator)
    else:
        converter.emit(operator, Reshape)


def alias(converter: TfliteLayerCollector, operator: Operator) -> None:
    """Drop the operator: its output is its input."""
    converter.values[operator.outputs[0]] = converter.source(operator)


def layer(cls: type[LayerBase], **fields: Any) -> Handler:
    """Return the handler of operators that are one layer of a class."""
    return lambda converter, operator: converter.emit(operator, cls, **fields)


def _handler(model: TfliteModel, operator: Operator, allow_unknown: bool) -> Handler:
    if operator.kind in TABLE:
        return TABLE[operator.kind]
    if allow_unknown:
        return layer(Unknown, operator=operator.kind)
    where, hint = f"{model.where}: operator '{operator.name}'", "--allow-unknown makes it a free digital operator"
    raise ImcsimError(where, f"operator {operator.kind} is not understood", hint)


def _quant(tensor: Tensor) -> Quantisation:
    if tensor.kind not in BITS:
        return Quantisation()
    zero = tuple(tensor.zero.tolist()) if tensor.zero.any() else ()
    return Quantisation(bits=BITS[tensor.kind], scale=tuple(tensor.scale.tolist()), zero_point=zero)


BITS = {"INT2": 2, "INT4": 4, "INT8": 8, "UINT8": 8, "INT16": 16}
ACTIVATIONS = (
    "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU", "PRELU", "ELU", "LOGISTIC", "TANH", "HARD_SWISH",
    "GELU", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "ABS", "NEG", "FLOOR", "CEIL", "ROUND", "SIGN", "SIN", "COS",
)  # fmt: skip
BINARIES = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "ADD_N")

TABLE: dict[str, Handler] = {
    **{kind: layer(Activation, function=kind.lower()) for kind in ACTIVATIONS},
    **{kind: layer(Elementwise, function=kind.lower()) for kind in BINARIES},
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), layer(Elementwise, function="pad")),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), layer(Elementwise, function="resize")),
    **dict.fromkeys(("TILE", "BROADCAST_TO"), layer(Elementwise, function="expand")),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), reshape),
    **dict.fromkeys(("TRANSPOSE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), layer(Reshape)),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "UNPACK", "GATHER"), layer(Slice)),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE", "CAST"), alias),
    **dict.fromkeys(("SOFTMAX", "LOG_SOFTMAX"), layer(Softmax)),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN"), layer(Reduce, function="argmax")),
    "AVERAGE_POOL_2D": pool("avg"),
    "MAX_POOL_2D": pool("max"),
    "CONCATENATION": concat,
    CONV: convolution,
    DEPTHWISE: convolution,
    LINEAR: linear,
    "L2_NORMALIZATION": layer(Normalisation, function="lp"),
    "MEAN": reduce("mean"),
    "REDUCE_MAX": reduce("max"),
    "REDUCE_MIN": reduce("min"),
    "SUM": reduce("sum"),
}
