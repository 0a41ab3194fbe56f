"""Is the shipped trained network what its page says it is?"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from imcsim.mapping.basis.digital import answers, combined
from imcsim.mapping.basis.fitted import check_fits, load_fitted
from imcsim.workload.datasets import load_dataset
from imcsim.workload.importers import load_network
from imcsim.workload.importers.onnx import import_onnx
from imcsim.workload.quantised import load_quantised
from imcsim.workload.workload import Conv, Linear, load_tensors

MODELS = Path(__file__).parents[2] / "workloads" / "models"
MODEL, SAMPLE, PAGE = MODELS / "resnet8_fashion.onnx", MODELS / "fashion_mnist_1000.npz", MODELS / "README.md"
WEIGHTED = [
    "conv1", "layer1.conv1", "layer1.conv2",
    "layer2.conv1", "layer2.shortcut", "layer2.conv2",
    "layer3.conv1", "layer3.shortcut", "layer3.conv2", "fc",
]  # fmt: skip
WEIGHTS = 144 + 2 * 2304 + (4608 + 512 + 9216) + (18432 + 2048 + 36864) + 640


@pytest.fixture(scope="module")
def sample() -> dict[str, NDArray[np.uint8]]:
    with np.load(SAMPLE) as file:
        return dict(file)


def scores(images: NDArray[np.uint8], optimised: bool = True) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images[:, None].astype(np.float32) / np.float32(255)})[0]


def stated() -> int:
    """Correct of 1,000 images, in the last column of the row of the model."""
    (count,) = re.findall(r"^\| `resnet8_fashion\.onnx` \| [\d,]+ \| ([\d,]+) \|$", PAGE.read_text(), re.MULTILINE)
    return int(count.replace(",", ""))


def test_the_sample_is_a_thousand_images_of_ten_classes(sample: dict[str, NDArray[np.uint8]]) -> None:
    images, labels = sample["images"], sample["labels"]
    assert (images.shape, images.dtype) == ((1000, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((1000,), np.uint8)
    counts = np.bincount(labels)
    assert len(counts) == 10
    assert counts.min() >= 80
    assert counts.max() <= 120
    assert (images.min(), images.max()) == (0, 255)
    assert "Copyright (c) 2017 Zalando SE" in str(sample["licence"])


def test_accuracy_on_the_sample_is_as_stated(sample: dict[str, NDArray[np.uint8]]) -> None:
    found = scores(sample["images"])
    assert found.shape == (1000, 10)
    assert int((found.argmax(1) == sample["labels"]).sum()) == stated()


def test_any_number_of_images_gives_the_same_scores(sample: dict[str, NDArray[np.uint8]]) -> None:
    images = sample["images"][:5]
    one_by_one = np.concatenate([scores(image[None]) for image in images])
    np.testing.assert_allclose(scores(images), one_by_one, rtol=1e-6)


def test_integer_kernels_agree_with_rounded_floats(sample: dict[str, NDArray[np.uint8]]) -> None:
    """The model says what to compute; which kernels do it hardly matters."""
    fast, plain = (scores(sample["images"], optimised) for optimised in (True, False))
    assert np.mean(fast.argmax(1) == plain.argmax(1)) >= 0.99
    assert np.abs(fast - plain).mean() < 0.02 * plain.std()


def test_weights_are_symmetric_int8_and_inputs_unsigned() -> None:
    model = onnx.load(MODEL)
    values = {item.name: item for item in model.graph.initializer}
    assert model.ir_version <= 13
    for name in WEIGHTED:
        weight = values[f"{name}.weight_quantized"]
        channels = numpy_helper.to_array(weight).shape[0]
        assert weight.data_type == TensorProto.INT8, name
        assert numpy_helper.to_array(values[f"{name}.weight_scale"]).shape == (channels,), name
        assert not numpy_helper.to_array(values[f"{name}.weight_zero_point"]).any(), name
    readers = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    writers = {node.output[0]: node for node in readers.values()}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            zero = values[writers[node.input[0]].input[2]]
            assert (zero.data_type, int(numpy_helper.to_array(zero))) == (TensorProto.UINT8, 0), node.name


def test_pixels_are_the_integers_of_the_input() -> None:
    (scale,) = [item for item in onnx.load(MODEL).graph.initializer if item.name == "image_scale"]
    assert numpy_helper.to_array(scale) == np.float32(1 / 255)


def test_it_is_imported_with_eight_bits_everywhere() -> None:
    workload = load_network(MODEL)
    assert workload.name == "resnet8_fashion"
    assert workload.layers[0].output_shape == (1, 28, 28)
    assert workload.layers[-1].output_shape == (10,)
    weighted = workload.weighted
    assert sorted(layer.name for layer in weighted) == sorted(WEIGHTED)
    assert workload.n_weights == WEIGHTS
    for layer in weighted:
        assert isinstance(layer, Conv | Linear)
        assert (layer.weight_quant.bits, layer.input_quant.bits) == (8, 8), layer.name


def test_the_imported_weights_are_those_of_the_file() -> None:
    tensors = load_tensors(import_onnx(MODEL, keep_tensors=True))
    stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(MODEL).graph.initializer}
    for name in WEIGHTED:
        weight = stored[f"{name}.weight_quantized"]
        assert tensors[f"{name}.weight"].dtype == np.int8, name
        np.testing.assert_array_equal(tensors[f"{name}.weight"], weight.reshape(len(weight), -1), name)


def test_the_basis_answers_as_its_page_says(sample: dict[str, NDArray[np.uint8]]) -> None:
    (count,) = re.findall(r"of 10,000 and (\d+) of 1,000 in exact sums", PAGE.read_text())
    basis = load_fitted(MODELS / "resnet8_fashion_basis.safetensors")
    network, data = load_quantised(MODEL), load_dataset(SAMPLE)
    check_fits(basis, network.layers, 128)
    assert answers(network, data, network.pixels(data), combined(basis)) == int(count)
