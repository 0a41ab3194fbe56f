"""Read a float ONNX network of images as the quantiser needs it: not quantised yet, recent, with one input."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import version_converter

from imcsim.util.errors import ImcsimError

Floats = NDArray[np.float32]
LEAST_OPSET, OPSET = 13, 17  # scales per channel came with 13; older models are taken to 17
NEWEST_IR = 13  # of the file format: onnx 1.23 writes 14, which onnxruntime 1.31 does not read
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")


class FloatNetwork:
    """Hold a checked model: ``model`` has at least opset 13. Raises ImcsimError for any other file."""

    def __init__(self, path: str | Path) -> None:
        self.where = str(path)
        model = _load(self.where)
        kind = next((node.op_type for node in model.graph.node if _is_quantised(node.op_type)), None)
        if kind:
            hint = "give the float model, or run this one as it is"
            raise ImcsimError(self.where, f"is quantised already ({kind})", hint)
        self.model = _upgraded(model, self.where)
        self.model.ir_version = min(self.model.ir_version, NEWEST_IR)
        self.input = _the_input(self.model, self.where)

    @property
    def images_at_once(self) -> int:
        """Return 1, or 0 where the network takes any number of images."""
        return int(self.input.type.tensor_type.shape.dim[0].dim_value)

    def check_images(self, shape: tuple[int, ...], name: str) -> None:
        """Raise ImcsimError where images of a ``shape`` (without their number) are not what the network takes."""
        wanted = [dim.dim_value for dim in self.input.type.tensor_type.shape.dim][1:]  # 0 where any size will do
        if len(wanted) != len(shape) or any(size and size != given for size, given in zip(wanted, shape, strict=True)):
            problem = f"takes images of {_by(wanted)}, {name} has {_by(shape)} (channels first)"
            raise ImcsimError(self.where, problem, "give the data set that it was trained on, or resize the images")

    def run(self, images: Floats) -> NDArray[Any]:
        """Return the network's first output for images (n, ...). Raises ImcsimError where the library refuses."""
        try:
            (scores,) = self._session.run([self.model.graph.output[0].name], {self.input.name: images})
        except Exception as error:  # the library raises many kinds
            reason = str(error).partition("\n")[0]
            raise ImcsimError(self.where, f"onnxruntime cannot run it ({reason})", "export it again") from error
        return np.asarray(scores)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = self.model.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _load(path: str) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except FileNotFoundError:
        raise ImcsimError(path, "the file does not exist", "check the path") from None
    except Exception as error:  # onnx hands on what its parser raises
        raise ImcsimError(path, "is no readable ONNX model, perhaps truncated", "export it again") from error


def _is_quantised(operator: str) -> bool:
    return operator in QUANTISED or operator.startswith("QLinear")


def _upgraded(model: onnx.ModelProto, path: str) -> onnx.ModelProto:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset >= LEAST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # whatever its converters raise
        hint = f"export it with opset {LEAST_OPSET} or later"
        raise ImcsimError(path, f"its opset {opset} is too old and cannot be taken to {OPSET}", hint) from error


def _the_input(model: onnx.ModelProto, path: str) -> onnx.ValueInfoProto:
    """Return the only input; it is float32 and takes 1 image, or any number of them."""
    constants = {item.name for item in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) != 1:
        raise ImcsimError(path, f"has {len(inputs)} inputs, not one", "give a network that reads images alone")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT or not tensor.shape.dim:
        raise ImcsimError(path, f"its input '{inputs[0].name}' is no float32 tensor", "export it with float32 images")
    if tensor.shape.dim[0].dim_value > 1:
        problem = f"takes {tensor.shape.dim[0].dim_value} images at once"
        raise ImcsimError(path, problem, "export it with an open batch dimension, or with 1")
    return inputs[0]


def _by(shape: Any) -> str:
    return " x ".join(str(size or "any") for size in shape)
