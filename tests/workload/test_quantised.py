"""Are the integers of every weighted layer those of onnxruntime, bit for bit?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, QuantisedNetwork, load_quantised

Array = NDArray[Any]
DATA = Path(__file__).parents[3] / "shared" / "data"
RESNET20 = DATA / "resnet20-cifar10-jpeg-finetuned" / "resnet20_jpegft_int8_qdq.onnx"


# -- models ------------------------------------------------------------------------------------------------------------


@dataclass
class Builder:
    """Build a QDQ model; every tensor has a scale of its own."""

    rng: np.random.Generator
    dtype: type = np.int8

    def __post_init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Array) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def scale(self, name: str, size: float, zero: int | None = None) -> list[str]:
        zero = int(self.rng.integers(-20, 20)) if zero is None else zero
        shifted = zero + (0 if self.dtype is np.int8 else 128)
        zero_name = self.constant(f"{name}_zero", np.array(shifted, self.dtype))
        return [self.constant(f"{name}_scale", np.array(size, np.float32)), zero_name]

    def quantised(self, tensor: str, size: float) -> str:
        """Add Q and DQ behind a tensor; return the name of the dequantised one."""
        scale = self.scale(tensor, size)
        self.nodes.append(helper.make_node("QuantizeLinear", [tensor, *scale], [f"{tensor}_q"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{tensor}_q", *scale], [f"{tensor}_dq"]))
        return f"{tensor}_dq"

    def weights(self, name: str, shape: tuple[int, ...], axis: int, unit: float) -> list[str]:
        """Add per-channel weights and a bias in units of the sums, both behind DQ."""
        n = shape[axis]
        scales = self.rng.uniform(0.002, 0.02, n).astype(np.float32)
        zeros = self.constant(f"{name}_wz", np.zeros(n, np.int8))
        stored = self.constant(f"{name}_w", self.rng.integers(-128, 128, shape, np.int8))
        reads = [stored, self.constant(f"{name}_ws", scales), zeros]
        self.nodes.append(helper.make_node("DequantizeLinear", reads, [f"{name}_wdq"], axis=axis))
        bias = self.constant(f"{name}_b", self.rng.integers(-5000, 5000, n, np.int32))
        unit_name = self.constant(f"{name}_bs", (np.float32(unit) * scales).astype(np.float32))
        self.nodes.append(helper.make_node("DequantizeLinear", [bias, unit_name], [f"{name}_bdq"], axis=0))
        return [f"{name}_wdq", f"{name}_bdq"]

    def model(self, shape: tuple[int, ...], output: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["images", *shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def small_network(rng: np.random.Generator, dtype: type, groups: int, stride: int, dilation: int) -> onnx.ModelProto:
    """Build conv, relu, grouped or dilated conv, addition, average pooling, fully connected."""
    b = Builder(rng, dtype)
    x = b.quantised("x", 0.03)
    first = [x, *b.weights("a", (8, 3, 3, 3), 0, 0.03)]
    b.nodes.append(helper.make_node("Conv", first, ["a"], name="a", pads=[1, 1, 1, 1]))
    b.nodes.append(helper.make_node("Relu", ["a"], ["ar"]))
    a = b.quantised("ar", 0.05)
    options = {"pads": [dilation, dilation, dilation, dilation], "dilations": [dilation] * 2, "group": groups}
    second = [a, *b.weights("c", (8, 8 // groups, 3, 3), 0, 0.05)]
    b.nodes.append(helper.make_node("Conv", second, ["c"], name="c", **options))
    c = b.quantised("c", 0.07)
    b.nodes.append(helper.make_node("Add", [a, c], ["s"]))
    s = b.quantised("s", 0.09)
    third = [s, *b.weights("d", (4, 8, 1, 2), 0, 0.09)]
    b.nodes.append(helper.make_node("Conv", third, ["d"], name="d", strides=[stride, stride], pads=[0, 1, 0, 0]))
    d = b.quantised("d", 0.11)
    b.nodes.append(helper.make_node("GlobalAveragePool", [d], ["p"]))
    p = b.quantised("p", 0.05)
    b.nodes.append(helper.make_node("Flatten", [p], ["f"]))
    f = b.quantised("f", 0.05)
    b.nodes.append(helper.make_node("Gemm", [f, *b.weights("e", (5, 4), 0, 0.05)], ["e"], name="e", transB=1))
    return b.model((3, 7, 6), b.quantised("e", 0.02))


def library(model: onnx.ModelProto, x: Array, tensors: list[str]) -> list[Array]:
    """Return what onnxruntime's integer kernels compute for some tensors."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    known = {item.name: item for item in onnx.shape_inference.infer_shapes(model).graph.value_info}
    present = {item.name for item in model.graph.output}
    model.graph.output.extend(known[name] for name in tensors if name not in present)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(tensors, {session.get_inputs()[0].name: x}))


def assert_same_integers(model: onnx.ModelProto, x: Array) -> None:
    network = QuantisedNetwork(model, "model.onnx")
    *layers, (_, output) = network.steps(x)
    wanted = library(model, x, [*(site.gives for site in network.sites), network.graph.output])
    for (name, ours), theirs in zip([*layers, ("output", output)], wanted, strict=True):
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


