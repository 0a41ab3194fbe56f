"""Makes the broken ONNX models of this folder: ``python tests/bad/cli/make_models.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent


def save(
    name: str, operator: str, shape: list[int | str], domain: str = "", constant: tuple[int, ...] = (4, 3)
) -> None:
    """A model of one operator between x and y, the second input a constant."""
    weight = numpy_helper.from_array(np.ones(constant, np.float32), "w")
    node = helper.make_node(operator, ["x", "w"], ["y"], name="the_node", domain=domain)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    imports = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    graph = helper.make_graph([node], name, [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), HERE / f"{name}.onnx")


if __name__ == "__main__":
    save("symbolic_shape", "MatMul", ["batch", "length", "width", 4])
    save("unknown_operator", "Frobnicate", [1, 4], domain="example.org", constant=(4,))
    save("unknown_weights", "Frobnicate", [1, 4], domain="example.org")
    save("whole", "MatMul", [1, 4])
    whole = HERE / "whole.onnx"
    (HERE / "truncated.onnx").write_bytes(whole.read_bytes()[:60])
    whole.unlink()
