"""Are traces read, checked and written as documented, and are the shipped ones what they claim to be?"""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers import load_network
from imcsim.workload.layers import KINDS
from imcsim.workload.workload import (
    Activation,
    Conv,
    Elementwise,
    Input,
    Linear,
    MatMul,
    Quantisation,
    Window,
    Workload,
    load_tensors,
    load_workload,
    save_workload,
    with_tensors,
)

ROOT = Path(__file__).parents[2]
BAD = Path(__file__).parents[1] / "bad/workloads"
EXPECTED: dict[str, str] = json.loads((BAD / "expected.json").read_text())
SHIPPED = sorted(path.stem for path in (ROOT / "workloads").glob("*.json"))


def conv_layer(**changes: Any) -> Conv:
    window = Window(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1))
    fields = {"name": "conv1", "inputs": ("image",), "output_shape": (4, 8, 8), "in_channels": 3, "window": window}
    return Conv(**{**fields, **changes})


def small(*layers: Any) -> Workload:
    image = Input(name="image", inputs=(), output_shape=(3, 8, 8))
    return Workload(name="net", description="a test", source="by hand", layers=(image, *layers))


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED)
def test_bad_files_end_in_one_clear_sentence(name: str) -> None:
    with pytest.raises(ImcsimError) as caught:
        load_tensors(load_network(BAD / name if "." in name else name))
    sentence = str(caught.value).replace(f"{BAD}/", "")
    pattern = re.escape(EXPECTED[name]).replace(r"\.\.\.", ".+")  # "..." stands for the words of another library
    assert re.fullmatch(pattern, sentence), f"{sentence}\nexpected: {EXPECTED[name]}"


def test_every_bad_file_has_an_expected_sentence() -> None:
    assert {path.name for path in BAD.iterdir()} - {"expected.json"} <= set(EXPECTED)


@pytest.mark.parametrize("name", SHIPPED)
def test_save_and_load_return_the_same_trace(tmp_path: Path, name: str) -> None:
    workload = load_workload(name)
    save_workload(workload, tmp_path / "again.json")
    assert load_workload(tmp_path / "again.json") == workload
    assert (tmp_path / "again.json").read_text() == (ROOT / f"workloads/{name}.json").read_text()


def test_yaml_is_accepted_and_defaults_are_left_out(tmp_path: Path) -> None:
    workload = small(conv_layer(weight_quant=Quantisation(bits=4)))
    save_workload(workload, tmp_path / "net.json")
    data = json.loads((tmp_path / "net.json").read_text())
    assert set(data["layers"][0]) == {"name", "kind", "inputs", "output_shape"}
    assert data["layers"][1]["weight_quant"] == {"bits": 4}
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    assert load_workload(tmp_path / "net.yaml") == workload


def test_one_layer_per_line(tmp_path: Path) -> None:
    save_workload(small(conv_layer()), tmp_path / "net.json")
    lines = (tmp_path / "net.json").read_text().splitlines()
    assert [json.loads(line.strip().rstrip(","))["name"] for line in lines if '"kind"' in line] == ["image", "conv1"]


def test_tensors_lie_beside_the_trace(tmp_path: Path) -> None:
    weights = np.arange(108, dtype=np.int8).reshape(4, 27)
    workload = with_tensors(small(conv_layer()), {"conv1.weight": weights})
    save_workload(workload, tmp_path / "own.json")
    loaded = load_workload(tmp_path / "own.json")
    assert loaded.tensors == "own.safetensors"
    np.testing.assert_array_equal(load_tensors(loaded)["conv1.weight"], weights)
    save_workload(loaded, tmp_path / "copy.json")
    (tmp_path / "own.safetensors").unlink()
    assert set(load_tensors(load_workload(tmp_path / "copy.json"))) == {"conv1.weight"}
    with pytest.raises(ImcsimError, match=r"own\.safetensors.*cannot be read"):
        load_tensors(loaded)
    assert load_tensors(small(conv_layer())) == {}


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match="cannot be written"):
        save_workload(small(conv_layer()), tmp_path / "no_such_folder/net.json")
    assert list(tmp_path.iterdir()) == []


def test_documented_example_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs/workloads.md").read_text(), re.DOTALL)
    (tmp_path / "example.json").write_text(blocks[0])
    workload = load_workload(tmp_path / "example.json")
    assert [layer.kind for layer in workload.layers] == ["input", "conv", "activation", "global_pool", "linear"]


