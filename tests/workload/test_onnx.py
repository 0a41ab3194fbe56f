"""Does the importer understand ONNX models, whatever form they have? onnxruntime and onnx are the oracles."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers import load_network
from imcsim.workload.importers.onnx import import_onnx
from imcsim.workload.workload import (
    Concat,
    Conv,
    Elementwise,
    GlobalPool,
    Linear,
    MatMul,
    Normalisation,
    Pool,
    Quantisation,
    Unknown,
    Window,
    Workload,
    load_tensors,
    load_workload,
    save_workload,
)

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
SHARED = Path(__file__).parents[3] / "shared/data"
RNG = np.random.default_rng(0)
Inits = dict[str, np.ndarray]


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def node(op: str, inputs: str, outputs: str = "y", domain: str = "", name: str = "", **attributes: Any) -> NodeProto:
    """Build a node of inputs and outputs given as words; ``-`` stands for one that is left out."""
    names = ["" if word == "-" else word for word in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=name, domain=domain, **attributes)


def model(
    nodes: Sequence[NodeProto], inits: Inits, shape: Sequence[int | str | None] = (1, 3, 8, 8), output: str = "y",
    more_inputs: dict[str, Sequence[int | str]] | None = None, opset: int = 21,
) -> ModelProto:  # fmt: skip
    """Build a model with the input x of ``shape`` and one output."""
    shapes = {"x": shape, **(more_inputs or {})}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(size)) for name, size in shapes.items()]
    outputs = [helper.make_empty_tensor_value_info(output)]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in inits.items()]
    graph = helper.make_graph(list(nodes), "test", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
    result = helper.make_model(graph, opset_imports=opsets)
    result.ir_version = min(result.ir_version, 13)  # what the runtime reads
    return result


def imported(proto: ModelProto, tmp_path: Path, **options: Any) -> Workload:
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    return import_onnx(path, **options)


def checked(proto: ModelProto, tmp_path: Path, **options: Any) -> Workload:
    """Import, and compare the elements of every layer with what onnxruntime computes for the node of that name."""
    workload = imported(proto, tmp_path, **options)
    shapes = runtime_shapes(proto)
    for written in proto.graph.node:
        if written.name in workload.by_name and written.output[0] in shapes:
            assert workload.by_name[written.name].elements == prod(shapes[written.output[0]]), written.name
    return workload


def runtime_shapes(proto: ModelProto) -> dict[str, tuple[int, ...]]:
    copy = ModelProto()
    copy.CopyFrom(proto)
    tensors = [name for item in proto.graph.node for name in item.output if name]
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors)
    feeds = {
        item.name: np.zeros([dim.dim_value or 1 for dim in item.type.tensor_type.shape.dim], np.float32)
        for item in proto.graph.input
    }
    return {name: array.shape for name, array in zip(tensors, session(copy).run(None, feeds), strict=True)}


def session(proto: ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(proto.SerializeToString(), options)


def kinds(workload: Workload) -> list[str]:
    return [layer.kind for layer in workload.layers]


# -- windows -------------------------------------------------------------------------------------------------------


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, tuple[int, ...]]:
    n = draw(st.sampled_from([1, 2]))
    tuples = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(n))  # noqa: E731
    kernel, stride, dilation, size = tuples(1, 4), tuples(1, 4), tuples(1, 3), tuples(1, 12)
    padding = tuple(draw(st.integers(0, k - 1)) for k in kernel * 2)
    window = Window(kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=draw(st.booleans()))
    assume(0 not in window.output_size(size))
    return window, size


@settings(max_examples=150, deadline=None)
@given(windows())
def test_positions_of_a_pooling_are_those_of_onnx_and_onnxruntime(case: tuple[Window, tuple[int, ...]]) -> None:
    window, size = case
    attributes = {
        "kernel_shape": window.kernel, "strides": window.stride, "pads": window.padding, "dilations": window.dilation,
        "ceil_mode": int(window.ceil_mode),
    }  # fmt: skip
    proto = model([node("MaxPool", "x", **attributes)], {}, (1, 2, *size), opset=22)
    inferred = onnx.shape_inference.infer_shapes(proto).graph.output[0].type.tensor_type.shape.dim
    assert tuple(dim.dim_value for dim in inferred)[2:] == window.output_size(size)
    assert runtime_shapes(proto)["y"][2:] == window.output_size(size)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("opset", [9, 11, 21])
def test_old_operator_sets_count_no_window_behind_the_input(tmp_path: Path, op: str, opset: int) -> None:
    """A 1x1 window with stride 2 on 2 pixels visits one, rounded up or not."""
    ceil = {} if opset == 9 else {"ceil_mode": 1}
    pool = node(op, "x", kernel_shape=[1, 1], strides=[2, 2], name="pool", **ceil)
    workload = checked(model([pool], {}, (1, 3, 2, 4), opset=opset), tmp_path)
    assert workload.by_name["pool"].output_shape == (3, 1, 2)


@settings(max_examples=100, deadline=None)
@given(windows(), st.sampled_from([1, 2]))
def test_positions_of_a_convolution_are_those_of_onnxruntime(case: tuple[Window, tuple[int, ...]], groups: int) -> None:
    window, size = case
    window = window.model_copy(update={"ceil_mode": False})
    assume(0 not in window.output_size(size))
    attributes = {"strides": window.stride, "pads": window.padding, "dilations": window.dilation, "group": groups}
    proto = model([node("Conv", "x w", **attributes)], {"w": real(4, 2 // groups, *window.kernel)}, (1, 2, *size))
    assert runtime_shapes(proto)["y"][2:] == window.output_size(size)


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
def test_auto_pad_becomes_explicit(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Window, tuple[int, ...]], auto_pad: str
) -> None:
    window, size = case
    if auto_pad != "VALID":  # the runtime has no dilation there
        window = window.model_copy(update={"dilation": (1,) * len(size)})
    assume(all(s >= d * (k - 1) + 1 for s, d, k in zip(size, window.dilation, window.kernel, strict=True)))
    attributes = {"strides": window.stride, "dilations": window.dilation, "auto_pad": auto_pad}
    proto = model([node("Conv", "x w", name="conv", **attributes)], {"w": real(4, 2, *window.kernel)}, (1, 2, *size))
    conv = checked(proto, tmp_path_factory.mktemp("auto_pad")).by_name["conv"]
    assert isinstance(conv, Conv)
    n = len(size)
    begins, ends = conv.window.padding[:n], conv.window.padding[n:]
    low, high = (begins, ends) if auto_pad != "SAME_LOWER" else (ends, begins)
    assert all(0 <= b - a <= 1 for a, b in zip(low, high, strict=True))


# -- weighted layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "attributes", "shape", "rows"),
    [
        ((8, 3, 3, 3), {"pads": [1, 1, 1, 1]}, (1, 3, 8, 8), 27),
        ((8, 3, 3, 3), {"pads": [0, 1, 2, 3], "dilations": [2, 1], "strides": [2, 1]}, (1, 3, 9, 8), 27),
        ((8, 2, 3, 3), {"group": 2}, (1, 4, 8, 8), 18),
        ((4, 1, 3, 3), {"group": 4}, (1, 4, 8, 8), 9),
        ((8, 3, 5), {"pads": [4, 0]}, (1, 3, 20), 15),
    ],
    ids=["plain", "dilated, asymmetric", "grouped", "depthwise", "1-D"],
)
def test_convolutions(tmp_path: Path, weight: Any, attributes: dict[str, Any], shape: Any, rows: int) -> None:
    proto = model([node("Conv", "x w b", name="conv", **attributes)], {"w": real(*weight), "b": real(weight[0])}, shape)
    workload = checked(proto, tmp_path)
    conv = workload.by_name["conv"]
    assert kinds(workload) == ["input", "conv"]
    assert isinstance(conv, Conv)
    assert conv.rows == rows
    assert workload.n_weights == prod(weight)


@pytest.mark.parametrize(
    "form", ["Identity", "ConstantOfShape", "Reshape", "Transpose", "Constant", "Cast", "DequantizeLinear"]
)
def test_weights_behind_other_nodes(tmp_path: Path, form: str) -> None:
    weight, inits = real(8, 3, 3, 3), {}
    before = {
        "Identity": (node("Identity", "v", "w"), {"v": weight}),
        "ConstantOfShape": (node("ConstantOfShape", "v", "w"), {"v": ints(8, 3, 3, 3)}),
        "Reshape": (node("Reshape", "v s", "w"), {"v": weight.reshape(8, 27), "s": ints(8, 3, 3, 3)}),
        "Transpose": (node("Transpose", "v", "w", perm=[3, 2, 0, 1]), {"v": weight.transpose(2, 3, 1, 0)}),
        "Constant": (node("Constant", "", "w", value=numpy_helper.from_array(weight)), {}),
        "Cast": (node("Cast", "v", "w", to=TensorProto.FLOAT), {"v": weight.astype(np.float16)}),
        "DequantizeLinear": (
            node("DequantizeLinear", "v s", "w"),
            {"v": np.ones((8, 3, 3, 3), np.int8), "s": np.float32(0.5)},
        ),
    }[form]
    inits.update(before[1])
    workload = checked(model([before[0], node("Conv", "x w", name="conv")], inits), tmp_path, keep_tensors=True)
    assert kinds(workload) == ["input", "conv"]
    stored = load_tensors(workload)["conv.weight"]
    assert stored.shape == (8, 27)
    if form in ("Identity", "Reshape", "Transpose", "Constant"):
        np.testing.assert_array_equal(stored, weight.reshape(8, 27))


def test_batch_norm_and_scale_fold_into_the_convolution(tmp_path: Path) -> None:
    inits = {
        "w": real(8, 3, 1, 1), "b": real(8), "s": real(8), "o": real(8), "m": real(8), "v": np.abs(real(8)) + 1,
        "k": real(8, 1, 1), "c": real(1, 8, 1, 1),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w b", "t0", name="conv"),
        node("BatchNormalization", "t0 s o m v", "t1"),
        node("Mul", "t1 k", "t2"),
        node("Add", "c t2", "y"),
    ]
    proto = model(nodes, inits)
    workload = checked(proto, tmp_path, keep_tensors=True)
    assert kinds(workload) == ["input", "conv"]
    image = real(1, 3, 8, 8)
    tensors = load_tensors(workload)
    expected = session(proto).run(None, {"x": image})[0][0].reshape(8, 64)
    folded = tensors["conv.weight"] @ image.reshape(3, 64) + tensors["conv.bias"][:, None]
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_that_cannot_fold_is_a_layer(tmp_path: Path) -> None:
    """The convolution is read twice, so its scale must stay its own; the norm takes the scale behind it."""
    inits = {"w": real(3, 3, 1, 1), "s": real(3), "v": np.ones(3, np.float32), "k": real(3, 1, 1)}
    nodes = [
        node("Conv", "x w", "t0", name="conv"),
        node("BatchNormalization", "t0 s s s v", "t1", name="norm"),
        node("Mul", "t1 k", "t2"),
        node("Add", "t2 t0", "y", name="add"),
    ]
    workload = checked(model(nodes, inits), tmp_path)
    assert kinds(workload) == ["input", "conv", "normalisation", "elementwise"]
    assert workload.by_name["add"].inputs == ("norm", "conv")
    assert isinstance(workload.by_name["norm"], Normalisation)


def test_a_scale_behind_one_of_two_readers_stays_a_layer(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "t0", name="conv"),
        node("Identity", "t0", "t1"),
        node("Mul", "t1 k", "t2", name="scale"),
        node("Add", "t2 t0", "y", name="add"),
    ]
    workload = checked(model(nodes, {"w": real(3, 3, 1, 1), "k": real(3, 1, 1)}), tmp_path)
    assert workload.by_name["add"].inputs == ("scale", "conv")


@pytest.mark.parametrize("trans_b", [0, 1])
def test_gemm(tmp_path: Path, trans_b: int) -> None:
    weight = real(5, 192) if trans_b else real(192, 5)
    nodes = [node("Flatten", "x", "t", name="flatten"), node("Gemm", "t w b", name="fc", transB=trans_b, alpha=0.5)]
    workload = checked(model(nodes, {"w": weight, "b": real(5)}), tmp_path, keep_tensors=True)
    assert kinds(workload) == ["input", "reshape", "linear"]
    expected = 0.5 * (weight if trans_b else weight.T)
    np.testing.assert_allclose(load_tensors(workload)["fc.weight"], expected, rtol=1e-6)


def test_matmul_with_a_constant_on_either_side(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "t", name="right"), node("MatMul", "v t", name="left")]
    workload = checked(model(nodes, {"w": real(16, 24), "v": real(5, 10)}, (1, 10, 16)), tmp_path)
    right, left = workload.by_name["right"], workload.by_name["left"]
    assert isinstance(right, Linear)
    assert isinstance(left, Linear)
    assert right.output_shape == (24, 10)
    assert (left.in_channels, left.output_shape) == (10, (5, 24))  # the tokens are mixed: they are its channels
    assert workload.n_macs == 10 * 16 * 24 + 5 * 10 * 24


def attention(tokens: int = 10, width: int = 24, heads: int = 4) -> ModelProto:
    inits = {
        "wq": real(width, width), "wk": real(width, width), "wv": real(width, width), "wo": real(width, width),
        "b": real(width), "scale": np.float32(0.5), "split": ints(0, 0, heads, width // heads),
        "merge": ints(0, 0, width),
        "g": real(width),
    }  # fmt: skip
    nodes = []
    for part, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", f"x w{part}", f"{part}0", name=part),
            node("Add", f"b {part}0", f"{part}1"),
            node("Reshape", f"{part}1 split", f"{part}2"),
            node("Transpose", f"{part}2", f"{part}3", perm=perm),
        ]
    nodes += [
        node("MatMul", "q3 k3", "s0", name="scores"),
        node("Mul", "s0 scale", "s1", name="scale"),
        node("Softmax", "s1", "s2", name="softmax"),
        node("MatMul", "s2 v3", "c0", name="context"),
        node("Transpose", "c0", "c1", perm=[0, 2, 1, 3]),
        node("Reshape", "c1 merge", "c2"),
        node("MatMul", "c2 wo", "c3", name="out"),
        node("Add", "c3 x", "c4", name="add"),
        node("LayerNormalization", "c4 g b", "y", name="norm"),
    ]
    return model(nodes, inits, ("batch", tokens, width))


def test_attention_has_products_of_two_activations(tmp_path: Path) -> None:
    workload = checked(attention(), tmp_path)
    assert kinds(workload) == (
        ["input", "linear", "linear", "linear", "matmul", "elementwise", "softmax", "matmul", "linear"]
        + ["elementwise", "normalisation"]
    )
    scores, context = workload.by_name["scores"], workload.by_name["context"]
    assert isinstance(scores, MatMul)
    assert isinstance(context, MatMul)
    assert (scores.heads, scores.inner, scores.output_shape) == (4, 6, (40, 10))
    assert (context.heads, context.inner, context.output_shape) == (4, 10, (24, 10))
    assert context.inputs == ("softmax", "v")
    assert workload.n_macs == 4 * 10 * 24 * 24 + 2 * 10 * 10 * 24


def test_attention_with_tokens_first_and_fused_projections(tmp_path: Path) -> None:
    """The form of torch's own multi-head attention: (tokens, batch, width), one projection, heads as a batch."""
    tokens, width, heads = 10, 24, 4
    nodes = [
        node("Transpose", "x", "t0", perm=[1, 0, 2]),
        node("MatMul", "t0 win", "t1", name="projection"),
        node("Add", "t1 bin", "t2"),
        node("Reshape", "t2 parts", "t3"),
        node("Unsqueeze", "t3 zero", "t4"),
        node("Transpose", "t4", "t5", perm=[3, 1, 2, 0, 4]),
        node("Squeeze", "t5 three", "t6"),
        node("MatMul", "q2 k2", "s0", name="scores"),
        node("Softmax", "s0", "s1", name="softmax"),
        node("MatMul", "s1 v2", "c0", name="context"),
        node("Transpose", "c0", "c1", perm=[1, 0, 2]),
        node("Reshape", "c1 flat", "c2"),
        node("Gemm", "c2 wout", "c3", name="out"),
        node("Reshape", "c3 back", "c4"),
        node("Transpose", "c4", "c5", perm=[1, 0, 2]),
        node("Add", "c5 x", "y", name="add"),
    ]
    for part, perm in (("q", [1, 0, 2]), ("k", [1, 2, 0]), ("v", [1, 0, 2])):
        nodes[7:7] = [
            node("Gather", f"t6 i{part}", f"{part}0", name=part, axis=0),
            node("Reshape", f"{part}0 split", f"{part}1"),
            node("Transpose", f"{part}1", f"{part}2", perm=perm),
        ]
    inits = {
        "win": real(width, 3 * width), "bin": real(3 * width), "wout": real(width, width), "zero": ints(0),
        "three": ints(3), "parts": ints(tokens, 1, 3, width), "split": ints(tokens, heads, width // heads),
        "flat": ints(tokens, width), "back": ints(tokens, 1, width),
        "iq": np.int64(0), "ik": np.int64(1), "iv": np.int64(2),
    }  # fmt: skip
    workload = checked(model(nodes, inits, ("batch", tokens, width)), tmp_path)
    assert [(layer.name, layer.output_shape) for layer in workload.layers if layer.kind != "slice"] == [
        ("x", (24, 10)), ("projection", (72, 10)), ("scores", (40, 10)), ("softmax", (40, 10)), ("context", (24, 10)),
        ("out", (24, 10)), ("add", (24, 10)),
    ]  # fmt: skip
    assert [layer.output_shape for layer in workload.layers if layer.kind == "slice"] == [(24, 10)] * 3


def test_embedding_rows_come_from_outside(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "x", "i", to=TensorProto.INT64),
        node("Gather", "table i", "e", name="embedding"),
        node("Add", "e position", "p", name="add"),
        node("MatMul", "p w", name="fc"),
    ]
    inits = {"table": real(50, 16), "position": real(1, 7, 16), "w": real(16, 4)}
    workload = checked(model(nodes, inits, (1, 7)), tmp_path)
    assert [(layer.name, layer.kind, layer.output_shape) for layer in workload.layers] == [
        ("embedding", "input", (16, 7)), ("add", "elementwise", (16, 7)), ("fc", "linear", (4, 7)),
    ]  # fmt: skip


