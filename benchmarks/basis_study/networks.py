"""The networks of the study and their images: ResNet-8 on Fashion-MNIST, ResNet-20 on CIFAR-10."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset, load_dataset

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = {"train": "cifar10_jpeg_train.tar.xz", "test": "cifar10_jpeg_test.tar.xz"}
ORDER_SEED = 0  # of images that come class by class


@dataclass(frozen=True)
class Network:
    """A quantised model and its images; ``mean``, ``std``: what it wants pixels from 0 to 1 shifted and divided by."""

    name: str
    data_name: str
    model: Path
    folder: Path
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def images(self, part: str) -> Dataset:
        """``part``: 'train' or 'test'."""
        return load_images(self.folder, part)


def networks(fashion: Path | None, cifar: Path | None, resnet20: Path | None) -> dict[str, Network]:
    """Those whose images are at hand.

    ``fashion``: a folder with the four idx files; ``cifar``: one with the usual binaries, or with two archives of JPEG
    images by class; ``resnet20``: the quantised ResNet-20.
    """
    found = {}
    if fashion:
        model = ROOT / "workloads" / "models" / "resnet8_fashion.onnx"
        found["resnet8"] = Network("resnet8", "Fashion-MNIST", model, fashion)
    if cifar and resnet20:
        name = "CIFAR-10 (JPEG q75 copy)" if (cifar / ARCHIVES["test"]).exists() else "CIFAR-10"
        found["resnet20"] = Network("resnet20", name, resnet20, cifar, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return found


@cache
def load_images(folder: Path, part: str) -> Dataset:
    if (folder / ARCHIVES[part]).exists():
        return _shuffled(_from_archive(folder / ARCHIVES[part]))
    patterns = {"train": ("train-images*", "data_batch_*.bin"), "test": ("t10k-images*", "test_batch.bin")}
    files = sorted(file for pattern in patterns[part] for file in folder.glob(pattern))
    if not files:
        raise ImcsimError(str(folder), f"holds no {part} images", "give the folder of the idx or .bin files")
    parts = [load_dataset(file) for file in files]
    return Dataset(
        folder.name, np.concatenate([each.images for each in parts]), np.concatenate([each.labels for each in parts])
    )


def _from_archive(path: Path) -> Dataset:
    """Pictures whose label is their folder, in alphabetical order."""
    from PIL import Image

    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile()]
    classes = sorted({Path(name).parent.name for name in names})
    images, labels = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                images.append(np.asarray(Image.open(io.BytesIO(content.read())).convert("RGB")))
                labels.append(classes.index(Path(member.name).parent.name))
    stacked = np.moveaxis(np.stack(images), -1, 1)
    return Dataset(path.name.partition(".")[0], np.ascontiguousarray(stacked), np.array(labels, np.int64))


def _shuffled(data: Dataset) -> Dataset:
    order = np.random.default_rng(ORDER_SEED).permutation(len(data.labels))
    return Dataset(data.name, data.images[order], data.labels[order])
