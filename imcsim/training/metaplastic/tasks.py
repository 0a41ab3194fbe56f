"""Make tasks to be learnt one after another from labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Images:
    """Hold ``x``: (n, pixels) float32; ``labels``: (n,) int64 from 0 on."""

    x: NDArray[np.float32]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, data: Dataset) -> Images:
        """Take pixels from 0 to 1, flat."""
        return cls(data.scaled().reshape(len(data.labels), -1), data.labels)


@dataclass(frozen=True, eq=False)
class LearningTask:
    """Hold images to learn from and images to be judged by. Raises ImcsimError where they do not go together."""

    name: str
    train: Images
    test: Images

    def __post_init__(self) -> None:
        """Check that both go together."""
        for part in (self.train, self.test):
            if not len(part.labels) or part.x.shape != (len(part.labels), self.train.x.shape[1]):
                raise ImcsimError(f"task '{self.name}'", "images and labels do not fit", "give a label for each image")
            if not np.isfinite(part.x).all() or part.labels.min() < 0:
                raise ImcsimError(f"task '{self.name}'", "a pixel is no number, or a label is below 0")

    @property
    def n_classes(self) -> int:
        """Return one more than the largest label."""
        return int(max(self.train.labels.max(), self.test.labels.max())) + 1


def split(task: LearningTask, classes: int = 2) -> list[LearningTask]:
    """Make a task of every so many classes in turn, with labels from 0 on. Raises ImcsimError for a remainder."""
    if classes < 2 or task.n_classes % classes:
        problem = f"{task.n_classes} classes are no whole number of tasks of {classes}"
        raise ImcsimError(f"task '{task.name}'", problem, "give a divisor from 2 on")
    firsts = range(0, task.n_classes, classes)
    parts = (task.train, task.test)
    return [
        LearningTask(f"{task.name} {first}-{first + classes - 1}", *(_only(part, first, classes) for part in parts))
        for first in firsts
    ]


def _only(images: Images, first: int, classes: int) -> Images:
    in_task = (images.labels >= first) & (images.labels < first + classes)
    return Images(images.x[in_task], images.labels[in_task] - first)


def permuted(task: LearningTask, n: int, seed: int = 0) -> list[LearningTask]:
    """Return the task ``n`` times: as it is, then with pixels in other orders, the same for all images of a task."""
    orders: list[Sequence[int] | NDArray[np.int64]] = [range(task.train.x.shape[1])]
    orders += [random_streams.rng(seed, "permuted", i).permutation(task.train.x.shape[1]) for i in range(1, n)]
    return [
        LearningTask(
            f"{task.name} order {i}", *(Images(part.x[:, order], part.labels) for part in (task.train, task.test))
        )
        for i, order in enumerate(orders)
    ]