# -- everything else -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [10, 21])
def test_spatial_padding_joins_the_convolution(tmp_path: Path, opset: int) -> None:
    pads = [0, 0, 1, 2, 0, 0, 0, 1]
    pad = node("Pad", "x", "p", pads=pads) if opset == 10 else node("Pad", "x pads", "p")
    inits = {"w": real(4, 3, 3, 3)} | ({} if opset == 10 else {"pads": ints(*pads)})
    proto = model([pad, node("Conv", "p w", name="conv", pads=[1, 1, 1, 1])], inits, opset=opset)
    workload = checked(proto, tmp_path)
    conv = workload.by_name["conv"]
    assert kinds(workload) == ["input", "conv"]
    assert isinstance(conv, Conv)
    assert conv.window.padding == (2, 3, 1, 2)


def test_other_padding_is_a_layer(tmp_path: Path) -> None:
    nodes = [
        node("Pad", "x pads - axes", "p", name="channels"),
        node("Pad", "p edges", "q", name="edge", mode="edge"),
        node("Conv", "q w", name="conv"),
    ]
    inits = {"pads": ints(1, 1), "axes": ints(-3), "edges": ints(0, 0, 1, 1, 0, 0, 1, 1), "w": real(4, 5, 3, 3)}
    workload = checked(model(nodes, inits), tmp_path)
    assert kinds(workload) == ["input", "elementwise", "elementwise", "conv"]
    assert workload.by_name["channels"].output_shape == (5, 8, 8)


