"""Age a trained network: how much its cells forget, under which model of drift, and what repairs it.

The models are devices: 'pcm_accumulative' lets all cells drift alike, 'pcm_iterative' gives each an exponent by its
conductance and 1/f noise that grows. Which one is right for cells that were trained is not known, so both are shown.
They hold as they are, whatever effects the training had; what they draw for a cell is drawn anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from imcsim.hardware.devices import DeviceSpec, column_factors, global_factor, load_device
from imcsim.training.checks import check_ranges, check_word
from imcsim.training.hic.layers import HybridLayer
from imcsim.training.hic.train import Trained, accuracy
from imcsim.training.images import changed, part, plain_batches
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, silent
from imcsim.workload.datasets import Dataset

Array = np.ndarray[Any, Any]

FIXES = ("none", "global", "column", "normalisation")
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
AGES_S = (1.0, MINUTE_S, HOUR_S, DAY_S, 30 * DAY_S, 365 * DAY_S)


@dataclass(frozen=True)
class AgeingOptions:
    """Hold what a user may choose about the ageing of a trained network.

    ``ages_s``: after the end of the training. ``models``: kinds of devices. ``draws`` of what each cell keeps.
    ``images``: of the test, drawn once, for each accuracy.

    ``fixes``: 'none'; 'global' and 'column', one digital factor for each layer or column from a read of all cells;
    'normalisation', new statistics of all batch normalisations from ``calibration`` training images, flipped and
    shifted as in the training (AdaBS of Joshi et al., Nat. Commun. 2020; 1,300 images recalled from there, not
    verified). Raises ImcsimError for what cannot be.
    """

    ages_s: tuple[float, ...] = AGES_S
    models: tuple[str, ...] = ("pcm_accumulative", "pcm_iterative")
    fixes: tuple[str, ...] = FIXES
    draws: int = 1
    calibration: int = 1300
    images: int = 2000

    def __post_init__(self) -> None:
        for age_s in self.ages_s:
            if not 0 <= age_s < math.inf:
                raise ImcsimError("--age", f"{age_s} s is no age", "give 0 or more, such as 1s,1d,1y")
        check_ranges(self, {"draws": (1, 1000), "calibration": (2, 10**9), "images": (1, 10**9)}, {})
        for word in self.fixes:
            check_word("--fixes", word, FIXES)
        for model in self.models:
            load_device(model)


@dataclass(frozen=True)
class Aged:
    """Hold one accuracy: that of one draw at one age."""

    model: str
    fix: str
    draw: int
    age_s: float
    accuracy_frac: float


def ageing(
    trained: Trained, calibration: Dataset, test: Dataset, options: AgeingOptions, progress: Progress = silent
) -> list[Aged]:
    """Return accuracies on ``test`` for every model, draw, age and fix; the network is left as it was.

    Of ``calibration``, images of the training, and of ``test`` as many as the options say are drawn from the seed.
    """
    seed, reads = trained.options.seed, [layer.reads for layer in trained.layers]
    rng = random_streams.rng(seed, "calibration images")
    images = changed(some(calibration, options.calibration, rng), trained.options, rng)  # or statistics would not fit
    unseen = some(test, options.images, random_streams.rng(seed, "aged test images"))
    accuracies: list[Aged] = []
    total = len(options.models) * options.draws * len(options.ages_s) * len(options.fixes)
    for model in options.models:
        for draw in range(options.draws):
            chip = _AgeingChip(trained, load_device(model), draw)
            for age_s in options.ages_s:
                chip.set_age(age_s)
                for fix in options.fixes:
                    progress(len(accuracies), total, f"{model}, chip {draw + 1}, {age_s:g} s, {fix}")
                    with chip.repaired(fix, images):
                        frac = accuracy(trained.network, unseen, trained.options)
                    accuracies.append(Aged(model, fix, draw, age_s, frac))
    for layer, number in zip(trained.layers, reads, strict=True):
        layer.set_time(trained.now_s)
        layer.reads = number
    return accuracies


def some(data: Dataset, n: int, rng: np.random.Generator) -> Dataset:
    """Return ``n`` of the images, or all there are, in an order by chance: files are often sorted by class."""
    return part(data, rng.permutation(len(data.labels))[:n])


class _AgeingChip:
    """Hold the cells of a trained network on one draw of their traits."""

    def __init__(self, trained: Trained, device: DeviceSpec, draw: int) -> None:
        self.trained = trained
        self.layers = [_AgeingLayer(layer, device, trained, draw) for layer in trained.layers]
        self.set_age(device.earliest_s)
        self.first = [layer.as_matrix("first") for layer in self.layers]

    def set_age(self, age_s: float) -> None:
        """Let all cells grow to an age after the training."""
        for layer in self.layers:
            layer.set_age(age_s)

    @contextmanager
    def repaired(self, fix: str, images: Dataset) -> Iterator[None]:
        """Repair the network for as long as the block runs; the repair is taken back at the end."""
        normalisations = [module for module in self.trained.network.modules() if isinstance(module, _BatchNorm)]
        kept = [{name: value.clone() for name, value in module.state_dict().items()} for module in normalisations]
        for layer in self.layers:
            layer.read_for(fix)
        if fix == "normalisation":
            self._normalise(normalisations, images)
        elif fix != "none":
            factors: Callable[[Any, Any], Any] = global_factor if fix == "global" else column_factors
            for layer, first in zip(self.layers, self.first, strict=True):
                factor = torch.from_numpy(np.atleast_1d(np.float32(factors(first, layer.as_matrix(fix)))))
                layer.hybrid.correction = factor
        try:
            yield
        finally:
            for module, state in zip(normalisations, kept, strict=True):
                module.load_state_dict(state)
            for layer in self.layers:
                layer.hybrid.correction = "none"

    @torch.no_grad()
    def _normalise(self, normalisations: Sequence[nn.Module], images: Dataset) -> None:
        """Take the mean of the statistics of whole batches; the rest of the network stays as it is."""
        size = min(self.trained.options.batch, len(images.labels))
        batches = islice(plain_batches(images, self.trained.options, size), len(images.labels) // size)
        momenta = [module.momentum for module in normalisations]
        for module in normalisations:
            module.reset_running_stats()  # type: ignore[operator]
            module.momentum = None  # type: ignore[assignment]
            module.train()
        for batch, _ in batches:
            self.trained.network(batch)
        for module, momentum in zip(normalisations, momenta, strict=True):
            module.momentum = momentum
            module.eval()


class _AgeingLayer:
    """Hold the cells of one layer as a device model sees them: programmed when their last pulse came."""

    def __init__(self, layer: HybridLayer, device: DeviceSpec, trained: Trained, draw: int) -> None:
        self.hybrid, self.device = layer, device
        self.stream = (trained.options.seed, "ageing", device.kind, draw, layer.name)
        self.since_s = trained.now_s - layer.cells.since_s
        g = layer.cells.g
        target = np.clip(g, device.g_min_usiemens, device.g_max_usiemens)
        self.cells = device.leave(target, g, random_streams.rng(*self.stream), np.full(g.shape, np.nan))

    def set_age(self, age_s: float) -> None:
        """Set conductances and noise to an age after the training."""
        age = self.since_s + age_s
        self.age_s, self.g = age_s, self.device.conductance_usiemens(self.cells, age)
        self.sigma = self.device.read_sigma_usiemens(self.cells, age)

    def read_for(self, fix: str) -> None:
        """Let the layer read these cells, with noise that depends on the age, the fix and the number of the read."""
        self.hybrid.reads, self.hybrid.reader = 0, lambda number: self._read(fix, number)

    def as_matrix(self, purpose: str) -> Array:
        """Return (rows, outputs): what reads of one row after another show."""
        return self._read(purpose, 0).reshape(self.hybrid.cells.shape[0], -1).T

    def _read(self, purpose: str, number: int) -> Array:
        rng = random_streams.rng(*self.stream, f"{self.age_s!r} s", purpose, number)
        plus, minus = np.maximum(self.g + self.sigma * rng.standard_normal(self.g.shape, np.float32), 0)
        weights = np.float32(self.hybrid.cells.scale) * (plus - minus)
        return np.asarray(weights.astype(np.float32).reshape(self.hybrid.cells.shape))
