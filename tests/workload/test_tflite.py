"""Are the integers of a TensorFlow Lite network those of LiteRT's reference kernels, and its trace right?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import imcsim
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset
from imcsim.workload.importers import load_network
from imcsim.workload.importers.tflite_model import TfliteModel
from imcsim.workload.quantised import IntegerLayer, QuantisedNetwork, load_quantised
from imcsim.workload.quantised.requantisation import Requantise, fixed_point, float32_half_even, float64_half_away
from imcsim.workload.quantised.tflite_graph import TfliteGraph
from imcsim.workload.workload import Conv, Pool
from tests.conftest import Outcome
from tests.functional.test_arrays import IDEAL, chip
from tests.support.crossbars import arrays_of

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'imcsim[tflite]'")

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

Array = NDArray[Any]
DATA = Path(__file__).parents[3] / "shared" / "data"
DS_CNN = DATA / "mlperf-tiny" / "kws_ref_model.tflite"
RESNET8 = DATA / "mlperf-tiny" / "pretrainedResnet_quant.tflite"
FLOAT = DATA / "mlperf-tiny" / "pretrainedResnet.tflite"
MOBILENET = DATA / "coral-int8" / "mobilenet_v1_0.25_128_quant.tflite"
KEYWORDS = DATA / "kws01" / "kws01_mfcc_int8.npz"
PICTURES = DATA / "cifar-lossless-20"


def shared(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    return path


# -- models ------------------------------------------------------------------------------------------------------------


@dataclass
class Builder:
    """Build a model in the library's own object interface; tensors are numbers."""

    rng: np.random.Generator
    kind: str = "INT8"
    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[Any] = field(default_factory=list)

    def tensor(self, shape: tuple[int, ...], scale: Array | float = (), zero: int = 0, values: Array = ()) -> int:
        """Add an activation of the model's kind, or a constant of the kind of its ``values``."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self.tensors)}", list(shape)
        kind = np.asarray(values).dtype.name.upper() if np.size(values) else self.kind
        tensor.type = getattr(schema.TensorType, kind)
        if np.size(scale):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [float(s) for s in np.atleast_1d(scale)]
            tensor.quantization.zeroPoint = [zero] * np.size(scale)
        if np.size(values):
            tensor.buffer = len(self.buffers)
            self.buffers.append(schema.BufferT())
            self.buffers[-1].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def activation(self, shape: tuple[int, ...], scale: float) -> int:
        low = 0 if self.kind == "UINT8" else -128
        return self.tensor((1, *shape), np.float32(scale), int(self.rng.integers(low + 100, low + 156)))

    def operator(self, kind: str, inputs: list[int], output: int, options: str = "", **fields: Any) -> int:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        number = getattr(schema.BuiltinOperator, kind)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes), inputs, [output]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            vars(operator.builtinOptions).update(fields)
        self.codes.append(code)
        self.operators.append(operator)
        return output

    def weighted(
        self, kind: str, x: int, y: int, shape: tuple[int, ...], axis: int, scales: Array, **fields: Any
    ) -> int:
        """Add an operator with weights, each channel along ``axis`` with its scale, or one ``scales`` for all."""
        channels, unit = shape[axis], np.float32(self.tensors[x].quantization.scale[0])
        dtype, zero = (np.uint8, 120) if self.kind == "UINT8" else (np.int8, 0)
        limits = np.iinfo(dtype)
        stored = self.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
        weights = self.tensor(shape, scales, zero, stored)
        self.tensors[weights].quantization.quantizedDimension = axis
        bias = self.tensor((channels,), unit * scales, 0, self.biases(channels).astype(np.int32))
        options = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}
        return self.operator(kind, [x, weights, bias], y, options.get(kind, "FullyConnectedOptions"), **fields)

    def biases(self, n: int) -> Array:
        return self.rng.integers(-5000, 5000, n)

    def content(self, x: int, y: int) -> bytes:
        model, graph = schema.ModelT(), schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [x], [y]
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], self.buffers, self.codes
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


STRIDES = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}


def small_network(rng: np.random.Generator, kind: str = "INT8", fixed: bool = False) -> bytes:
    """Build convolution, depthwise one, addition, pooling, fully connected, softmax; ``fixed``: for one image."""
    b = Builder(rng, kind)
    scales = (lambda n: rng.uniform(0.002, 0.02, n)) if kind == "INT8" else (lambda n: np.array([0.01]))
    x = b.activation((7, 6, 3), 0.03)
    a = b.weighted("CONV_2D", x, b.activation((7, 6, 8), 0.2), (8, 3, 3, 3), 0, scales(8), **STRIDES)
    c = b.activation((7, 6, 8), 0.2)
    b.weighted("DEPTHWISE_CONV_2D", a, c, (1, 3, 3, 8), 3, scales(8), depthMultiplier=1, **STRIDES)
    s = b.operator("ADD", [a, c], b.activation((7, 6, 8), 0.3), "AddOptions", fusedActivationFunction=1)
    p = b.tensor((1, 1, 1, 8), b.tensors[s].quantization.scale[0], b.tensors[s].quantization.zeroPoint[0])
    window = {"filterHeight": 7, "filterWidth": 6, "strideH": 7, "strideW": 6, "padding": 1}
    b.operator("AVERAGE_POOL_2D", [s], p, "Pool2DOptions", **window)
    f = b.tensor((1, 8), b.tensors[p].quantization.scale[0], b.tensors[p].quantization.zeroPoint[0])
    shape = b.tensor((2,), values=np.array([1 if fixed else -1, 8], np.int32))
    b.operator("RESHAPE", [p, shape], f)
    y = b.weighted("FULLY_CONNECTED", f, b.activation((5,), 0.3), (5, 8), 0, scales(5))
    low = 0 if kind == "UINT8" else -128
    out = b.operator("SOFTMAX", [y], b.tensor((1, 5), np.float32(1 / 256), low), "SoftmaxOptions", beta=1.0)
    return b.content(x, out)


def network_of(content: bytes) -> QuantisedNetwork:
    model = TfliteModel(schema.ModelT.InitFromPackedBuf(content, 0), "model.tflite")
    return QuantisedNetwork(model, "model.tflite", TfliteGraph)


def assert_same_integers(network: QuantisedNetwork, content: bytes, images: Array) -> None:
    """Compare every weighted layer, and the output, with what the interpreter gives image by image."""
    library = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True, num_threads=1,
    )  # fmt: skip
    library.allocate_tensors()
    steps = list(network.steps(images))
    tensors = [*(site.gives for site in network.sites), network.graph.output]
    for number, x in enumerate(network.graph.prepared(images)):
        library.set_tensor(network.graph.input, x[None])
        library.invoke()
        for (name, ours), tensor in zip(steps, tensors, strict=True):
            theirs = library.get_tensor(tensor)
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_array_equal(ours[number : number + 1], theirs, err_msg=name)


def integers(rng: np.random.Generator, network: QuantisedNetwork, n: int) -> Array:
    limits = np.iinfo(network.graph.input_dtype)
    shape = (n, *network.graph.image_shape)
    return rng.integers(limits.min, limits.max + 1, shape).astype(network.graph.input_dtype)


# -- layers ------------------------------------------------------------------------------------------------------------

SCALES = st.sampled_from([0.5, 0.25, 0.013, 0.00037])
OUTPUT_SCALES = st.sampled_from([0.25, 1.0, 3.1, 19.0])
ACTIVATIONS = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])


@given(
    seed=st.integers(0, 10**6), kind=st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]),
    signed=st.booleans(), per_channel=st.booleans(),
    weight_scale=SCALES, output_scale=OUTPUT_SCALES, activation=ACTIVATIONS,
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), dilation=st.integers(1, 2), same=st.booleans(),
    channels=st.integers(1, 4), multiplier=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_a_weighted_operator_gives_the_library_s_integers(
    seed: int, kind: str, signed: bool, per_channel: bool, weight_scale: float, output_scale: float, activation: str,
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: int, same: bool,
    channels: int, multiplier: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    b = Builder(rng, "INT8" if signed else "UINT8")
    reach = [dilation * (k - 1) + 1 for k in kernel]
    if not same:
        size = (max(size[0], reach[0]), max(size[1], reach[1]))
    free = [0 if same else r - 1 for r in reach]
    positions = tuple(-(-(n - f) // s) for n, f, s in zip(size, free, stride, strict=True))
    outputs = channels * multiplier
    spread = rng.uniform(1, 2, outputs) if per_channel and signed and outputs > 1 else np.ones(1)
    scales, fused = weight_scale * spread, getattr(schema.ActivationFunctionType, activation)
    window = {
        "strideH": stride[0], "strideW": stride[1], "dilationHFactor": dilation, "dilationWFactor": dilation,
        "padding": 0 if same else 1, "fusedActivationFunction": fused,
    }  # fmt: skip
    if kind == "FULLY_CONNECTED":
        x, y = b.activation((channels * 5,), 0.5), b.activation((outputs,), 0.5 * output_scale)
        b.weighted(kind, x, y, (outputs, channels * 5), 0, scales, fusedActivationFunction=fused)
    else:
        x, y = b.activation((*size, channels), 0.5), b.activation((*positions, outputs), 0.5 * output_scale)
        shape, axis = ((outputs, *kernel, channels), 0) if kind == "CONV_2D" else ((1, *kernel, outputs), 3)
        extra = {"depthMultiplier": multiplier} if kind == "DEPTHWISE_CONV_2D" else {}
        b.weighted(kind, x, y, shape, axis, scales, **window, **extra)
    content = b.content(x, y)
    network = network_of(content)
    assert_same_integers(network, content, integers(rng, network, 20 if kind == "FULLY_CONNECTED" else 2))


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["INT8", "UINT8"]), fixed=st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_small_network_gives_the_library_s_integers(seed: int, kind: str, fixed: bool) -> None:
    rng = np.random.default_rng(seed)
    content = small_network(rng, kind, fixed)
    network = network_of(content)
    assert_same_integers(network, content, integers(rng, network, 3))


def test_grouped_convolutions_give_the_library_s_integers() -> None:
    rng = np.random.default_rng(0)
    b = Builder(rng)
    x, y = b.activation((5, 4, 6), 0.5), b.activation((5, 4, 4), 5.0)
    b.weighted("CONV_2D", x, y, (4, 3, 3, 3), 0, rng.uniform(0.01, 0.02, 4), **STRIDES)
    content = b.content(x, y)
    network = network_of(content)
    assert network.layers[0].groups == 2
    assert_same_integers(network, content, integers(rng, network, 2))


@dataclass
class Edges(Builder):
    """Choose biases where float32 or float64 products of input and weight scale differ in the last bit."""

    rule: Requantise = fixed_point

    def biases(self, n: int) -> Array:
        sums = np.arange(1 << 22)[:, None]
        single = (np.array([0.0123], np.float32) * np.float32(0.0456)).astype(np.float64)
        double = np.float64(np.float32(0.0123)) * np.array([0.0456], np.float32)
        return sums[self.rule(sums, single, 9.75) != self.rule(sums, double, 9.75)][:n]


@pytest.mark.parametrize("kind", ["INT8", "UINT8"])
@pytest.mark.parametrize("operator", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_scales_are_multiplied_as_precisely_as_by_the_library(operator: str, kind: str) -> None:
    rule = float64_half_away if operator == "FULLY_CONNECTED" else fixed_point
    b, n = Edges(np.random.default_rng(0), kind, rule=rule), 2
    size = () if operator == "FULLY_CONNECTED" else (1, 1)
    x, y = b.activation((*size, n), 0.0123), b.activation((*size, n), 9.75)
    shape, axis = ((1, 1, 1, n), 3) if operator == "DEPTHWISE_CONV_2D" else ((n, *size, n), 0)
    options = {} if operator == "FULLY_CONNECTED" else STRIDES
    extra = {"depthMultiplier": 1} if operator == "DEPTHWISE_CONV_2D" else {}
    b.weighted(operator, x, y, shape, axis, np.array([0.0456]), **options, **extra)
    content = b.content(x, y)
    network = network_of(content)
    nothing = np.full((1, n, *size), network.layers[0].input.zero).astype(network.graph.input_dtype)
    assert_same_integers(network, content, nothing)


def test_each_rule_rounds_in_its_own_way() -> None:
    halves = np.array([[-7, -5, -3, -1, 1, 3, 5, 7]]).T
    half = np.array([0.5])
    assert float32_half_even(halves, half, 1.0).ravel().tolist() == [-4, -2, -2, 0, 0, 2, 2, 4]
    assert float64_half_away(halves, half, 1.0).ravel().tolist() == [-4, -3, -2, -1, 1, 2, 3, 4]
    assert fixed_point(halves, half, 1.0).ravel().tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]
    # just below a half: rounded up to it by the first of two roundings, and then up again
    sums, scale = np.array([[(1 << 20) - 1]]), np.array([0.5 * 2.0**-20])
    assert float64_half_away(sums, scale, 1.0) == 0
    assert fixed_point(sums, scale, 1.0) == 1


@given(st.lists(st.integers(-(2**27), 2**27), min_size=1), st.floats(2**-40, 7.9))
@settings(deadline=None)
def test_the_fixed_point_is_that_of_whole_numbers(sums: list[int], factor: float) -> None:
    rounded = fixed_point(np.array(sums)[:, None], np.array([factor]), 1.0).ravel().tolist()
    assert rounded == [by_hand(value, factor) for value in sums]


def by_hand(value: int, factor: float) -> int:
    """Compute MultiplyByQuantizedMultiplier in Python's integers."""
    fraction, exponent = np.frexp(factor)
    multiplier, exponent = int(fraction * 2**31 + 0.5), int(exponent)
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier // 2, exponent + 1
    if exponent < -31:
        return 0
    product = (value << max(exponent, 0)) * multiplier
    high = (product + (1 << 30)) >> 31 if product >= 0 else -((-product - 1 + (1 << 30)) >> 31)
    away = (abs(high) + (1 << -exponent >> 1)) >> -exponent if exponent < 0 else abs(high)
    return away if high >= 0 else -away