def test_pooling(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", "x", "a", name="max", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1),
        node("AveragePool", "a", "b", name="avg", kernel_shape=[2, 2]),
        node("ReduceMean", "b axes", "y", name="mean", keepdims=0),
    ]
    workload = checked(model(nodes, {"axes": ints(2, 3)}), tmp_path)
    first, last = workload.by_name["max"], workload.by_name["mean"]
    assert isinstance(first, Pool)
    assert first.window.ceil_mode
    assert isinstance(last, GlobalPool)
    assert last.output_shape == (3,)


def test_a_mean_over_tokens_is_a_global_pooling_and_one_over_features_is_not(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "x one", "a", name="tokens"),
        node("ReduceMean", "x two", "b", name="features"),
        node("Add", "a b", name="add"),
    ]
    workload = checked(model(nodes, {"one": ints(1), "two": ints(2)}, (1, 7, 16)), tmp_path)
    assert kinds(workload) == ["input", "global_pool", "reduce", "elementwise"]


def test_concat_split_slice_and_constants_from_outside(tmp_path: Path) -> None:
    nodes = [
        node("Split", "x sizes", "a b", name="split", axis=1),
        node("Concat", "b a", "c", name="channels", axis=1),
        node("Slice", "c starts ends axes", "d", name="crop"),
        node("Concat", "d row", "e", name="rows", axis=2),
        node("Dropout", "e", "f"),
        node("Identity", "f", "y"),
    ]
    inits = {"sizes": ints(1, 2), "starts": ints(0), "ends": ints(4), "axes": ints(2), "row": real(1, 3, 1, 8)}
    workload = checked(model(nodes, inits), tmp_path)
    assert kinds(workload) == ["input", "slice", "slice", "concat", "slice", "input", "concat"]
    assert [layer.axis for layer in workload.layers if isinstance(layer, Concat)] == ["channel", "position"]
    assert workload.by_name["split/0"].output_shape == (1, 8, 8)
    assert workload.by_name["split/1"].output_shape == (2, 8, 8)