# -- layers ------------------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6), dtype=st.sampled_from([np.int8, np.uint8]), groups=st.sampled_from([1, 2, 8]),
    stride=st.integers(1, 2), dilation=st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_qdq_network_gives_the_library_s_integers(
    seed: int, dtype: type, groups: int, stride: int, dilation: int
) -> None:
    rng = np.random.default_rng(seed)
    model = small_network(rng, dtype, groups, stride, dilation)
    assert_same_integers(model, rng.normal(0, 1.5, (3, 3, 7, 6)).astype(np.float32))


def qlinear_network(rng: np.random.Generator, dtype: type) -> onnx.ModelProto:
    """Build QuantizeLinear, a grouped QLinearConv with zero points and strides, a QLinearMatMul, DequantizeLinear."""
    b = Builder(rng, dtype)
    x, y, z = b.scale("x", 0.03), b.scale("y", 0.4), b.scale("z", 3.0)
    weights = b.constant("w", rng.integers(-128, 128, (6, 2, 3, 3), np.int8))
    scales = [b.constant("ws", rng.uniform(0.002, 0.02, 6).astype(np.float32)), b.constant("wz", np.zeros(6, np.int8))]
    bias = b.constant("b", rng.integers(-5000, 5000, 6, np.int32))
    matrix = b.constant("m", rng.integers(-128, 128, (54, 5), np.int8))
    unit = [b.constant("ms", np.array(0.01, np.float32)), b.constant("mz", np.array(0, np.int8))]
    conv = ["xq", *x, weights, *scales, *y, bias]
    b.nodes += [
        helper.make_node("QuantizeLinear", ["x", *x], ["xq"]),
        helper.make_node("QLinearConv", conv, ["yq"], name="conv", group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["yq"], ["flat"]),
        helper.make_node("QLinearMatMul", ["flat", *y, matrix, *unit, *z], ["zq"], name="product"),
        helper.make_node("DequantizeLinear", ["zq", *z], ["out"]),
    ]
    return b.model((4, 6, 6), "out")


@given(seed=st.integers(0, 10**6), dtype=st.sampled_from([np.int8, np.uint8]))
@settings(max_examples=20, deadline=None)
def test_a_qlinear_network_gives_the_library_s_integers(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    model = qlinear_network(rng, dtype)
    assert_same_integers(model, rng.normal(0, 1.5, (3, 4, 6, 6)).astype(np.float32))


def test_resnet20_gives_the_library_s_integers_on_100_images() -> None:
    if not RESNET20.exists():
        pytest.skip(f"{RESNET20.name} is not on this machine")
    x = np.random.default_rng(0).normal(0, 1, (100, 3, 32, 32)).astype(np.float32)
    assert_same_integers(onnx.load(RESNET20), x)


def slow_sums(layer: IntegerLayer, x: Array) -> Array:
    """Compute a convolution by hand: every product of every position."""
    assert layer.sliding is not None
    window, size = layer.sliding, layer.output_size(x)
    per_group, out_per_group = x.shape[1] // layer.groups, layer.channels // layer.groups
    kernels = layer.weights.reshape(layer.channels, per_group, *window.kernel)
    sums = np.zeros((len(x), *size, layer.channels), np.int64) + layer.bias
    for image, row, column, channel, k, i, j in np.ndindex(len(x), *size, layer.channels, per_group, *window.kernel):
        r = row * window.stride[0] + i * window.dilation[0] - window.padding[0]
        c = column * window.stride[1] + j * window.dilation[1] - window.padding[1]
        if 0 <= r < x.shape[2] and 0 <= c < x.shape[3]:
            value = int(x[image, channel // out_per_group * per_group + k, r, c]) - layer.input.zero
            sums[image, row, column, channel] += value * kernels[channel, k, i, j]
    return sums.reshape(len(x), -1, layer.channels)


@pytest.mark.parametrize(("groups", "stride", "dilation"), [(1, 2, 1), (2, 1, 2), (8, 1, 1)])
def test_sums_are_those_of_a_convolution_by_hand(groups: int, stride: int, dilation: int) -> None:
    rng = np.random.default_rng(groups)
    network = QuantisedNetwork(small_network(rng, np.int8, groups, stride, dilation), "model.onnx")
    for layer, channels in zip(network.layers[:3], (3, 8, 8), strict=True):
        x = rng.integers(-128, 128, (2, channels, 7, 6), np.int8)
        np.testing.assert_array_equal(layer.sums(layer.vectors(x)), slow_sums(layer, x))


def test_another_multiplication_takes_the_place_of_the_sums() -> None:
    network = QuantisedNetwork(small_network(np.random.default_rng(1), np.int8, 1, 1, 1), "model.onnx")
    x = np.zeros((2, 3, 7, 6), np.float32)
    seen = []

    def multiply(layer: IntegerLayer, vectors: Array) -> Array:
        seen.append((layer.name, vectors.shape))
        return layer.sums(vectors)

    np.testing.assert_array_equal(network.run(x, multiply), network.run(x))
    assert seen == [("a", (2, 42, 1, 27)), ("c", (2, 42, 1, 72)), ("d", (2, 42, 1, 16)), ("e", (2, 1, 1, 4))]


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_float_model_is_refused_with_a_way_out() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="first")
    graph = helper.make_graph(
        [conv], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])],
        [numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")],
    )  # fmt: skip
    with pytest.raises(ImcsimError, match=r"node 'first' .*not quantised; quantise it first: imcsim quantize"):
        QuantisedNetwork(helper.make_model(graph), "float.onnx")


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    for name, problem in (("none.onnx", "does not exist"), ("text.onnx", "no readable ONNX model")):
        with pytest.raises(ImcsimError, match=problem):
            load_quantised(tmp_path / name)
