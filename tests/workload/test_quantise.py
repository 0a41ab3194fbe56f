"""Is a float model quantised to one that the reader takes and that answers as before?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from imcsim.workload.quantised import load_quantised
from tests.conftest import Outcome

Command = Callable[..., Outcome]
Array = NDArray[Any]
N_IMAGES, N_CLASSES = 60, 5
CENTRES = np.random.default_rng(3).integers(20, 236, (N_CLASSES, 3, 8, 8))


def float_network(opset: int = 17, batch: int | str = "images") -> onnx.ModelProto:
    """Build convolution, normalisation, residual addition, pooling, fully connected; random weights."""
    rng = np.random.default_rng(7)
    constants: list[onnx.TensorProto] = []

    def constant(values: Array) -> str:
        constants.append(numpy_helper.from_array(values.astype(np.float32), f"constant{len(constants)}"))
        return constants[-1].name

    normalisation = [constant(rng.uniform(0.5, 1.5, 8)) for _ in range(4)]
    first, second = (constant(rng.normal(0, 0.3, (8, channels, 3, 3))) for channels in (3, 8))
    matrix, bias = constant(rng.normal(0, 0.3, (128, 20))), constant(rng.normal(0, 0.5, 20))
    nodes = [
        helper.make_node("Conv", ["x", first], ["a"], name="first", pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", *normalisation], ["b"], name="normal"),
        helper.make_node("Relu", ["b"], ["c"], name="relu1"),
        helper.make_node("Conv", ["c", second, constant(rng.normal(0, 0.5, 8))], ["d"], name="second", pads=[1] * 4),
        helper.make_node("Add", ["c", "d"], ["e"], name="sum"),
        helper.make_node("Relu", ["e"], ["f"], name="relu2"),
        helper.make_node("MaxPool", ["f"], ["g"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["g"], ["h"], name="flatten"),
        helper.make_node("Gemm", ["h", matrix, bias], ["y"], name="last"),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 20])
    graph = helper.make_graph(nodes, "small", [image], [scores], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def images() -> Array:
    """Draw pictures around a few centres, so that a network has several answers to them."""
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 25, (N_IMAGES, 3, 8, 8))
    return np.clip(CENTRES[np.arange(N_IMAGES) % N_CLASSES] + noise, 0, 255).astype(np.uint8)


def scores(model: onnx.ModelProto, pixels: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": image[None]})[0] for image in pixels])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a folder with a float model and data whose labels are the answers of that model."""
    monkeypatch.chdir(tmp_path)
    model = float_network()
    onnx.save(model, "float.onnx")
    labels = scores(model, images() / np.float32(255)).argmax(axis=1)
    assert len(set(labels)) >= 3
    np.savez("data.npz", images=images(), labels=labels)
    return tmp_path


def quantised_scores(name: str) -> Array:
    return load_quantised(name).run(images() / np.float32(255))


@pytest.mark.parametrize("granularity", ["--per-channel", "--per-tensor"])
def test_a_quantised_network_answers_as_before(granularity: str, files: Path, imcsim: Command) -> None:
    words = ("quantize", "float.onnx", "--data", "data.npz", "--images", str(N_IMAGES), "-o", "int8.onnx", granularity)
    outcome = imcsim(*words)
    assert outcome.code == 0, outcome.err
    wanted = scores(float_network(), images() / np.float32(255))
    int8_scores = quantised_scores("int8.onnx")
    error = np.sqrt(np.mean((int8_scores - wanted) ** 2) / np.mean((wanted - wanted.mean()) ** 2))
    assert error < 0.05  # 8 bits: some hundredths at most; a wrong scale or zero point is of the order of 1
    agreement = np.mean(int8_scores.argmax(axis=1) == wanted.argmax(axis=1))
    assert agreement >= 0.9
    assert "layers quantised  3 (2 convolutional, 1 fully connected)" in outcome.out
    assert f"float 100.0 %, int8 {100 * agreement:.1f} %" in outcome.out  # the labels are the float network's answers
    assert f"{(files / 'int8.onnx').stat().st_size:,} after" in outcome.out


@pytest.mark.parametrize(("granularity", "n_scales"), [("--per-channel", 8), ("--per-tensor", 1)])
def test_scales_of_the_weights(granularity: str, n_scales: int, files: Path, imcsim: Command) -> None:
    imcsim("quantize", "float.onnx", "--data", "data.npz", "--images", "8", "-o", "int8.onnx", granularity)
    layers = load_quantised("int8.onnx").layers
    assert [len(set(layer.scale)) for layer in layers[:2]] == [n_scales] * 2
    assert all(np.abs(layer.weights).max() <= 127 and layer.input.dtype == np.uint8 for layer in layers)