def test_channel_shuffle_is_a_reshape_and_squeezes_vanish(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x five", "a"),
        node("Transpose", "a", "b", name="shuffle", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "b four", "c"),
        node("Unsqueeze", "c axis", "d"),
        node("Squeeze", "d axis", "e"),
        node("Relu", "e", "y", name="relu"),
    ]
    inits = {"five": ints(1, 2, 3, 8, 8), "four": ints(1, 6, 8, 8), "axis": ints(0)}
    workload = checked(model(nodes, inits, (1, 6, 8, 8)), tmp_path)
    assert kinds(workload)[0] == "input"
    assert kinds(workload)[-1] == "activation"
    assert set(kinds(workload)[1:-1]) == {"reshape"}
    assert workload.by_name["relu"].output_shape == (6, 8, 8)


def test_channels_last_graph(tmp_path: Path) -> None:
    """A layout change of a channels-last exporter keeps convolutions on channels."""
    nodes = [
        node("Transpose", "x", "a", name="nchw", perm=[0, 3, 1, 2]),
        node("Conv", "a w", "b", name="conv"),
        node("Transpose", "b", "c", perm=[0, 2, 3, 1]),
        node("Add", "c bias", "y", name="add"),
    ]
    workload = checked(model(nodes, {"w": real(4, 3, 3, 3), "bias": real(4)}, (1, 8, 9, 3)), tmp_path)
    assert workload.by_name["conv"].output_shape == (4, 6, 7)


