"""A trained network over time: how much its cells forget, under which model of drift, and what repairs it.

The models are devices: 'pcm_accumulative' lets all cells drift alike, 'pcm_iterative' gives each an exponent by its
conductance and 1/f noise that grows. Which one is right for cells that were trained is not known, so both are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from imcsim import streams
from imcsim.datasets import Dataset
from imcsim.devices import DeviceSpec, column_factors, global_factor, load_device
from imcsim.progress import Progress, silent
from imcsim.training.checks import check_ranges, check_word
from imcsim.training.images import plain_batches
from imcsim.training.layers import HybridLayer
from imcsim.training.train import Trained, accuracy

FIXES = ("none", "global", "column", "normalisation")
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
AGES_S = (1.0, MINUTE_S, HOUR_S, DAY_S, 30 * DAY_S, 365 * DAY_S)


@dataclass(frozen=True)
class AgeingOptions:
    """``ages_s``: after the end of the training. ``models``: kinds of devices. ``draws`` of what each cell keeps.
    ``images``: of the test, the first ones, for each accuracy.

    ``fixes``: 'none'; 'global' and 'column', one digital factor for each layer or column from a read of all cells;
    'normalisation', new statistics of all batch normalisations from ``calibration`` training images (AdaBS of Joshi et
    al., Nat. Commun. 2020; 1,300 images recalled from there, not verified).
    """

    ages_s: tuple[float, ...] = AGES_S
    models: tuple[str, ...] = ("pcm_accumulative", "pcm_iterative")
    fixes: tuple[str, ...] = FIXES
    draws: int = 1
    calibration: int = 1300
    images: int = 2000

    def __post_init__(self) -> None:
        check_ranges(self, {"draws": (1, 1000), "calibration": (2, 10**9), "images": (1, 10**9)}, {})
        for word in self.fixes:
            check_word("--fixes", word, FIXES)
        for model in self.models:
            load_device(model)


@dataclass(frozen=True)
class Aged:
    """One accuracy: of a draw, at an age."""

    model: str
    fix: str
    draw: int
    age_s: float
    accuracy_frac: float


def ageing(
    trained: Trained, calibration: Dataset, test: Dataset, options: AgeingOptions, progress: Progress = silent
) -> list[Aged]:
    """Accuracies on ``test`` for every model, draw, age and fix; the network is left as it was.

    ``calibration``: images of the training, of which the first ``options.calibration`` are used.
    """
    images = calibration.first(min(options.calibration, len(calibration.labels)))
    found: list[Aged] = []
    total = len(options.models) * options.draws * len(options.ages_s) * len(options.fixes)
    for model in options.models:
        for draw in range(options.draws):
            chip = _AgeingChip(trained, load_device(model), draw)
            for age_s in options.ages_s:
                chip.set_age(age_s)
                for fix in options.fixes:
                    progress(len(found), total, f"{model}, chip {draw + 1}, {age_s:g} s, {fix}")
                    with chip.fixed(fix, images):
                        frac = accuracy(trained.network, test, trained.options)
                    found.append(Aged(model, fix, draw, age_s, frac))
            chip.restore()
    return found


class _AgeingChip:
    """The cells of a trained network on one draw of their traits."""

    def __init__(self, trained: Trained, device: DeviceSpec, draw: int) -> None:
        self.trained, seed = trained, trained.options.seed
        self.layers = [
            _AgeingLayer(layer, device, trained.now_s, streams.rng(seed, "ageing", device.kind, draw, layer.name))
            for layer in trained.layers
        ]
        self.set_age(device.earliest_s)
        self.first = [layer.as_matrix() for layer in self.layers]

    def set_age(self, age_s: float) -> None:
        """Let all cells grow to an age after the training."""
        for layer in self.layers:
            layer.set_age(age_s)

    def restore(self) -> None:
        """Give the layers their own cells back."""
        for layer in self.trained.layers:
            layer.set_time(self.trained.now_s)

    @contextmanager
    def fixed(self, fix: str, images: Dataset) -> Iterator[None]:
        """The network with a repair, which is taken back at the end."""
        normalisations = [module for module in self.trained.network.modules() if isinstance(module, _BatchNorm)]
        kept = [{name: value.clone() for name, value in module.state_dict().items()} for module in normalisations]
        if fix == "normalisation":
            self._normalise(normalisations, images)
        elif fix != "none":
            factors: Callable[[Any, Any], Any] = global_factor if fix == "global" else column_factors
            for layer, first in zip(self.layers, self.first, strict=True):
                factor = torch.from_numpy(np.atleast_1d(np.float32(factors(first, layer.as_matrix()))))
                layer.own.correction = factor
        try:
            yield
        finally:
            for module, state in zip(normalisations, kept, strict=True):
                module.load_state_dict(state)
            for layer in self.layers:
                layer.own.correction = "none"

    @torch.no_grad()
    def _normalise(self, normalisations: Sequence[nn.Module], images: Dataset) -> None:
        """Statistics over all images, as if they were one batch; the rest of the network stays as it is."""
        momenta = [module.momentum for module in normalisations]
        for module in normalisations:
            module.reset_running_stats()  # type: ignore[operator]
            module.momentum = None  # type: ignore[assignment]
            module.train()
        for batch, _ in plain_batches(images, self.trained.options, self.trained.options.batch):
            self.trained.network(batch)
        for module, momentum in zip(normalisations, momenta, strict=True):
            module.momentum = momentum
            module.eval()


class _AgeingLayer:
    """The cells of one layer as a device model sees them: programmed when their last pulse came."""

    def __init__(self, own: HybridLayer, device: DeviceSpec, now_s: float, rng: np.random.Generator) -> None:
        self.own, self.device, self.rng = own, device, rng
        self.since_s = now_s - own.cells.since_s
        g = own.cells.g
        target = np.clip(g, device.g_min_usiemens, device.g_max_usiemens)
        self.cells = device.leave(target, g, rng, np.full(g.shape, np.nan))

    def set_age(self, age_s: float) -> None:
        age = self.since_s + age_s
        self.g = self.device.conductance_usiemens(self.cells, age)
        self.sigma = self.device.read_sigma_usiemens(self.cells, age)
        self.own.reader = self.read

    def read(self, number: int) -> np.ndarray[Any, Any]:
        """Weights as one read shows them."""
        noise = self.rng.standard_normal(self.g.shape, np.float32)
        plus, minus = np.maximum(self.g + self.sigma * noise, 0)
        weights = np.float32(self.own.cells.scale) * (plus - minus)
        return np.asarray(weights.astype(np.float32).reshape(self.own.cells.shape))

    def as_matrix(self) -> np.ndarray[Any, Any]:
        """(rows, outputs): what reads of one row after another show."""
        return self.read(0).reshape(self.own.cells.shape[0], -1).T
