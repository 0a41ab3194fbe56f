"""Is the network that is trained the one that runs? Operators against ONNX's reference, models against integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from imcsim.mapping.basis.digital import combined
from imcsim.mapping.basis.fit import FitOptions, fit
from imcsim.mapping.basis.fitted import FittedBasis
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import load_dataset
from imcsim.workload.quantised import IntegerLayer, load_quantised
from imcsim.workload.quantised.layers import Format, Sliding

torch = pytest.importorskip("torch")

from imcsim.training.basis.graph import DifferentiableNetwork, load_differentiable  # noqa: E402
from imcsim.training.basis.operators import OPERATORS  # noqa: E402
from imcsim.training.basis.parameters import CombinedLayer, TrainableBasis  # noqa: E402

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, DATA = MODELS / "resnet8_fashion.onnx", MODELS / "fashion_mnist_1000.npz"
RESNET20 = Path(__file__).parents[3] / "shared/data/resnet20-cifar10-jpeg-finetuned/resnet20_jpegft_int8_qdq.onnx"
IMAGE, MATRIX = (2, 3, 7, 6), (4, 5)

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [  # operator, inputs (a shape is drawn), attributes
    ("Add", [IMAGE, (3, 1, 1)], {}),
    ("Sub", [IMAGE, IMAGE], {}),
    ("Mul", [IMAGE, IMAGE], {}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 1]}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1}),
    ("Clip", [IMAGE, np.float32(-0.5), np.float32(0.7)], {}),
    ("Clip", [IMAGE], {}),
    ("Concat", [IMAGE, (2, 4, 7, 6)], {"axis": 1}),
    ("Conv", [IMAGE, (4, 3, 3, 3), (4,)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", [IMAGE, (6, 1, 3, 2)], {"group": 3, "pads": [0, 1, 2, 1], "dilations": [2, 1]}),
    ("Flatten", [IMAGE], {}),
    ("Gemm", [MATRIX, (3, 5), (3,)], {"transB": 1}),
    ("Gemm", [MATRIX, (5, 3)], {"alpha": 0.5}),
    ("GlobalAveragePool", [IMAGE], {}),
    ("HardSigmoid", [IMAGE], {}),
    ("HardSwish", [IMAGE], {}),
    ("Identity", [IMAGE], {}),
    ("LeakyRelu", [IMAGE], {"alpha": 0.2}),
    ("MatMul", [MATRIX, (5, 2)], {}),
    ("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    ("Pad", [IMAGE, np.array([0, 1, 0, 2, 0, 0, 3, 0]), np.float32(1.5)], {}),
    ("ReduceMean", [IMAGE, np.array([2, 3])], {"keepdims": 0}),
    ("Relu", [IMAGE], {}),
    ("Reshape", [IMAGE, np.array([0, -1])], {}),
    ("Sigmoid", [IMAGE], {}),
    ("Slice", [IMAGE, np.array([0, 1]), np.array([7, 6]), np.array([2, 3]), np.array([2, 2])], {}),
    ("Softmax", [MATRIX], {"axis": -1}),
    ("Squeeze", [(4, 1, 5), np.array([1])], {}),
    ("Transpose", [IMAGE], {"perm": [0, 2, 3, 1]}),
]


def drawn(inputs: list[Any]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(x).astype(np.float32) if isinstance(x, tuple) else np.asarray(x) for x in inputs]


def reference(kind: str, arrays: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    names = [f"x{i}" for i in range(len(arrays))]
    node = helper.make_node(kind, names, ["y"], **attributes)
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
              for n, a in zip(names, arrays, strict=True)]  # fmt: skip
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "one", inputs, output)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (result,) = ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))
    return np.asarray(result)


@pytest.mark.parametrize(("kind", "inputs", "attributes"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_operators_do_what_onnx_says(kind: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    arrays = drawn(inputs)
    output = OPERATORS[kind]([torch.from_numpy(array) for array in arrays], attributes)
    np.testing.assert_allclose(output.numpy(), reference(kind, arrays, attributes), rtol=1e-5, atol=1e-5)


def test_every_operator_is_compared() -> None:
    assert {case[0] for case in CASES} | {"QuantizeLinear", "DequantizeLinear"} == set(OPERATORS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_rounding_is_that_of_onnx_and_its_gradient_passes_inside(dtype: type) -> None:
    x, scale, zero = np.linspace(-3, 3, 401, dtype=np.float32), np.float32(0.017), np.array(7, dtype)
    integers = reference_quantised(x, scale, zero)
    given = torch.from_numpy(x).requires_grad_()
    rounded = OPERATORS["QuantizeLinear"]([given, torch.tensor(scale), torch.from_numpy(zero)], {})
    np.testing.assert_allclose(rounded.detach().numpy(), (integers.astype(np.float32) - 7) * scale, atol=1e-6)
    rounded.sum().backward()
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    inside = (x / scale + 7 > low - 0.01) & (x / scale + 7 < high + 0.01)
    np.testing.assert_array_equal(given.grad.numpy(), inside.astype(np.float32))


def reference_quantised(x: np.ndarray, scale: np.float32, zero: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x / scale) + int(zero), np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max)


def test_weights_are_dequantised_by_channel() -> None:
    stored, scale = np.arange(-6, 6, dtype=np.int8).reshape(3, 4), np.array([0.5, 1, 2], np.float32)
    inputs = [torch.from_numpy(stored), torch.from_numpy(scale), torch.zeros(3, dtype=torch.int8)]
    weights = OPERATORS["DequantizeLinear"](inputs, {"axis": 0})
    np.testing.assert_array_equal(weights.numpy(), stored * scale[:, None])


@pytest.mark.parametrize("model", [MODEL, pytest.param(RESNET20, marks=pytest.mark.skipif(
    not RESNET20.exists(), reason="needs the folder of real data"))], ids=["shipped", "resnet20"])  # fmt: skip
def test_scores_are_those_of_the_integers(model: Path) -> None:
    network, scores = load_quantised(model), load_differentiable(model)
    rng = np.random.default_rng(0)
    shape = network.graph.image_shape
    images = rng.random((20, *shape), np.float32)
    if model == MODEL:
        images = load_dataset(DATA).first(20).scaled()
    computed = scores(torch.from_numpy(images), {}).detach().numpy()
    exact = network.run(images).reshape(20, -1)
    spread = exact.max() - exact.min()
    assert np.abs(computed - exact).max() < 0.03 * spread  # a step of an activation that lies between two
    assert (np.abs(computed - exact) < 1e-3 * spread).mean() > 0.7


@pytest.fixture(scope="module")
def basis() -> FittedBasis:
    options = FitOptions(nonzeros=32, coeff_bits=5, init="svd", rounds=0, resident=("first",))
    return fit(load_quantised(MODEL).layers, options, {})


def test_the_basis_is_rounded_as_in_its_file(basis: FittedBasis) -> None:
    network = load_quantised(MODEL)
    trainable = TrainableBasis(basis, {layer.name: layer for layer in network.layers}, 0.0)
    elements, layers = trainable.as_integers()
    np.testing.assert_array_equal(elements, basis.elements)
    for name, layer in layers.items():
        np.testing.assert_array_equal(layer.values, basis.layers[name].values)
        np.testing.assert_allclose(layer.scale, basis.layers[name].scale, rtol=1e-6)
        assert not layer.bias.any()


def test_scores_on_a_basis_are_those_of_its_digital_sums(basis: FittedBasis) -> None:
    network, scores = load_quantised(MODEL), load_differentiable(MODEL)
    images = load_dataset(DATA).first(50).scaled()
    trainable = TrainableBasis(basis, {layer.name: layer for layer in network.layers}, 0.0)
    computed = scores(torch.from_numpy(images), trainable()).detach().numpy()
    exact = network.run(images, combined(basis))
    assert (computed.argmax(1) == exact.argmax(1)).mean() > 0.95
    assert np.median(np.abs(computed - exact)) < 1e-3 * (exact.max() - exact.min())


@pytest.mark.parametrize(("channels", "groups", "length"), [(12, 12, 32), (8, 2, 64), (10, 5, 27), (6, 1, 16)])
def test_grouped_layers_are_what_their_segments_make_of_them(channels: int, groups: int, length: int) -> None:
    """Groups that share a segment also meet what the approximation makes of each other's rows."""
    rng = np.random.default_rng(0)
    rows = channels // groups * 9
    weights = rng.integers(-127, 128, (channels, rows))
    layer = IntegerLayer(
        "conv", weights, rng.integers(-99, 99, channels), groups, Format(0.02, 0, np.dtype(np.uint8)),
        np.full(channels, 1e-3, np.float32), None, sliding=Sliding((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    )  # fmt: skip
    fitted = fit([layer], FitOptions(vectors=24, length=length, nonzeros=4, init="svd", rounds=1), {})
    on_basis = TrainableBasis(fitted, {"conv": layer}, 0.0)()["conv"]
    x = rng.integers(0, 256, (2, channels, 5, 5))
    exact = combined(fitted)(layer, layer.vectors(x)) * 1e-3
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1], group=groups)], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (None, channels, 5, 5))],
        [helper.make_tensor_value_info("conv", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros((channels, channels // groups, 3, 3), np.float32), "w")],
    )  # fmt: skip
    network = DifferentiableNetwork(helper.make_model(graph), "one.onnx")
    computed = network(torch.from_numpy((x * 0.02).astype(np.float32)), {"conv": on_basis}).detach().numpy()
    wanted = np.moveaxis(exact, -1, 1).reshape(2, -1)
    np.testing.assert_allclose(computed, wanted, atol=2e-3 + 1e-5 * np.abs(wanted).max())


def test_coefficients_that_are_not_chosen_have_the_gradient_that_they_would_have(basis: FittedBasis) -> None:
    """The gradient dL/dC is B^T dL/dW, for all coefficients, chosen or not."""
    layers = {layer.name: layer for layer in load_quantised(MODEL).layers}
    trainable = TrainableBasis(basis, layers, 0.0)
    name = trainable.names[1]
    weights = trainable()[name]
    pull = torch.randn(weights.weight.shape, generator=torch.Generator().manual_seed(0))
    (weights.weight * pull).sum().backward()
    layer: CombinedLayer = trainable.layers[1]
    scale = (layer.log_scale.exp() * layer.weight_unit).detach()
    flat = (pull.reshape(len(pull), -1) * scale[:, None]).numpy()
    length = len(basis.elements)
    for segment in range(len(layer.coefficients)):
        part = flat[:, segment * length : (segment + 1) * length].T
        wanted = basis.elements[: len(part)].T @ part
        np.testing.assert_allclose(layer.coefficients.grad[segment].numpy(), wanted, rtol=1e-3, atol=1e-2)
    assert (~layer.chosen).any()


def one_node(kind: str, **attributes: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], ["y"], name="last", **attributes)], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    return helper.make_model(graph)


@pytest.mark.parametrize(("kind", "attributes", "problem"), [
    ("ArgMax", {}, r"\(ArgMax\): cannot be trained through"),
    ("MaxPool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}, "it pads as it sees fit"),
    ("Squeeze", {}, "it does not say which axes"),
    ("Transpose", {}, "it does not say which perm"),
])  # fmt: skip
def test_operators_that_cannot_be_trained_through_are_named(
    kind: str, attributes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    onnx.save(one_node(kind, **attributes), tmp_path / "net.onnx")
    with pytest.raises(ImcsimError, match=f"node 'last' .*{problem}"):
        load_differentiable(tmp_path / "net.onnx")
    with pytest.raises(ImcsimError, match="is no ONNX file"):
        load_differentiable("net.tflite")


def test_a_softmax_in_the_end_is_left_to_the_loss() -> None:
    x = torch.randn(2, 3, 8, 8)
    computed = DifferentiableNetwork(one_node("Softmax", axis=1), "one.onnx")(x, {})
    np.testing.assert_array_equal(computed.numpy(), x.flatten(1).numpy())