@pytest.mark.parametrize("opset", [9, 12, 13, 21])
def test_other_opsets(opset: int, files: Path, imcsim: Command) -> None:
    onnx.save(float_network(opset), "other.onnx")
    outcome = imcsim("quantize", "other.onnx", "--data", "data.npz", "--images", "40", "-o", "int8.onnx")
    assert outcome.code == 0, outcome.err
    wanted = scores(float_network(), images() / np.float32(255))
    assert np.mean(quantised_scores("int8.onnx").argmax(axis=1) == wanted.argmax(axis=1)) >= 0.9


def test_a_model_of_single_images_in_the_newest_file_format(files: Path, imcsim: Command) -> None:
    model = float_network(batch=1)
    model.ir_version = 14
    onnx.save(model, "one.onnx")
    outcome = imcsim("quantize", "one.onnx", "--data", "data.npz", "--images", "10", "-o", "int8.onnx")
    assert outcome.code == 0, outcome.err


def test_shift_and_spread_reach_the_calibration(files: Path, imcsim: Command) -> None:
    base = ("quantize", "float.onnx", "--data", "data.npz", "--images", "8", "-o", "int8.onnx")
    assert imcsim(*base, "--mean", "0.5", "--std", "0.25").code == 0
    read = load_quantised("int8.onnx").layers[0].input
    assert read.scale == pytest.approx(4 / 255, rel=0.05)  # from -2 to 2
    assert read.zero == pytest.approx(128, abs=5)


def test_labels_that_are_no_classes(files: Path, imcsim: Command) -> None:
    np.savez("data.npz", images=images(), labels=np.full(N_IMAGES, 999))
    outcome = imcsim("quantize", "float.onnx", "--data", "data.npz", "--images", "8", "-o", "int8.onnx")
    assert outcome.code == 0, outcome.err
    assert "unknown: the labels are no classes of the network" in outcome.out


def other_inputs(shape: list[int], kind: int = TensorProto.FLOAT, n: int = 1) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(f"x{i}", kind, shape) for i in range(n)]
    result = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph([helper.make_node("Abs", ["x0"], ["y"])], "g", inputs, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (other_inputs([4, 3, 8, 8]), "takes 4 images at once; export it with an open batch dimension, or with 1"),
        (other_inputs([1, 3, 8, 8], TensorProto.UINT8), "its input 'x0' is no float32 tensor"),
        (other_inputs([1, 3, 8, 8], n=2), "has 2 inputs, not one"),
        (other_inputs([1, 3, 8, 8]), "the model has no layer with weights"),
        (other_inputs([1, 1, 8, 8]), "takes images of 1 x 8 x 8, data.npz has 3 x 8 x 8 (channels first)"),
    ],
    ids=["batch", "integers", "two inputs", "no weights", "shape"],
)
def test_models_that_do_not_fit(model: onnx.ModelProto, says: str, files: Path, imcsim: Command) -> None:
    onnx.save(model, "other.onnx")
    refused(imcsim, files, says, "other.onnx", "data.npz")


def test_mistakes(files: Path, imcsim: Command) -> None:
    (files / "text.onnx").write_text("not a model")
    refused(imcsim, files, "is no readable ONNX model", "text.onnx", "data.npz")
    refused(imcsim, files, "the file does not exist", "none.onnx", "data.npz")
    refused(imcsim, files, "there is no such file or folder", "float.onnx", "none.npz")
    refused(imcsim, files, "images 0: there are 60", "float.onnx", "data.npz", "--images", "0")
    imcsim("quantize", "float.onnx", "--data", "data.npz", "--images", "8", "-o", "int8.onnx")
    refused(imcsim, files, "is quantised already (DequantizeLinear)", "int8.onnx", "data.npz")


def refused(imcsim: Command, folder: Path, says: str, model: str, data: str, *more: str) -> None:
    """Check for one sentence, exit code 2, and no file more than before."""
    before = sorted(folder.iterdir())
    outcome = imcsim("quantize", model, "--data", data, "--images", "8", "-o", "out.onnx", *more)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    assert sorted(folder.iterdir()) == before
