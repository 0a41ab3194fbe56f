"""Deal out images in batches: a split for validation, an order and changes for each epoch, all from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Array, Dataset

SHIFT_FRAC = 0.125  # of the side, at most: 4 of 32 pixels, as is usual for CIFAR


class ImageOptions(Protocol):
    """Describe what the options of any training say about images.

    ``validation``: share of the images kept apart. ``mean``, ``std``: as of ``Dataset.scaled``.
    """

    @property
    def batch(self) -> int:
        """Return how many images a step takes."""

    @property
    def validation(self) -> float:
        """Return the share of the images that is kept apart."""

    @property
    def augment(self) -> tuple[str, ...]:
        """Return the names of the changes, 'flip' and 'shift'."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Return what is subtracted from pixels from 0 to 1."""

    @property
    def std(self) -> tuple[float, ...]:
        """Return what pixels are divided by."""

    @property
    def seed(self) -> int:
        """Return the seed of order, split and changes."""


def split(data: Dataset, options: ImageOptions) -> tuple[Dataset, Dataset]:
    """Return images to train on, and those that choose the best epoch. Raises ImcsimError where there are too few."""
    order = random_streams.rng(options.seed, "validation").permutation(len(data.labels))
    n = round(options.validation * len(order))
    if not 0 < n < len(order):
        raise ImcsimError(data.name, f"{len(order)} images are too few to train on and to choose by", "give more")
    return part(data, np.sort(order[n:])), part(data, np.sort(order[:n]))


def epoch_batches(data: Dataset, options: ImageOptions, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images in the order of an epoch, changed as ``augment`` says, scaled; the last batch may be smaller."""
    rng = random_streams.rng(options.seed, "epoch", epoch)
    order = rng.permutation(len(data.labels))
    for start in range(0, len(order), options.batch):
        yield tensors(changed(part(data, order[start : start + options.batch]), options, rng), options)


def plain_batches(data: Dataset, options: ImageOptions, size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images as they are."""
    for start in range(0, len(data.labels), size):
        yield tensors(part(data, np.arange(start, min(start + size, len(data.labels)))), options)


def tensors(data: Dataset, options: ImageOptions) -> tuple[Tensor, Tensor]:
    """Return scaled images (n, channels, ...) and labels (n,) for PyTorch."""
    return torch.from_numpy(data.scaled(options.mean, options.std)), torch.from_numpy(data.labels)


def changed(data: Dataset, options: ImageOptions, rng: np.random.Generator) -> Dataset:
    """Return images as a training sees them, before they are scaled."""
    return Dataset(data.name, augmented(data.images, options.augment, rng), data.labels)


def augmented(images: Array, kinds: Sequence[str], rng: np.random.Generator) -> Array:
    """Return (n, channels, height, width) images, each flipped and shifted by chance; what comes in is 0."""
    if "flip" in kinds:
        images = np.where(rng.random(len(images)).reshape(-1, 1, 1, 1) < 0.5, images[..., ::-1], images)
    if "shift" in kinds:
        images = _shifted(images, rng)
    return images


def _shifted(images: Array, rng: np.random.Generator) -> Array:
    n, _, height, width = images.shape
    reach = [round(SHIFT_FRAC * side) for side in (height, width)]
    padded = np.pad(images, [(0, 0), (0, 0), *((r, r) for r in reach)])
    down, right = (rng.integers(0, 2 * r + 1, n) for r in reach)
    rows = (down[:, None] + np.arange(height))[:, None, :, None]
    columns = (right[:, None] + np.arange(width))[:, None, None, :]
    channels = np.arange(images.shape[1])[None, :, None, None]
    return np.asarray(padded[np.arange(n)[:, None, None, None], channels, rows, columns])


def part(data: Dataset, which: Array) -> Dataset:
    """Return some of the images."""
    return Dataset(data.name, data.images[which], data.labels[which])


AUGMENTATIONS = ("flip", "shift")
