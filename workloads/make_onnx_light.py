"""Write the traces of the networks that the onnx package carries as test data (real shapes, no trained weights).

Usage: python workloads/make_onnx_light.py [--out DIR] [NAME ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import onnx.backend.test

from imcsim.workload.importers.onnx import convert
from imcsim.workload.workload import Workload, save_workload

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"

# trace name -> (file, description)
MODELS = {
    "alexnet": ("light_bvlc_alexnet", "AlexNet (Caffe reference form, two groups), ImageNet 224x224, 1000 classes"),
    "densenet121": ("light_densenet121", "DenseNet-121, growth 32, ImageNet 224x224, 1000 classes"),
    "inception_v1": (
        "light_inception_v1",
        "Inception v1 (GoogLeNet), no auxiliary heads, ImageNet 224x224, 1000 classes",
    ),
    "inception_v2": ("light_inception_v2", "Inception v2 (batch normalisation), ImageNet 224x224, 1000 classes"),
    "resnet50": ("light_resnet50", "ResNet-50 v1.5 (stride in the 3x3 convolutions), ImageNet 224x224, 1000 classes"),
    "shufflenet": ("light_shufflenet", "ShuffleNet v1, 1x, 3 groups, ImageNet 224x224, 1000 classes"),
    "squeezenet": ("light_squeezenet", "SqueezeNet 1.1, ImageNet 224x224, 1000 classes"),
    "vgg19": ("light_vgg19", "VGG-19 without batch normalisation, ImageNet 224x224, 1000 classes"),
    "zfnet512": ("light_zfnet512", "ZFNet-512, ImageNet 224x224, 1000 classes"),
}


def make(name: str) -> Workload:
    """The trace of one of MODELS."""
    file, description = MODELS[name]
    model = onnx.load(LIGHT / f"{file}.onnx")
    name_nodes(model)
    source = f"{file}.onnx from the test data of the onnx package; python workloads/make_onnx_light.py {name}"
    return convert(model, name, file, source=source, description=description)


def name_nodes(model: onnx.ModelProto) -> None:
    """Name convolutions and linear layers after their weights, and what follows each of them after it."""
    taken: set[str] = {"image"}
    writer: dict[str, str] = {}  # the weighted layer behind each tensor
    weights = {item.name for item in model.graph.initializer}
    image = next(item.name for item in model.graph.input if item.name not in weights and "data" in item.name)
    _rename_tensor(model.graph, image, "image")
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            wanted = label = node.input[1].removeprefix("gpu_0/").removesuffix("_w_0")
        else:
            label = next((writer[name] for name in node.input if name in writer), "")
            wanted = f"{label}/{node.op_type.lower()}".removeprefix("/")
        node.name = _fresh(wanted, taken)
        if label:
            writer.update(dict.fromkeys(node.output, label))


def _rename_tensor(graph: onnx.GraphProto, old: str, new: str) -> None:
    for item in graph.input:
        item.name = new if item.name == old else item.name
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _fresh(wanted: str, taken: set[str]) -> str:
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    for name in arguments.names:
        save_workload(make(name), arguments.out / f"{name}.json")


if __name__ == "__main__":
    main()
