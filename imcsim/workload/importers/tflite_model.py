"""Read a TensorFlow Lite file as the plain tensors and operators that importer and quantised reader start from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.util.errors import ImcsimError

Array = NDArray[Any]
IDENTIFIER = b"TFL3"
DTYPES = {
    "FLOAT16": np.float16, "FLOAT32": np.float32, "FLOAT64": np.float64, "BOOL": np.bool_,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
}  # fmt: skip
CONV, DEPTHWISE, LINEAR = WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Tensor:
    """Describe a tensor of a file.

    ``kind``: INT8, FLOAT32, ...; ``scale`` and ``zero``: (1,), or (channels,), or empty where it is not quantised.
    ``constant``: its values, None where it is computed or comes from outside.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    scale: NDArray[np.float32]
    zero: NDArray[np.int64]
    constant: Array | None


@dataclass(frozen=True)
class Operator:
    """Describe an operator.

    ``name``: its kind and its place in the file, such as conv_2d_0; ``inputs``, ``outputs``: numbers of tensors.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    @property
    def activation(self) -> str:
        """Return the fused activation: NONE, RELU, RELU6, ..."""
        return _names("ActivationFunctionType")[getattr(self.options, "fusedActivationFunction", 0)]

    def window(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> dict[str, Any]:
        """Return kernel, stride, dilation and padding (all begins, then all ends) on positions of a size."""
        options = self.options
        stride = (options.strideH, options.strideW)
        dilation = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
        same = _names("Padding")[options.padding] == "SAME"
        padding = _same_padding(size, kernel, stride, dilation) if same else (0, 0, 0, 0)
        return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


class TfliteModel:
    """Hold one network of one input and a batch of 1. Raises ImcsimError for files that hold anything else."""

    def __init__(self, content: Any, where: str) -> None:
        """Check and translate ``content``, a ModelT of the library's object interface."""
        self.content, self.where = content, where
        graph = content.subgraphs[0]
        if len(graph.inputs) != 1:
            raise ImcsimError(where, f"the model has {len(graph.inputs)} inputs", "give a network of one input")
        self.input, self.output = int(graph.inputs[0]), int(graph.outputs[0])
        self.tensors = [self._tensor(item) for item in graph.tensors]
        self.operators = [self._operator(item, number) for number, item in enumerate(graph.operators)]
        self._check_input(graph.tensors[self.input])

    def error(self, operator: Operator, problem: str, hint: str) -> ImcsimError:
        """Return an error that names the file and the operator."""
        return ImcsimError(f"{self.where}: operator '{operator.name}' ({operator.kind})", problem, hint)

    def _tensor(self, item: Any) -> Tensor:
        name = "" if item.name is None else item.name.decode()
        kind, shape = _names("TensorType")[item.type], tuple(int(size) for size in _listed(item.shape))
        quant = item.quantization
        scale = np.array(_listed(getattr(quant, "scale", None)), np.float32)
        zero = np.array(_listed(getattr(quant, "zeroPoint", None)), np.int64)
        data = self.content.buffers[item.buffer].data
        stored = data is not None and len(data) and kind in DTYPES
        constant: Array | None = np.asarray(data, np.uint8).view(DTYPES[kind]).reshape(shape) if stored else None
        return Tensor(name, shape, kind, scale, zero if len(zero) else np.zeros(len(scale), np.int64), constant)

    def _operator(self, item: Any, number: int) -> Operator:
        code = self.content.operatorCodes[item.opcodeIndex]
        # files from before there were 127 operators state theirs in the deprecated field only
        kind = _names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if kind == "CUSTOM":
            kind = code.customCode.decode()
        inputs, outputs = (tuple(int(place) for place in _listed(places)) for places in (item.inputs, item.outputs))
        return Operator(f"{kind.lower()}_{number}", kind, inputs, outputs, item.builtinOptions)

    def _check_input(self, item: Any) -> None:
        entry = self.tensors[self.input]
        if len(entry.shape) < 2 or entry.shape[0] != 1 or entry.kind not in DTYPES:
            hint = "convert it with a batch of 1"
            raise ImcsimError(self.where, f"its input is {entry.kind} of shape {entry.shape}", hint)
        if any(size < 0 for size in _listed(item.shapeSignature)[1:]):
            raise ImcsimError(self.where, "the size of its input is open", "convert it with a fixed size")


def load_tflite(path: str | Path) -> TfliteModel:
    """Read a ``.tflite`` file. Raises ImcsimError where it cannot be read, or the optional library is not installed."""
    schema_of_library = schema(str(path))
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        problem = "the file does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise ImcsimError(str(path), problem, "check the path") from None
    unreadable = ImcsimError(str(path), "is no readable TensorFlow Lite model, perhaps truncated", "convert it again")
    if raw[4:8] != IDENTIFIER:
        raise unreadable
    try:
        return TfliteModel(schema_of_library.ModelT.InitFromPackedBuf(raw, 0), str(path))
    except ImcsimError:
        raise
    except Exception as error:  # flatbuffers check nothing: a broken file may raise anything
        raise unreadable from error


def schema(where: str) -> ModuleType:
    """Return the library's classes for what a file holds. Raises ImcsimError where it is not installed."""
    try:
        return import_module("ai_edge_litert.schema_py_generated")
    except ImportError:
        problem = "reading TensorFlow Lite models needs the package ai-edge-litert"
        raise ImcsimError(where, problem, "pip install 'imcsim[tflite]'") from None


def _same_padding(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Return zeros at all begins, then all ends, for as many positions as strides; the odd one at the end."""
    lengths = zip(size, kernel, stride, dilation, strict=True)
    totals = [max(0, (-(-length // s) - 1) * s + d * (k - 1) + 1 - length) for length, k, s, d in lengths]
    return (*(total // 2 for total in totals), *(total - total // 2 for total in totals))


@cache
def _names(enumeration: str) -> dict[int, str]:
    """Return the words of one of the library's enumerations by their numbers."""
    return {number: word for word, number in vars(getattr(schema(""), enumeration)).items() if word.isupper()}


def _listed(values: Any) -> Any:
    """Return as a list what the library gives as an array, a list or, where it is empty, nothing."""
    return [] if values is None else values
