"""Train the shipped ResNet-8 on Fashion-MNIST, fold its normalisations, quantise it to 8 bits and measure it.

Usage: python workloads/train_resnet8_fashion.py --data FOLDER [--out workloads/models] [--float FILE]
       python workloads/train_resnet8_fashion.py --data FOLDER --evaluate MODEL.onnx

FOLDER holds the four IDX files of the data set, compressed or not. Needs the torch extra and onnxruntime.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor, nn
from torch.nn import functional

NAME = "resnet8_fashion"
DESCRIPTION = "ResNet-8 (the shape of MLPerf Tiny), Fashion-MNIST 1x28x28, 10 classes, trained"
STAGES = (16, 32, 64)
BATCH, TOP_RATE, MOMENTUM, DECAY = 128, 0.2, 0.9, 5e-4
CALIBRATION_IMAGES, SAMPLE_IMAGES = 512, 1000
OPSET, IR_VERSION = 17, 8
SOURCE = "https://github.com/zalandoresearch/fashion-mnist"
LICENCE = """\
The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Images:
    """Grey images (count, 28, 28) and their classes 0..9."""

    pixels: Bytes
    labels: Bytes

    def inputs(self) -> Floats:
        """What the network reads: (count, 1, 28, 28), pixel / 255."""
        return self.pixels[:, None].astype(np.float32) / np.float32(255)


# ---- data ----


def read_images(folder: Path, part: str) -> Images:
    """The part ``train`` or ``t10k`` of the data set."""
    return Images(_read_idx(folder, f"{part}-images-idx3-ubyte"), _read_idx(folder, f"{part}-labels-idx1-ubyte"))


def _read_idx(folder: Path, name: str) -> Bytes:
    packed = folder / f"{name}.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / name).read_bytes()
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def write_sample(images: Images, path: Path) -> None:
    """The first test images with their labels; the licence travels inside the file."""
    pixels, labels = images.pixels[:SAMPLE_IMAGES], images.labels[:SAMPLE_IMAGES]
    np.savez_compressed(path, images=pixels, labels=labels, licence=np.array(LICENCE), source=np.array(SOURCE))


# ---- the network ----


class ConvNorm(nn.Module):
    """A convolution without bias and the normalisation behind it."""

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def folded(self) -> tuple[Floats, Floats]:
        """Weights and bias of the one convolution that does the work of both, as of evaluation."""
        norm = self.norm
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = self.conv.weight * factor[:, None, None, None]
        return weight.detach().numpy(), (norm.bias - norm.running_mean * factor).detach().numpy()


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, outputs, 3, stride)
        self.conv2 = ConvNorm(outputs, outputs, 3)
        self.shortcut = ConvNorm(channels, outputs, 1, stride) if channels != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet8(nn.Module):
    """A stem, three residual blocks of 16, 32 and 64 channels, global average pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(1, STAGES[0], 3)
        widths = zip((STAGES[0], *STAGES), STAGES, strict=False)
        self.blocks = nn.ModuleList(Block(a, b, stride=2 if a != b else 1) for a, b in widths)
        self.fc = nn.Linear(STAGES[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((2, 3)))


def train(images: Images, epochs: int, seed: int) -> ResNet8:
    """One cycle of stochastic gradient descent; half of the images are mirrored."""
    torch.manual_seed(seed)
    network = ResNet8()
    inputs, labels = torch.from_numpy(images.inputs()), torch.from_numpy(images.labels.astype(np.int64))
    optimiser = torch.optim.SGD(network.parameters(), TOP_RATE, MOMENTUM, weight_decay=DECAY, nesterov=True)
    steps = epochs * (len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, TOP_RATE, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        loss = 0.0
        for chosen in _batches(len(inputs)):
            optimiser.zero_grad()
            error = functional.cross_entropy(network(_mirrored(inputs[chosen])), labels[chosen])
            error.backward()
            optimiser.step()
            schedule.step()
            loss += error.item() * BATCH / len(inputs)
        print(f"epoch {epoch + 1} of {epochs}: loss {loss:.4f}", flush=True)
    return network.eval()


def _batches(count: int) -> Iterator[Tensor]:
    """All whole batches of an epoch in random order."""
    order = torch.randperm(count)
    yield from order[: count // BATCH * BATCH].split(BATCH)


def _mirrored(images: Tensor) -> Tensor:
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


# ---- ONNX ----


class Graph:
    """Collects nodes and weights; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Floats) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(self, name: str, x: str, layer: ConvNorm) -> str:
        weight, bias = layer.folded()
        kernel, pad, stride = layer.conv.kernel_size, layer.conv.padding, layer.conv.stride
        names = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
        return self.node("Conv", name, x, *names, kernel_shape=kernel, pads=[*pad, *pad], strides=stride)

    def block(self, name: str, x: str, block: Block) -> str:
        y = self.node("Relu", f"{name}.relu1", self.conv(f"{name}.conv1", x, block.conv1))
        y = self.conv(f"{name}.conv2", y, block.conv2)
        x = x if block.shortcut is None else self.conv(f"{name}.shortcut", x, block.shortcut)
        return self.node("Relu", f"{name}.relu2", self.node("Add", f"{name}.add", y, x))