def test_elementwise_and_activations(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", "a", name="relu"),
        node("Sigmoid", "x", "b", name="sigmoid"),
        node("Mul", "a b", "c", name="mul"),
        node("Clip", "c low high", "d", name="clip"),
        node("Sum", "a b d", "e", name="sum"),
        node("LRN", "e", "f", name="lrn", size=3),
        node("Resize", "f - scales", "g", name="resize"),
        node("Softmax", "g", "y", name="softmax"),
    ]
    inits = {"low": np.float32(0), "high": np.float32(6), "scales": np.array([1, 1, 2, 2], np.float32)}
    workload = checked(model(nodes, inits), tmp_path)
    assert workload.by_name["sum"].inputs == ("relu", "sigmoid", "clip")
    assert workload.by_name["resize"].output_shape == (3, 16, 16)
    assert isinstance(workload.by_name["mul"], Elementwise)


def test_open_batch_is_one_and_reshapes_that_ask_for_it_work(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "s", start=0, end=1),
        node("Concat", "s rest", "t", axis=0),
        node("Reshape", "x t", "f"),
        node("Gemm", "f w", "y", name="fc"),
    ]
    proto = model(nodes, {"rest": ints(-1), "w": real(192, 10)}, ("batch", 3, 8, 8))
    assert imported(proto, tmp_path).by_name["fc"].output_shape == (10,)


