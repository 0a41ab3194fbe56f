"""Write the traces of the networks that are defined in this folder.

Usage: python workloads/make_networks.py [--out DIR] [NAME ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from convolutional import densenet, mobilenet_v2, resnet, resnet_cifar
from network_builder import Network
from transformers import bert, gpt2, vit

from imcsim.workload.workload import Workload, save_workload

DENSE_121 = (6, 12, 24, 16)
CIFAR_100 = "CIFAR-100 32x32: 3x3 stem, no pooling behind it"

# trace name -> (definition, description)
NETWORKS: dict[str, tuple[Callable[[], Network], str]] = {
    "resnet18": (partial(resnet, (2, 2, 2, 2), 1000, 224, True), "ResNet-18, ImageNet 224x224, 1000 classes"),
    "resnet34": (partial(resnet, (3, 4, 6, 3), 1000, 224, True), "ResNet-34, ImageNet 224x224, 1000 classes"),
    "resnet20_cifar": (partial(resnet_cifar, 20), "ResNet-20, CIFAR-10 32x32, shortcuts without weights"),
    "resnet32_cifar": (partial(resnet_cifar, 32), "ResNet-32, CIFAR-10 32x32, shortcuts without weights"),
    "resnet56_cifar": (partial(resnet_cifar, 56), "ResNet-56, CIFAR-10 32x32, shortcuts without weights"),
    "resnet18_cifar100": (partial(resnet, (2, 2, 2, 2), 100, 32, False), f"ResNet-18, {CIFAR_100}"),
    "densenet121_cifar100": (partial(densenet, DENSE_121, 32, 100, 32, False), f"DenseNet-121, growth 32, {CIFAR_100}"),
    "mobilenet_v2": (mobilenet_v2, "MobileNetV2, width 1.0, ImageNet 224x224, 1000 classes"),
    "bert_base_128": (
        partial(bert, 128),
        "BERT-base encoder with pooler, 128 tokens; embedding rows come from outside",
    ),
    "vit_b16": (partial(vit, 224, 16, 1000), "ViT-B/16, ImageNet 224x224, 197 tokens, 1000 classes"),
    "gpt2_prefill_128": (
        partial(gpt2, 128),
        "GPT-2 small, prefill of 128 tokens; embedding rows come from outside, vocabulary projection of the last token",
    ),
    "gpt2_decode_512": (
        partial(gpt2, 1, 512),
        "GPT-2 small, one new token behind 512 whose keys and values come from outside; attention over 513 tokens",
    ),
}  # fmt: skip


def make(name: str) -> Workload:
    """The trace of one of NETWORKS."""
    definition, description = NETWORKS[name]
    source = f"own definition from the paper; python workloads/make_networks.py {name}"
    return definition().workload(name, description, source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    for name in arguments.names:
        save_workload(make(name), arguments.out / f"{name}.json")


if __name__ == "__main__":
    main()