def test_every_kind_and_key_is_documented() -> None:
    text = (ROOT / "docs/workloads.md").read_text()
    for kind, cls in KINDS.items():
        assert f"`{kind}`" in text
        for key in cls.model_fields:
            assert f"`{key}`" in text, key


# -- the model -----------------------------------------------------------------------------------------------------


def test_amounts() -> None:
    workload = small(
        conv_layer(output_shape=(6, 8, 8), groups=3),
        Linear(name="fc", inputs=("conv1",), output_shape=(5, 8, 8), in_channels=6),
        MatMul(name="product", inputs=("fc", "fc"), output_shape=(64, 8, 8), heads=1, inner=5),
    )
    workload.check()
    assert [layer.rows for layer in workload.weighted] == [9, 6]
    assert workload.n_weights == 6 * 9 + 6 * 5
    assert workload.n_macs == 64 * (6 * 9 + 6 * 5 + 64 * 5)
    assert workload.consumers == {"image": ("conv1",), "conv1": ("fc",), "fc": ("product",), "product": ()}


@pytest.mark.parametrize(("features", "fits"), [(64, True), (32, True), (16, True), (128, False), (48, False)])
def test_heads_may_share_keys(features: int, fits: bool) -> None:
    """Four heads of 16 features; keys for each of them, for groups of heads, or for all together."""
    query = Input(name="query", inputs=(), output_shape=(64, 1))
    keys = Input(name="keys", inputs=(), output_shape=(features, 10))
    scores = MatMul(name="scores", inputs=("query", "keys"), output_shape=(40, 1), heads=4, inner=16)
    assert (scores.problem([query, keys]) == "") is fits


def test_broadcast() -> None:
    gate = Input(name="gate", inputs=(), output_shape=(3, 1, 1))
    image = Input(name="image", inputs=(), output_shape=(3, 8, 8))
    mul = Elementwise(name="mul", inputs=("image", "gate"), output_shape=(3, 8, 8), function="mul")
    assert mul.problem([image, gate]) == ""
    assert "cannot be broadcast" in mul.problem([image, gate.model_copy(update={"output_shape": (2, 1, 1)})])


def test_workloads_compare_by_content() -> None:
    one, two = small(conv_layer()), small(conv_layer())
    assert one.by_name["conv1"].channels == 4  # fills a cache of one of them
    assert one == two
    assert hash(one) == hash(two)
    assert one != small(conv_layer(), Activation(name="r", inputs=("conv1",), output_shape=(4, 8, 8), function="relu"))
    assert one != "net"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_window_counts_its_positions(data: st.DataObject) -> None:
    """Slid by hand: a window starts inside the input or its first padding and, without ceil_mode, ends inside too."""
    draw = data.draw
    kernel, stride, dilation, size = (draw(st.integers(1, high)) for high in (4, 4, 3, 12))
    begin, end, ceil_mode = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1)), draw(st.booleans())
    window = Window(kernel=(kernel,), stride=(stride,), padding=(begin, end), dilation=(dilation,), ceil_mode=ceil_mode)
    span, total = dilation * (kernel - 1) + 1, begin + size + end
    starts = [start for start in range(0, total, stride) if start + span <= total]
    if ceil_mode and starts:
        extra = starts[-1] + stride
        starts += [extra] if starts[-1] + span < total and extra < begin + size else []
    assert window.output_size((size,)) == (len(starts),)


# -- shipped traces ------------------------------------------------------------------------------------------------

# weights, MACs, crossbars of 128x128 with 8 columns per weight; biases and normalisation are not counted
TABULATED = {
    "resnet18": ("11.679", "1.814", 5724),
    "resnet34": ("21.780", "3.664", 10660),
    "resnet50": ("25.503", "4.089", 12504),
    "densenet121": ("7.894", "2.834", 4036),
    "resnet18_cifar100": ("11.210", "0.555", 5496),
    "densenet121_cifar100": ("6.965", "0.888", 3584),
}