def test_symbolic_size_can_be_given(tmp_path: Path) -> None:
    proto = model([node("MatMul", "x w", "y", name="fc")], {"w": real(16, 4)}, ("batch", "tokens", 16))
    with pytest.raises(
        ImcsimError, match=r"input 'x': dimension 1 'tokens' is symbolic; export the model with a fixed"
    ):
        imported(proto, tmp_path)
    assert imported(proto, tmp_path, dimensions={"tokens": 9}).by_name["fc"].output_shape == (4, 9)


def test_fixed_batch_of_a_convolution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match=r"'conv'.*fixed batch of 4; export it with batch 1"):
        imported(model([node("Conv", "x w", name="conv")], {"w": real(4, 3, 3, 3)}, (4, 3, 8, 8)), tmp_path)


def test_unknown_operator(tmp_path: Path) -> None:
    proto = model([node("Mystery", "x", "t", domain="own", name="odd"), node("Relu", "t", "y", name="relu")], {})
    with pytest.raises(ImcsimError, match=r"node 'odd': operator own.Mystery is not understood; --allow-unknown"):
        imported(proto, tmp_path)
    workload = imported(proto, tmp_path, allow_unknown=True)
    odd = workload.by_name["odd"]
    assert isinstance(odd, Unknown)
    assert (odd.operator, odd.output_shape) == ("Mystery", (3, 8, 8))
    standard = model([node("Det", "x", "y", name="det")], {})
    with pytest.raises(ImcsimError, match="operator Det is not understood"):
        imported(standard, tmp_path)
    assert kinds(imported(standard, tmp_path, allow_unknown=True)) == ["input", "unknown"]


@pytest.mark.parametrize("allow_unknown", [False, True])
def test_an_unknown_operator_with_weights_is_never_free(tmp_path: Path, allow_unknown: bool) -> None:
    """Else its weights and multiplications would vanish; the advice is not what was done already."""
    odd = node("Mystery", "x w", "y", domain="own", name="odd")
    with pytest.raises(
        ImcsimError, match=r"own.Mystery .*, and its weights 'w' \(4 x 3\) cannot be free; export"
    ) as told:
        imported(model([odd], {"w": real(4, 3)}), tmp_path, allow_unknown=allow_unknown)
    assert "--allow-unknown" not in str(told.value)
    sizes = model([odd], {"w": np.array([[1, 2]], np.int64)})  # no weights: indices, sizes
    assert kinds(imported(sizes, tmp_path, allow_unknown=True)) == ["input", "unknown"]


def test_an_operator_of_another_domain_is_not_the_standard_one(tmp_path: Path) -> None:
    """Such as a pooling whose channels come last."""
    pool = node("MaxPool", "x", "y", domain="channels.last", name="pool", kernel_shape=[2, 2])
    with pytest.raises(ImcsimError, match=r"operator channels\.last\.MaxPool is not understood; --allow-unknown"):
        imported(model([pool], {}), tmp_path)
    (_, free) = imported(model([pool], {}), tmp_path, allow_unknown=True).layers
    assert isinstance(free, Unknown)
    assert free.operator == "channels.last.MaxPool"


def test_names_come_from_the_model_where_they_are_good(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a", name="same"), node("Relu", "a", "b", name="same"), node("Relu", "b", "y")]
    workload = imported(model(nodes, {}), tmp_path)
    assert len({layer.name for layer in workload.layers}) == 4
    assert "same" not in workload.by_name


def test_shapes_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match=r"node 'fc' \(MatMul\): its shapes do not fit"):
        imported(model([node("MatMul", "x w", name="fc")], {"w": real(5, 5)}, (1, 4, 16)), tmp_path)


# -- quantised models ----------------------------------------------------------------------------------------------

SCALES: Inits = {
    "xs": np.float32(0.1), "xz": np.uint8(128), "ws": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
    "wz": np.zeros(4, np.int8), "ys": np.float32(0.2), "yz": np.uint8(3),
}  # fmt: skip
CONV_WEIGHT = np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3)


