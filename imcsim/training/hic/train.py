"""Train batch by batch, forwards, backwards, update, carry, refresh, while the cells drift."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from imcsim.training.checkpoints import load_checkpoint, save_checkpoint
from imcsim.training.hic.layers import HybridLayer, convert, hybrid_layers
from imcsim.training.hic.options import TrainOptions
from imcsim.training.hic.weights import ARRAYS, Tally
from imcsim.training.images import epoch_batches, plain_batches, split
from imcsim.training.reproducible import reproducible
from imcsim.training.tasks import data_hash, network_hash
from imcsim.util import random_streams
from imcsim.util.compiling import limit_threads
from imcsim.util.config import canonical_hash
from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, silent
from imcsim.util.version import VERSION
from imcsim.workload.datasets import Dataset

FULL_FRAC = 0.99  # of where SET saturates, from which on a cell counts as full
MOST_SATURATED_FRAC = 0.5  # of the pairs of a layer, above which a training makes no sense
MOST_LOST_FRAC = 0.1  # of the carries, beyond the most pulses of an update
FEW_CARRIES = 0.01  # per weight and epoch, below which weights hardly move


class DivergedError(ImcsimError):
    """Report a training that came to nothing: another rate may do better."""


@dataclass(frozen=True)
class Epoch:
    """Describe one epoch.

    ``carries_per_weight``: of this epoch, mean over all weights. ``saturated_frac``: pairs with a full cell.
    """

    loss: float
    accuracy_frac: float  # of the validation images, with one read of all cells for each batch
    carries_per_weight: float
    saturated_frac: float


@dataclass
class Trained:
    """Hold a network after its training; ``now_s``: the simulated time at which that ended."""

    network: nn.Module
    options: TrainOptions
    history: list[Epoch]
    updates: int
    now_s: float

    @property
    def layers(self) -> list[HybridLayer]:
        """Return the layers on cells; a float network has none."""
        return hybrid_layers(self.network)


def train(
    network: nn.Module, data: Dataset, options: TrainOptions, unfinished: Path, progress: Progress = silent
) -> Trained:
    """Train a copy of a network on images.

    ``unfinished``: a file that holds what was done so far, epoch by epoch; an interrupted training goes on there. It is
    left for the caller to remove. Raises ImcsimError where network and images do not fit, the loss is no number any
    more, or most cells of a layer are full.
    """
    with limit_threads(options.threads):
        reproducible(options.threads)  # in here, for the first use of kernels sets PyTorch's threads too
        training = Training(network, data, options)
        training.resume(unfinished)
        while training.epoch < options.epochs:
            training.run_epoch(progress)
            training.save(unfinished)
        return training.result()


class Training:
    """Run one training, epoch by epoch."""

    def __init__(self, network: nn.Module, data: Dataset, options: TrainOptions) -> None:
        self.options = options
        self.identity = _identity(network, data, options)
        self.data, self.validation = split(data, options)
        hybrid = options.weights == "hybrid"
        self.network = convert(network, options.hybrid, options.seed) if hybrid else copy.deepcopy(network)
        self.layers = hybrid_layers(self.network)
        self.optimiser = self._optimiser()
        full_batches, left_over = divmod(len(self.data.labels), options.batch)
        self.steps = max(1, full_batches + (left_over > 1))  # one image alone has no statistics to be normalised by
        self.epoch, self.step, self.history = 0, 0, list[Epoch]()

    def _optimiser(self) -> torch.optim.Optimizer:
        """Build the optimiser of all that is kept in digital memory; ``full`` is the rate before any fall."""
        options, in_cells = self.options, {id(layer.weight) for layer in self.layers}
        digital = [p for p in self.network.parameters() if id(p) not in in_cells]
        full = options.digital_rate if self.layers else options.rate
        return torch.optim.SGD([{"params": digital, "full": full}], lr=full, momentum=options.momentum)

    @property
    def now_s(self) -> float:
        """Return the simulated time."""
        return self.step * self.options.step_s

    # -- one epoch -----------------------------------------------------------------------------------------------------

    def run_epoch(self, progress: Progress) -> None:
        """Pass over all images once and return what that came to."""
        carried = self._carries()
        self.network.train()
        with torch.random.fork_rng(devices=[]):  # of dropout, which takes its numbers from there
            torch.manual_seed(int(random_streams.rng(self.options.seed, "dropout", self.epoch).integers(1 << 62)))
            loss = self._pass(progress)
        per_weight = (self._carries() - carried) / max(1, sum(layer.cells.size for layer in self.layers))
        self.history.append(Epoch(loss, self.accuracy(self.validation), per_weight, self._saturated()))
        self.epoch += 1

    def _pass(self, progress: Progress) -> float:
        """Train on every image once and return the mean loss."""
        total, seen = 0.0, 0
        for images, labels in islice(epoch_batches(self.data, self.options, self.epoch), self.steps):
            progress(self.step, self.options.epochs * self.steps, self._said())
            total += self._step(images, labels) * len(labels)
            seen += len(labels)
            if not math.isfinite(total):
                problem = f"the loss is no number any more in epoch {self.epoch + 1}"
                raise DivergedError(self.options.said_rate, problem, "take a lower one")
        return total / seen

    def _said(self) -> str:
        text = f"epoch {self.epoch + 1} of {self.options.epochs}"
        if not self.history:
            return text
        last = self.history[-1]
        carries = f"{last.carries_per_weight:.2f} carries per weight, " if self.layers else ""
        return f"{carries}{text}, {100 * last.accuracy_frac:.1f} % of the validation images"

    def _step(self, images: Tensor, labels: Tensor) -> float:
        share = 0.5 * (1 + math.cos(math.pi * self.step / (self.options.epochs * self.steps)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * share
        self._set_time()
        self.network.zero_grad()
        loss = functional.cross_entropy(self._scores(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        for layer in self.layers:
            self._update(layer, self.options.rate * share)
        return float(loss.detach())

    def _scores(self, images: Tensor) -> Tensor:
        try:
            scores: Tensor = self.network(images)
        except ValueError as error:  # such as of a normalisation that sees one value alone
            raise ImcsimError("--network", f"does not take a batch of {len(images)} images ({error})") from None
        return scores

    def _set_time(self) -> None:
        for layer in self.layers:
            layer.set_time(self.now_s)

    def _update(self, layer: HybridLayer, rate: float) -> None:
        if layer.weight.grad is None:
            return  # a layer that the network does not use
        gradient = layer.weight.grad.numpy()
        if np.isfinite(gradient).all():  # else the loss will tell
            layer.cells.update(gradient, rate, self.now_s)
        if self.step % self.options.hybrid.refresh_every == 0:
            layer.cells.refresh(self.now_s)

    def _carries(self) -> int:
        return sum(layer.cells.tally.carries for layer in self.layers)

    def _saturated(self) -> float:
        """Return the share of pairs with a full cell; raises ImcsimError where a layer has little else."""
        if not self.layers:
            return 0.0
        full = FULL_FRAC * self.options.hybrid.physics.full_usiemens
        pairs = {layer.name: (layer.cells.g >= full).any(axis=0) for layer in self.layers}
        for name, some in pairs.items():
            if some.mean() > MOST_SATURATED_FRAC:
                problem = f"{100 * some.mean():.0f} % of its pairs are saturated after epoch {self.epoch + 1}"
                where = f"{self.options.said_rate}, layer '{name}'"
                raise DivergedError(where, problem, "lower it, or refresh more often")
        return float(np.concatenate(list(pairs.values())).mean())

    @torch.no_grad()
    def accuracy(self, data: Dataset) -> float:
        """Return the share of images that are classified correctly now."""
        self._set_time()
        self.network.eval()
        return accuracy(self.network, data, self.options)

    # -- what is kept --------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Keep what was done so far, whole or not at all."""
        cells = [{name: torch.from_numpy(getattr(layer.cells, name)) for name in ARRAYS} for layer in self.layers]
        content = {
            "epoch": self.epoch,
            "step": self.step,
            "history": [asdict(epoch) for epoch in self.history],
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "cells": cells,
            "tallies": [asdict(layer.cells.tally) for layer in self.layers],
            "reads": [la.reads for la in self.layers],
        }
        save_checkpoint(path, self.identity, content)

    def resume(self, path: Path) -> None:
        """Go on where the same training was left."""
        content = load_checkpoint(path, self.identity)
        if not content:
            return
        self.epoch, self.step = content["epoch"], content["step"]
        self.history = [Epoch(**epoch) for epoch in content["history"]]
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        kept = zip(self.layers, content["cells"], content["tallies"], content["reads"], strict=True)
        for layer, arrays, tally, reads in kept:
            for name in ARRAYS:
                getattr(layer.cells, name)[...] = arrays[name].numpy()
            layer.cells.tally, layer.reads = Tally(**tally), reads

    def result(self) -> Trained:
        """Return the network as it is now."""
        self._set_time()
        self.network.eval()
        return Trained(self.network, self.options, self.history, self.step, self.now_s)


def accuracy(network: nn.Module, data: Dataset, options: TrainOptions) -> float:
    """Return the share of images that a network, as it is, classifies correctly."""
    with torch.no_grad(), limit_threads(options.threads):
        right = [(network(images).argmax(1) == labels).sum() for images, labels in plain_batches(data, options)]
    return float(torch.stack(right).sum()) / len(data.labels)


def warnings(trained: Trained) -> list[str]:
    """Return what a user should know about a training that ran to its end."""
    if not trained.layers:
        return []
    said, rate = [], trained.options.said_rate
    first = trained.history[0].carries_per_weight
    if first < FEW_CARRIES:
        said.append(f"{rate} moves hardly any weight: {first:.4f} carries for each in the first epoch")
    carries, lost = (sum(getattr(layer.cells.tally, name) for layer in trained.layers) for name in ("carries", "lost"))
    if lost > MOST_LOST_FRAC * carries:
        said.append(f"{rate} is too much for the cells: {100 * lost / carries:.0f} % of all carries were cut off")
    return said


def _identity(network: nn.Module, data: Dataset, options: TrainOptions) -> str:
    """Return a hash of all that decides the result."""
    return canonical_hash([network_hash(network), data_hash(data), asdict(options), VERSION])