# Parameters as the frameworks count them, less biases, normalisation and what a trace does not hold.
PUBLISHED_WEIGHTS = {
    "alexnet": 60_965_224 - 10_568,  # Caffe reference model; biases
    "vgg19": 143_667_240 - 14_696,  # torchvision; biases
    "squeezenet": 1_235_496 - 3_944,  # torchvision squeezenet1_1; biases
    "inception_v1": 6_998_552 - 8_280,  # Caffe reference model without auxiliary heads; biases
    "resnet18": 11_689_512 - 9_600 - 1_000,  # torchvision; normalisation, bias
    "resnet34": 21_797_672 - 17_024 - 1_000,  # torchvision; normalisation, bias
    "resnet50": 25_557_032 - 53_120 - 1_000,  # torchvision; normalisation, bias
    "densenet121": 7_978_856 - 83_648 - 1_000,  # torchvision; normalisation, bias
    "mobilenet_v2": 3_504_872 - 34_112 - 1_000,  # torchvision; normalisation, bias
    "resnet20_cifar": 269_722 - 1_376 - 10,  # pytorch_resnet_cifar10; normalisation, bias
    "resnet32_cifar": 464_154 - 2_272 - 10,
    "resnet56_cifar": 853_018 - 4_064 - 10,
    "vit_b16": 86_567_656 - 275_176,  # torchvision; biases, normalisation, position and class embeddings
    "bert_base_128": 12 * (4 * 768 * 768 + 2 * 768 * 3072) + 768 * 768,  # encoder and pooler
    "gpt2_prefill_128": 124_439_808 - 1024 * 768 - 121_344,  # positions; biases and normalisation
    "gpt2_decode_512": 124_439_808 - 1024 * 768 - 121_344,
}
PUBLISHED_GMACS = {
    "vgg19": 19.63,
    "mobilenet_v2": 0.301,
    "squeezenet": 0.349,
    "vit_b16": 17.56,
    "resnet20_cifar": 0.041,
}


def crossbars(workload: Workload) -> int:
    return sum(ceil(layer.rows / 128) * ceil(8 * layer.channels / 128) for layer in workload.weighted)


@pytest.mark.parametrize("name", TABULATED)
def test_totals(name: str) -> None:
    workload = load_workload(name)
    totals = f"{workload.n_weights / 1e6:.3f}", f"{workload.n_macs / 1e9:.3f}", crossbars(workload)
    assert totals == TABULATED[name]


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
def test_weights_are_the_published_ones(name: str) -> None:
    assert load_workload(name).n_weights == PUBLISHED_WEIGHTS[name]


@pytest.mark.parametrize("name", PUBLISHED_GMACS)
def test_macs_are_the_published_ones(name: str) -> None:
    assert load_workload(name).n_macs / 1e9 == pytest.approx(PUBLISHED_GMACS[name], rel=0.02)


def test_attention_of_the_transformers_is_dynamic() -> None:
    for name in ("bert_base_128", "vit_b16", "gpt2_prefill_128", "gpt2_decode_512"):
        products = [layer for layer in load_workload(name).layers if isinstance(layer, MatMul)]
        assert len(products) == 2 * 12
    decode = load_workload("gpt2_decode_512")
    caches = [layer for layer in decode.layers if isinstance(layer, Input) and layer.name.endswith(".cache")]
    assert len(caches) == 2 * 12
    assert all(layer.output_shape == (768, 512) for layer in caches)
    assert decode.by_name["layer0.attention.scores"].output_shape == (12 * 513, 1)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all shipped traces again by their scripts, as the traces' `source` says."""
    folder = tmp_path_factory.mktemp("made")
    for script in ("make_onnx_light.py", "make_networks.py"):
        command = [sys.executable, str(ROOT / "workloads" / script), "--out", str(folder)]
        subprocess.run(command, check=True, timeout=50, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_trace_is_what_its_script_makes(generated: Path, name: str) -> None:
    assert (generated / f"{name}.json").read_text() == (ROOT / f"workloads/{name}.json").read_text()


def test_nothing_else_is_made(generated: Path) -> None:
    assert sorted(path.stem for path in generated.iterdir()) == SHIPPED
    assert len(SHIPPED) == 21


def test_builder_refuses_a_name_given_twice() -> None:
    builder = runpy.run_path(str(ROOT / "workloads/network_builder.py"))["Network"]()
    builder.input("image", 3, 8, 8)
    with pytest.raises(ValueError, match="two layers"):
        builder.input("image", 3, 8, 8)