def quantised_conv(form: str) -> ModelProto:
    bias = np.array([1, 2, 3, 4], np.int32)
    before = node("QuantizeLinear", "x xs xz", "q", name="quantize")
    after = node("DequantizeLinear", "r ys yz", "y", name="dequantize")
    if form == "QLinear":
        core = [node("QLinearConv", "q xs xz w ws wz ys yz bias", "r", name="conv")]
    else:
        core = [
            node("DequantizeLinear", "q xs xz", "d"),
            node("DequantizeLinear", "w ws wz", "dw", axis=0),
            node("DequantizeLinear", "bias bs", "db", axis=0),
            node("Conv", "d dw db", "c", name="conv"),
            node("QuantizeLinear", "c ys yz", "r"),
        ]
    inits = {**SCALES, "w": CONV_WEIGHT, "bias": bias} | (
        {} if form == "QLinear" else {"bs": SCALES["xs"] * SCALES["ws"]}
    )
    return model([before, *core, after], inits)


@pytest.mark.parametrize("form", ["QDQ", "QLinear"])
def test_quantised_convolution(tmp_path: Path, form: str) -> None:
    workload = checked(quantised_conv(form), tmp_path, keep_tensors=True)
    conv = workload.by_name["conv"]
    assert kinds(workload) == ["input", "conv"]
    assert isinstance(conv, Conv)
    assert conv.input_quant == Quantisation(bits=8, scale=(float(np.float32(0.1)),), zero_point=(128,))
    assert conv.weight_quant.bits == 8
    assert conv.weight_quant.scale == tuple(float(s) for s in SCALES["ws"])
    tensors = load_tensors(workload)
    assert tensors["conv.weight"].dtype == np.int8
    np.testing.assert_array_equal(tensors["conv.weight"], CONV_WEIGHT.reshape(4, 27))
    np.testing.assert_allclose(tensors["conv.bias"], np.array([1, 2, 3, 4]) * 0.1 * SCALES["ws"], rtol=1e-5)


@pytest.mark.parametrize("form", ["QDQ", "QLinear"])
def test_integers_of_the_trace_give_the_result_of_the_runtime(tmp_path: Path, form: str) -> None:
    """Integer windows times integer weights, times both scales, plus bias: what the runtime gives, but for rounding."""
    proto, image = quantised_conv(form), real(1, 3, 8, 8) * 5
    workload = imported(proto, tmp_path, keep_tensors=True)
    conv, tensors = workload.by_name["conv"], load_tensors(workload)
    assert isinstance(conv, Conv)
    (x_scale,), (x_zero,) = conv.input_quant.scale, conv.input_quant.zero_point
    integers = np.clip(np.round(image[0] / np.float32(x_scale)) + x_zero, 0, 255) - x_zero
    windows = np.lib.stride_tricks.sliding_window_view(integers, (3, 3), axis=(1, 2))  # (channels, 6, 6, 3, 3)
    vectors = windows.transpose(1, 2, 0, 3, 4).reshape(36, 27)
    sums = vectors @ tensors["conv.weight"].astype(np.int64).T
    result = sums * x_scale * np.array(conv.weight_quant.scale) + tensors["conv.bias"]
    expected = session(proto).run(None, {"x": image})[0][0].reshape(4, 36).T
    y_scale, y_zero = float(SCALES["ys"]), int(SCALES["yz"])
    clipped = np.clip(result, -y_zero * y_scale, (255 - y_zero) * y_scale)
    np.testing.assert_allclose(clipped, expected, atol=0.51 * y_scale)


def test_qlinear_chain_with_microsoft_operators(tmp_path: Path) -> None:
    inits = {**SCALES, "w": CONV_WEIGHT, "fw": np.ones((4, 5), np.int8), "fs": np.float32(0.1), "fz": np.int8(0)}
    nodes = [
        node("QuantizeLinear", "x xs xz", "q"),
        node("QLinearConv", "q xs xz w ws wz ys yz", "c", name="conv"),
        node("QLinearAdd", "c ys yz c ys yz ys yz", "a", name="add", domain="com.microsoft"),
        node("QLinearConcat", "ys yz a ys yz c ys yz", "k", name="concat", axis=1, domain="com.microsoft"),
        node("QLinearGlobalAveragePool", "c ys yz ys yz", "g", name="pool", domain="com.microsoft", channels_last=0),
        node("Flatten", "g", "f"),
        node("QGemm", "f ys yz fw fs fz - ys yz", "r", name="fc", domain="com.microsoft"),
        node("DequantizeLinear", "r ys yz", "y"),
    ]
    workload = checked(model(nodes, inits), tmp_path)
    assert kinds(workload) == ["input", "conv", "elementwise", "concat", "global_pool", "linear"]
    assert workload.by_name["fc"].input_quant.zero_point == (3,)


def test_integer_products_of_dynamic_quantisation(tmp_path: Path) -> None:
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z", "m", name="fc"),
        node("Cast", "m", "f", to=TensorProto.FLOAT),
        node("Mul", "s ws", "t"),
        node("Mul", "f t", "y", name="rescale"),
    ]
    workload = checked(model(nodes, {"w": np.ones((16, 4), np.int8), "ws": np.float32(0.1)}, (1, 10, 16)), tmp_path)
    fc = workload.by_name["fc"]
    assert kinds(workload) == ["input", "linear"]
    assert isinstance(fc, Linear)
    assert (fc.input_quant.bits, fc.weight_quant.bits) == (8, 8)


