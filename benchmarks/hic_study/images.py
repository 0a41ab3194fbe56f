"""The images of the study, cut into those for training and those for the test."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imcsim.training.networks import resnet8, small_cnn
from imcsim.training.tasks import Task
from imcsim.workload.datasets import Dataset, load_dataset

SHEETS, N_TEST = 21, 10_000  # 60,000 training images and the first 3,000 of the test
CIFAR_TRAIN = 10_000


@dataclass(frozen=True)
class Problem:
    """A task, and what pixels from 0 to 1 are shifted and divided by."""

    task: Task
    mean: tuple[float, ...]
    std: tuple[float, ...]


def tasks(mnist: Path | None, fashion: Path | None, cifar: Path | None) -> dict[str, Problem]:
    """Those whose images are at hand."""
    found = {}
    if mnist:
        found["mnist"] = Problem(Task(small_cnn, *_mnist(mnist)), (0.1307,), (0.3081,))
    if fashion:
        parts = [load_dataset(next(fashion.glob(f"{part}-images*"))) for part in ("train", "t10k")]
        found["fashion"] = Problem(Task(small_cnn, *parts), (0.2860,), (0.3530,))
    if cifar:
        found["cifar"] = Problem(Task(resnet8, *_cifar(cifar)), (0.4913, 0.4821, 0.4465), (0.245, 0.243, 0.261))
    return found


def _mnist(folder: Path) -> tuple[Dataset, Dataset]:
    """53,000 for training. The test has 10,000: the last 7,000 training images, and the 3,000 of the test there are."""
    from PIL import Image

    sheets = [np.asarray(Image.open(folder / f"mnist_batch_{n}.png").convert("L")) for n in range(SHEETS)]
    images = np.concatenate(sheets).reshape(-1, 1, 28, 28)
    labels = np.load(folder / "labels_70000.npy")[: len(images)].astype(np.int64)
    cut = len(images) - N_TEST
    return Dataset("MNIST", images[:cut], labels[:cut]), Dataset("MNIST test", images[cut:], labels[cut:])


def _cifar(folder: Path) -> tuple[Dataset, Dataset]:
    """A fixed fifth of the training images, and the whole test."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "basis_study"))
    from networks import load_images

    return load_images(folder, "train").first(CIFAR_TRAIN), load_images(folder, "test")