# -- real networks -----------------------------------------------------------------------------------------------------


def keywords(n: int) -> Array:
    with np.load(shared(KEYWORDS)) as file:
        return np.asarray(file["x"][:n])


def pictures(n: int) -> Array:
    """Return pixels from 0 to 255 as floats, each picture in several shifts."""
    from PIL import Image

    files = sorted(shared(PICTURES).glob("cifar10_*.png"))
    images = np.stack([np.asarray(Image.open(file)) for file in files]).transpose(0, 3, 1, 2)
    shifted = np.concatenate([np.roll(images, shift, axis=3) for shift in range(-(-n // len(images)))])
    return np.asarray(shifted[:n], np.float32)


def test_ds_cnn_gives_the_library_s_integers_on_100_inputs() -> None:
    assert_same_integers(load_quantised(shared(DS_CNN)), DS_CNN.read_bytes(), keywords(100))


def test_resnet8_gives_the_library_s_integers_on_100_images() -> None:
    assert_same_integers(load_quantised(shared(RESNET8)), RESNET8.read_bytes(), pictures(100))


def test_mobilenet_gives_the_library_s_integers_on_random_images() -> None:
    network = load_quantised(shared(MOBILENET))
    assert network.graph.input_dtype == np.uint8
    assert_same_integers(network, MOBILENET.read_bytes(), integers(np.random.default_rng(0), network, 3))


@pytest.mark.parametrize(("path", "read"), [(DS_CNN, keywords), (RESNET8, pictures)])
def test_ideal_crossbars_give_the_library_s_answers(path: Path, read: Callable[[int], Array]) -> None:
    network, images = load_quantised(shared(path)), read(100)
    exact = dict(network.steps(images))
    hardware = chip(crossbar__rows=128, crossbar__columns=128, crossbar__wordlines_active=128)
    arrays = arrays_of(network.layers, hardware, IDEAL)
    for name, output in network.steps(images, arrays):
        np.testing.assert_array_equal(output, exact[name], err_msg=name)


# -- images ------------------------------------------------------------------------------------------------------------


def test_images_are_taken_in_both_layouts_and_quantised_where_they_float() -> None:
    network = network_of(small_network(np.random.default_rng(2)))
    numbers = integers(np.random.default_rng(3), network, 4)
    answers = network.run(numbers)
    labels = np.zeros(len(numbers), np.int64)
    assert network.pixels(Dataset("own", numbers, labels)) is numbers
    assert network.pixels(Dataset("other", numbers.astype(np.uint8), labels)).dtype == np.float32
    for shape in ((3, 7, 6), (7, 6, 3)):
        network.check_images(shape)
    np.testing.assert_array_equal(network.run(np.moveaxis(numbers, 1, -1)), answers)
    scale, zero = network.layers[0].input.scale, network.layers[0].input.zero
    real = ((numbers.astype(np.float64) - zero) * scale).astype(np.float32)
    np.testing.assert_array_equal(network.run(real), answers)
    np.testing.assert_array_equal(network.graph.prepared(real * 1e9).min(), -128)  # saturated
    with pytest.raises(ImcsimError, match=r"takes images of 3 x 7 x 6, the data has 7 x 3 x 6"):
        network.check_images((7, 3, 6))
    with pytest.raises(ImcsimError, match=r"takes int8, the images are uint8; give int8, or floating"):
        network.run(numbers.astype(np.uint8))


def test_an_operator_that_fixes_the_batch_runs_image_by_image() -> None:
    for fixed in (False, True):
        network = network_of(small_network(np.random.default_rng(2), fixed=fixed))
        images = integers(np.random.default_rng(3), network, 4)
        one_by_one = np.concatenate([network.run(images[i : i + 1]) for i in range(4)])
        np.testing.assert_array_equal(network.run(images), one_by_one)


# -- traces ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.tflite"
    path.write_bytes(small_network(np.random.default_rng(2)))
    return path


def test_a_trace_has_the_shapes_bits_and_names_of_the_network(model: Path) -> None:
    workload = load_network(model)
    assert [(layer.name, layer.output_shape) for layer in workload.layers] == [
        ("input", (3, 7, 6)), ("conv_2d_0", (8, 7, 6)), ("depthwise_conv_2d_1", (8, 7, 6)), ("add_2", (8, 7, 6)),
        ("add_2/relu", (8, 7, 6)), ("average_pool_2d_3", (8, 1, 1)), ("fully_connected_5", (5,)), ("softmax_6", (5,)),
    ]  # fmt: skip
    assert [layer.name for layer in workload.weighted] == [layer.name for layer in load_quantised(model).layers]
    first, depthwise, linear = workload.weighted
    assert isinstance(first, Conv)
    assert isinstance(depthwise, Conv)
    assert (first.window.padding, first.rows, depthwise.groups, linear.rows) == ((1, 1, 1, 1), 27, 8, 8)
    assert (first.input_quant.bits, first.weight_quant.bits, len(first.weight_quant.scale)) == (8, 8, 8)
    assert workload.layers[4].inputs == ("add_2",)


@pytest.mark.parametrize(("path", "weights", "macs"), [(DS_CNN, 22_016, 2_656_768), (RESNET8, 77_360, 12_501_632)])
def test_real_networks_have_all_their_weights_and_products(path: Path, weights: int, macs: int) -> None:
    workload = load_network(shared(path))
    assert (workload.n_weights, workload.n_macs) == (weights, macs)
    assert any(isinstance(layer, Pool) for layer in workload.layers)


def test_a_network_runs_on_a_chip(model: Path) -> None:
    report = imcsim.run(str(model), "rram-256", "reprogram")
    assert report.summary["makespan_ns"] > 0


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_float_network_has_a_trace_and_is_refused_with_a_way_out(tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(0), "FLOAT32")
    x, y, weights = b.tensor((1, 4, 4, 1)), b.tensor((1, 2, 2, 2)), b.tensor((2, 3, 3, 1), values=np.ones((2, 3, 3, 1)))
    b.tensors[weights].type = schema.TensorType.FLOAT32
    b.buffers[-1].data = np.ones((2, 3, 3, 1), np.float32).view(np.uint8).ravel()
    b.operator("CONV_2D", [x, weights, -1], y, "Conv2DOptions", padding=1, **STRIDES)
    path = tmp_path / "float.tflite"
    path.write_bytes(b.content(x, y))
    assert load_network(path).n_weights == 18
    with pytest.raises(
        ImcsimError, match=r"'conv_2d_0' \(CONV_2D\): is not quantised .*; quantise it to int8: tf.lite"
    ):
        load_quantised(path)


def test_files_that_are_no_models_are_refused(model: Path) -> None:
    content = model.read_bytes()
    for length in (0, 6, 100, len(content) // 2, len(content) - 400):
        model.write_bytes(content[:length])
        for load in (load_network, load_quantised):
            with pytest.raises(ImcsimError, match="no readable TensorFlow Lite model, perhaps truncated"):
                load(model)
    with pytest.raises(ImcsimError, match="does not exist"):
        load_quantised(model.with_name("none.tflite"))


def test_an_operator_that_is_not_understood_is_named(tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(0))
    x, y = b.activation((4, 4, 2), 0.1), b.activation((4, 4, 2), 0.1)
    b.operator("CUMSUM", [x, b.tensor((1,), values=np.zeros(1, np.int32))], y)
    path = tmp_path / "odd.tflite"
    path.write_bytes(b.content(x, y))
    with pytest.raises(ImcsimError, match=r"operator 'cumsum_0': operator CUMSUM is not understood; --allow-unknown"):
        load_network(path)
    assert load_network(path, allow_unknown=True).layers[-1].name == "cumsum_0"
    with pytest.raises(ImcsimError, match=r"the model has no layer with weights"):
        load_quantised(path)


def test_without_the_library_the_way_to_get_it_is_said(
    model: Path, imcsim: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "ai_edge_litert.schema_py_generated", raising=False)
    outcome = imcsim("run", str(model), "--hardware", "rram-256", "--out", str(tmp_path / "o"))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "small.tflite" in outcome.err
    assert "pip install 'imcsim[tflite]'" in outcome.err


def test_another_multiplication_takes_the_place_of_the_sums(model: Path) -> None:
    network = load_quantised(model)
    seen = []

    def multiply(layer: IntegerLayer, vectors: Array) -> Array:
        seen.append((layer.name, vectors.shape))
        return layer.sums(vectors)

    network.run(integers(np.random.default_rng(0), network, 2), multiply)
    assert seen == [
        ("conv_2d_0", (2, 42, 1, 27)), ("depthwise_conv_2d_1", (2, 42, 8, 9)), ("fully_connected_5", (2, 1, 1, 8)),
    ]  # fmt: skip