def test_four_bit_weights(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.INT4, [16, 4], [1] * 64)
    nodes = [node("DequantizeLinear", "w ws", "d"), node("MatMul", "x d", "y", name="fc")]
    proto = model(nodes, {"ws": np.float32(0.1)}, (1, 10, 16))
    proto.graph.initializer.append(weight)
    workload = imported(proto, tmp_path, keep_tensors=True, input_bits=6)
    fc = workload.by_name["fc"]
    assert isinstance(fc, Linear)
    assert (fc.input_quant.bits, fc.weight_quant.bits) == (6, 4)
    save_workload(workload, tmp_path / "four.json")
    assert load_tensors(load_workload(tmp_path / "four.json"))["fc.weight"].shape == (4, 16)


def test_models_quantised_by_onnxruntime(tmp_path: Path) -> None:
    """Its own tools, in both formats: the same layers as the float model has, but for activations that it fuses."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    nodes = [
        node("Conv", "x w b", "c", name="conv", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r", name="relu"),
        node("MaxPool", "r", "m", name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "m", "f", name="flatten"),
        node("Gemm", "f g", "y", name="fc"),
    ]
    proto = model(nodes, {"w": real(4, 3, 3, 3), "b": real(4), "g": real(64, 10)}, opset=17)
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10]))
    onnx.save(proto, tmp_path / "float.onnx")

    class Images(quantization.CalibrationDataReader):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.images = iter([{"x": real(1, 3, 8, 8)} for _ in range(3)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.images, None)

    original = import_onnx(tmp_path / "float.onnx")
    for form in ("QDQ", "QOperator"):
        quantization.quantize_static(
            tmp_path / "float.onnx", tmp_path / "int8.onnx", Images(), quant_format=quantization.QuantFormat[form]
        )
        workload = import_onnx(tmp_path / "int8.onnx")
        assert workload.n_weights == original.n_weights
        assert workload.n_macs == original.n_macs
        assert [k for k in kinds(workload) if k != "activation"] == [k for k in kinds(original) if k != "activation"]
        assert all(len(layer.weight_quant.scale) >= 1 for layer in workload.weighted)
        assert all(len(layer.input_quant.scale) == 1 for layer in workload.weighted)


# -- real files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_light_models_have_the_shapes_of_onnx_shape_inference(path: Path) -> None:
    workload = load_network(path)
    proto = onnx.load(path)
    infos = onnx.shape_inference.infer_shapes(proto).graph
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*infos.value_info, *infos.output)
    }
    compared = 0
    for written in proto.graph.node:
        layer = workload.by_name.get(written.name)
        if layer is not None and written.output[0] in shapes:
            assert layer.elements == prod(shapes[written.output[0]])
            compared += 1
    assert compared >= 20


@pytest.mark.parametrize("form", ["fp32", "int8_qdq"])
def test_trained_resnet20(tmp_path: Path, form: str) -> None:
    path = SHARED / "resnet20-cifar10-jpeg-finetuned" / f"resnet20_jpegft_{form}.onnx"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    workload = import_onnx(path, keep_tensors=True)
    shipped = load_workload("resnet20_cifar")
    assert (workload.n_weights, workload.n_macs) == (shipped.n_weights, shipped.n_macs)
    save_workload(workload, tmp_path / "net.json")
    again = load_workload(tmp_path / "net.json")
    assert again.layers == workload.layers
    tensors = load_tensors(again)
    for layer in again.weighted:
        assert tensors[f"{layer.name}.weight"].shape == (layer.channels, layer.rows)
        assert tensors[f"{layer.name}.weight"].dtype == (np.float32 if form == "fp32" else np.int8)


@pytest.mark.parametrize(("form", "weight_bits", "input_bits"), [("1W1A", 1, 1), ("1W2A", 1, 2), ("2W2A", 2, 2)])
def test_qonnx_networks(form: str, weight_bits: int, input_bits: int) -> None:
    path = SHARED / "qonnx" / f"TFC_{form}.onnx"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    workload = import_onnx(path)
    assert [(layer.rows, layer.channels) for layer in workload.weighted] == [(784, 64), (64, 64), (64, 64), (64, 10)]
    assert all(layer.weight_quant.bits == weight_bits for layer in workload.weighted)
    assert all(layer.input_quant.bits == input_bits for layer in workload.weighted)


def test_file_that_is_missing_or_no_model(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match="does not exist"):
        import_onnx(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ImcsimError, match="is no ONNX model"):
        import_onnx(tmp_path / "empty.onnx")
    (tmp_path / "text.onnx").write_text("this is a text")
    with pytest.raises(ImcsimError, match="is no readable ONNX model"):
        import_onnx(tmp_path / "text.onnx")
    content = attention().SerializeToString()
    for length in range(1, len(content), len(content) // 40):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        with pytest.raises(ImcsimError):
            import_onnx(tmp_path / "cut.onnx")
