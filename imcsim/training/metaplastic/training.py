"""Train on tasks in turn: Adam moves hidden weights by the factor of a rule, and cells follow their levels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.devices import DeviceSpec
from imcsim.training.metaplastic.adam import Adam
from imcsim.training.metaplastic.cells import LevelCells
from imcsim.training.metaplastic.network import Array, Norm, gradients, scores
from imcsim.training.metaplastic.rules import RuleSpec
from imcsim.training.metaplastic.tasks import Images, LearningTask
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, silent

RANGES = {  # least and most
    "epochs": (1, 10_000),
    "batch": (2, 1 << 16),
    "rate": (1e-9, 1.0),
    "decay": (0.0, 1.0),
    "init_width": (1e-6, 4.0),
    "test_batch": (2, 1 << 20),
    "seed": (0, 1 << 63),
}


@dataclass(frozen=True)
class Options:
    """Hold units of each hidden layer, epochs per task, Adam's rate and weight decay, the width of the initial weights.

    Where nothing is said the number is that of the public code of the binarised rule. Raises ImcsimError.
    """

    hidden: tuple[int, ...] = (512,)  # assumed; published are two layers of 4,096 (binarised), unknown (multi-level)
    epochs: int = 5  # assumed; published are 40 to 50
    batch: int = 100
    rate: float = 0.005
    decay: float = 1e-7
    init_width: float = 0.1  # hidden weights begin uniform from minus to plus half of it
    test_batch: int = 1000  # images that are normalised together in a test; published are 100 and 1,000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every number."""
        for key, (least, most) in RANGES.items():
            if not least <= getattr(self, key) <= most:
                raise ImcsimError(f"metaplastic: {key}", f"{getattr(self, key)} is not from {least:,} to {most:,}")
        if not self.hidden or min(self.hidden) < 1:
            raise ImcsimError("metaplastic: hidden", f"{self.hidden} are no layers", "give the units of each layer")


@dataclass(frozen=True, eq=False)
class Learned:
    """Hold ``accuracy_frac[i, j]``: of task j after task i was learnt; not a number before j was.

    ``writes``: of each cell, layer by layer, after its first one; ``updates``: steps of all tasks, which no cell's
    writes exceed.
    """

    accuracy_frac: NDArray[np.float64]
    writes: list[NDArray[np.int32]]
    updates: int

    @property
    def writes_per_cell(self) -> dict[str, float]:
        """Return mean, 99.9th percentile and most of all layers' cells."""
        writes = np.concatenate([layer.ravel() for layer in self.writes])
        return {"mean": float(writes.mean()), "p99_9": float(np.percentile(writes, 99.9)), "max": float(writes.max())}


def learn(
    tasks: Sequence[LearningTask],
    rule: RuleSpec,
    options: Options = Options(),
    device: DeviceSpec | None = None,
    progress: Progress = silent,
) -> Learned:
    """Learn the tasks one after another and test on all that were learnt after each; same seed, same result.

    Forward and backward pass use what the cells hold: exact levels without a ``device``, else what it makes of them.
    Gain and offset of the normalisation go on from task to task, and each task is tested with its own; it has to be
    known which task an image belongs to. Raises ImcsimError for no tasks, and for tasks of different shapes.
    """
    _check(tasks)
    learner = _Learner(tasks, rule, options, device)
    accuracy = np.full((len(tasks), len(tasks)), np.nan)
    norms: list[list[Norm]] = []
    for i, task in enumerate(tasks):
        learner.learn(task.train, i)
        norms.append([norm.copy() for norm in learner.norms])
        accuracy[i, : i + 1] = [learner.accuracy(known.test, norms[j]) for j, known in enumerate(tasks[: i + 1])]
        progress(i + 1, len(tasks), task.name)
    return Learned(accuracy, [cells.writes for cells in learner.cells], learner.updates)


def _check(tasks: Sequence[LearningTask]) -> None:
    shapes = {(task.train.x.shape[1], task.n_classes) for task in tasks}
    if len(shapes) != 1:
        problem = f"{len(tasks)} tasks of the (pixels, classes) {sorted(shapes)}"
        raise ImcsimError("metaplastic", problem, "give one or more, all alike")


class _Learner:
    """Hold hidden weights, normalisation and cells, from task to task."""

    def __init__(
        self, tasks: Sequence[LearningTask], rule: RuleSpec, options: Options, device: DeviceSpec | None
    ) -> None:
        sizes = [tasks[0].train.x.shape[1], *options.hidden, tasks[0].n_classes]
        shapes = list(pairwise(sizes))
        half, seed = options.init_width / 2, options.seed
        self.rule, self.options, self.updates = rule, options, 0
        draws = [random_streams.rng(seed, "metaplastic", "weights", i) for i in range(len(shapes))]
        drawn = list(zip(draws, shapes, strict=True))
        self.hidden = [draw.uniform(-half, half, shape).astype(np.float32) for draw, shape in drawn]
        self.norms = [  # gains begin uniform from 0 to 1, as in the PyTorch 1.1 of the public code
            Norm(draw.random(shape[1], np.float32), np.zeros(shape[1], np.float32)) for draw, shape in drawn
        ]
        self.cells = [
            LevelCells(hidden, rule, device, random_streams.rng(seed, "metaplastic", "program", i))
            for i, hidden in enumerate(self.hidden)
        ]

    def learn(self, images: Images, which: int) -> None:
        """Learn one task, with moments of its own."""
        weights = [Adam.of(hidden) for hidden in self.hidden]
        norms = [(Adam.of(norm.gain), Adam.of(norm.offset)) for norm in self.norms]
        for epoch in range(self.options.epochs):
            for x, labels in self._batches(images, which, epoch):
                self._update(x, labels, weights, norms)

    def _batches(self, images: Images, which: int, epoch: int) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """Yield batches in an order of each epoch's own; what is left over of a batch waits for the next epoch."""
        order = random_streams.rng(self.options.seed, "metaplastic", "order", which, epoch).permutation(
            len(images.labels)
        )
        size = min(self.options.batch, len(order))
        for part in order[: len(order) // size * size].reshape(-1, size):
            yield images.x[part], images.labels[part]

    def _update(self, x: Array, labels: NDArray[np.int64], weights: list[Adam], norms: list[tuple[Adam, Adam]]) -> None:
        held = [cells.weights for cells in self.cells]
        _, of_weights, of_norms = gradients(x, labels, held, self.norms)
        rate, decay = self.options.rate, np.float32(self.options.decay)
        self.updates += 1
        for i, hidden in enumerate(self.hidden):
            step = weights[i].step(of_weights[i] + decay * hidden, rate)
            hidden += step * self.rule.factor(hidden, step)
            self.cells[i].follow(hidden)
            norm, moments = self.norms[i], norms[i]
            norm.gain[:] += moments[0].step(of_norms[i].gain + decay * norm.gain, rate)
            norm.offset[:] += moments[1].step(of_norms[i].offset + decay * norm.offset, rate)

    def accuracy(self, images: Images, norms: Sequence[Norm]) -> float:
        """Return the share of images that are classified correctly with the normalisation of their task."""
        held = [cells.weights for cells in self.cells]
        parts = np.array_split(np.arange(len(images.labels)), math.ceil(len(images.labels) / self.options.test_batch))
        right = [(scores(images.x[p], held, norms).argmax(1) == images.labels[p]).sum() for p in parts]
        return float(np.sum(right) / len(images.labels))