def export(network: ResNet8) -> ModelProto:
    """The network in ONNX, normalisations folded, any number of images at once."""
    graph = Graph()
    x = graph.node("Relu", "conv1.relu", graph.conv("conv1", "image", network.conv1))
    for index, block in enumerate(network.blocks):
        x = graph.block(f"layer{index + 1}", x, block)
    x = graph.node("Flatten", "flatten", graph.node("GlobalAveragePool", "avgpool", x), axis=1)
    weight = graph.constant("fc.weight", network.fc.weight.detach().numpy())
    bias = graph.constant("fc.bias", network.fc.bias.detach().numpy())
    scores = graph.node("Gemm", "fc", x, weight, bias, transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])
    result = helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["batch", 10])
    body = helper.make_graph(graph.nodes, NAME, [image], [result], graph.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, doc_string=DESCRIPTION)
    onnx.checker.check_model(model, full_check=True)
    return model


class Calibration(CalibrationDataReader):
    """Images by the batch, as the quantiser wants them."""

    def __init__(self, inputs: Floats) -> None:
        self.batches = iter(np.split(inputs, range(64, len(inputs), 64)))

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def quantise(model: ModelProto, images: Images, path: Path) -> None:
    """Weights int8, symmetric, per channel; activations uint8. The pixels themselves are the integers of the input.

    Only what a layer reads is rounded: a sum passes its ReLU first, and the scores stay numbers.
    """
    own = ModelProto.FromString(model.SerializeToString())  # the quantiser moves the weights out of what it is given
    quantize_static(
        own,
        path,
        Calibration(images.inputs()[:CALIBRATION_IMAGES]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Conv", "Add", "Gemm"]},
    )
    quantised = onnx.load(path)
    quantised.ir_version, quantised.doc_string = IR_VERSION, DESCRIPTION
    onnx.checker.check_model(quantised, full_check=True)
    onnx.save(quantised, path)


# ---- accuracy ----


def correct(model: ModelProto | Path, images: Images) -> int:
    """How many images the model classifies correctly."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # no saturating sums on older processors
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = np.split(images.inputs(), range(500, len(images.labels), 500))
    scores = np.concatenate([session.run(None, {"image": batch})[0] for batch in batches])
    return int((scores.argmax(1) == images.labels).sum())


def report(title: str, model: ModelProto | Path, images: Images) -> None:
    """Accuracy on all test images and on those of the sample."""
    sample = Images(images.pixels[:SAMPLE_IMAGES], images.labels[:SAMPLE_IMAGES])
    for part in (images, sample):
        print(f"{title}: {correct(model, part)} of the first {len(part.labels)} test images correct")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the four IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models", metavar="FOLDER")
    parser.add_argument("--float", type=Path, metavar="FILE", help="keep the network before quantisation here")
    parser.add_argument("--evaluate", type=Path, metavar="MODEL", help="measure this model; nothing is trained")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    test = read_images(arguments.data, "t10k")
    if arguments.evaluate:
        report(arguments.evaluate.name, arguments.evaluate, test)
        return
    training = read_images(arguments.data, "train")
    model = export(train(training, arguments.epochs, arguments.seed))
    if arguments.float:
        onnx.save(model, arguments.float)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{NAME}.onnx"
    quantise(model, training, path)
    write_sample(test, arguments.out / "fashion_mnist_1000.npz")
    report("32-bit floats", model, test)
    report("8-bit integers", path, test)


if __name__ == "__main__":
    main()
