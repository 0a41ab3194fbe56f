"""Train basis and coefficients in turn, keep the best epoch by images of its own, resume where it was left.

Our design after what is known of BasisN's alternating training (arXiv 2407.03738, by digests only).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from imcsim.mapping.basis.fitted import FittedBasis, check_fits
from imcsim.training.basis.contest import Contest, choose_anew
from imcsim.training.basis.graph import DifferentiableNetwork, load_differentiable
from imcsim.training.basis.options import BasisTrainOptions
from imcsim.training.basis.parameters import TrainableBasis
from imcsim.training.basis.testing import check_images
from imcsim.training.checkpoints import load_checkpoint, save_checkpoint
from imcsim.training.images import epoch_batches, plain_batches, split
from imcsim.training.reproducible import reproducible
from imcsim.util import random_streams
from imcsim.util.config import canonical_hash
from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, silent
from imcsim.util.version import VERSION
from imcsim.workload.datasets import Dataset
from imcsim.workload.quantised import QuantisedNetwork, load_quantised

TURN = 10  # batches for the coefficients, then as many for the basis
WARM_FRAC = 0.05  # of all batches, in which the rate rises
COEFFICIENTS, BASIS = "coefficients", "basis"


@dataclass(frozen=True)
class BasisEpoch:
    """Describe one epoch; ``loss`` is its mean, without the contest term.

    ``accuracy_frac``: of the images that choose, with the noise of the training.
    """

    loss: float
    accuracy_frac: float


def train(
    model: str | Path,
    basis: FittedBasis,
    data: Dataset,
    options: BasisTrainOptions,
    unfinished: Path,
    progress: Progress = silent,
) -> FittedBasis:
    """Return the basis of the best epoch, with ``made_on['training']`` about it.

    ``unfinished``: a file that holds what was done so far; an interrupted training goes on there. It is left for the
    caller to remove. Raises ImcsimError where model, basis and images do not fit, or the loss is no number any more.
    """
    network = load_quantised(model)
    check_fits(basis, network.layers, len(basis.elements))
    check_images(network, data)
    if any(len(layer.residual) for layer in basis.layers.values()):
        problem = "has a residual, which corrects weights that a training gives up"
        raise ImcsimError("basis", problem, "fit it again without --residual")
    reproducible(options.threads)
    training = _Training(network, load_differentiable(model), basis, data, options)
    training.resume(unfinished, _identity(model, basis, data, options))
    while training.epoch < options.epochs:
        training.run_epoch(progress)
        training.save(unfinished)
    return training.result(Path(model).name)


def _identity(model: str | Path, basis: FittedBasis, data: Dataset, options: BasisTrainOptions) -> str:
    """Return a hash of all that decides the result."""
    content = hashlib.sha256(Path(model).read_bytes())
    for layer in basis.layers.values():
        content.update(layer.values.tobytes() + layer.scale.tobytes() + layer.bias.tobytes())
    for array in (basis.elements, data.images, data.labels):
        content.update(array.tobytes())
    return canonical_hash([content.hexdigest(), asdict(options), VERSION])


class _Training:
    def __init__(
        self,
        network: QuantisedNetwork,
        scores: DifferentiableNetwork,
        basis: FittedBasis,
        data: Dataset,
        options: BasisTrainOptions,
    ) -> None:
        self.scores, self.basis, self.options, self.name = scores, basis, options, data.name
        self.data, self.validation = split(data, options)
        self.trained = TrainableBasis(basis, {layer.name: layer for layer in network.layers}, options.noise_frac)
        vectors = basis.elements.shape[1]
        self.contest = Contest.of(options.contest, options.lines, basis.nonzeros, vectors)
        self.turns = {COEFFICIENTS: self._coefficient_optimiser(), BASIS: self._adam([[self.trained.elements]])}
        self.epoch, self.history = 0, list[BasisEpoch]()
        self.best, self.best_frac = self._state(), -1.0
        self.steps = -(-len(self.data.labels) // options.batch)

    def _coefficient_optimiser(self) -> torch.optim.Optimizer:
        layers = self.trained.layers
        groups = [[layer.coefficients] for layer in layers]
        return self._adam([*groups, [p for layer in layers for p in (layer.log_scale, layer.bias)]])

    def _adam(self, groups: list[list[torch.nn.Parameter]]) -> torch.optim.Optimizer:
        """Build an Adam with steps relative to what is trained; scales and biases are in units of their size."""
        sizes = [_size(group[0]) if group[0].ndim > 1 else 1.0 for group in groups]
        parts = [{"params": group, "size": size} for group, size in zip(groups, sizes, strict=True)]
        return torch.optim.Adam(parts, lr=self.options.rate)

    # -- one epoch -----------------------------------------------------------------------------------------------------

    def run_epoch(self, progress: Progress) -> None:
        if not self.epoch:
            self.best_frac = self.accuracy(self.validation)  # no epoch may be worse than none
        total, seen = 0.0, 0
        for number, (images, labels) in enumerate(epoch_batches(self.data, self.options, self.epoch)):
            step = self.epoch * self.steps + number
            progress(step, self.options.epochs * self.steps, self._said())
            total += self._step(step, images, labels) * len(labels)
            seen += len(labels)
            if not math.isfinite(total):
                problem = f"the loss is no number any more in epoch {self.epoch + 1}"
                raise ImcsimError("--rate", problem, "take a lower one")
        accuracy = self.accuracy(self.validation)
        if accuracy > self.best_frac:
            self.best, self.best_frac = self._state(), accuracy
        self.history.append(BasisEpoch(total / seen, accuracy))
        self.epoch += 1
        if self.epoch < self.options.epochs:
            self._choose_supports()

    def _said(self) -> str:
        last = f", {100 * self.history[-1].accuracy_frac:.1f} % of the validation images" if self.history else ""
        return f"epoch {self.epoch + 1} of {self.options.epochs}{last}"

    def _step(self, step: int, images: Tensor, labels: Tensor) -> float:
        turn = self.turns[(COEFFICIENTS, BASIS)[step // TURN % 2]]
        for group in turn.param_groups:
            group["lr"] = self.options.rate * self._share(step) * group["size"]
        self.trained.elements.requires_grad_(turn is self.turns[BASIS])
        weights = self.trained(self._noise(step))
        loss = total_loss = self._loss(self.scores(images, weights), images, labels)
        if self.contest.weight and turn is self.turns[COEFFICIENTS]:
            total_loss = loss + self.contest.term(self.trained.layers)
        self.trained.zero_grad()
        total_loss.backward()  # type: ignore[no-untyped-call]
        turn.step()
        self.trained.keep_in_range()
        return float(loss.detach())

    def _share(self, step: int) -> float:
        """Return the share of the full rate at a step: a short rise, then a cosine."""
        n_steps = self.options.epochs * self.steps
        return min(1.0, (step + 1) / (WARM_FRAC * n_steps)) * 0.5 * (1 + math.cos(math.pi * step / n_steps))

    def _noise(self, step: int | str) -> torch.Generator:
        seed = int(random_streams.rng(self.options.seed, "noise", step).integers(1 << 62))
        return torch.Generator().manual_seed(seed)

    def _loss(self, scores: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        share = self.options.distil
        loss = (1 - share) * functional.cross_entropy(scores, labels)
        if share:
            with torch.no_grad():
                wanted = self.scores(images, {}).softmax(dim=1)
            loss = loss + share * functional.cross_entropy(scores, wanted)
        return loss

    def _choose_supports(self) -> None:
        layers, optimiser = self.trained.layers, self.turns[COEFFICIENTS]
        for layer, pressure in zip(layers, self.contest.pressure(layers), strict=True):
            pull = optimiser.state[layer.coefficients]["exp_avg"]  # over the last ten batches or so
            choose_anew(layer, self.basis.nonzeros, pull, pressure)

    @torch.no_grad()
    def accuracy(self, data: Dataset) -> float:
        """Return the share of images that are classified correctly, with one draw of the noise."""
        weights = self.trained(self._noise("validation"))
        right = [(self.scores(x, weights).argmax(1) == labels).sum() for x, labels in plain_batches(data, self.options)]
        return float(torch.stack(right).sum()) / len(data.labels)

    # -- what is kept --------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.trained.state_dict().items()}

    def save(self, path: Path) -> None:
        content = {
            "epoch": self.epoch,
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best,
            "best_frac": self.best_frac,
            "own": self.trained.state_dict(),
            "turns": {name: turn.state_dict() for name, turn in self.turns.items()},
        }
        save_checkpoint(path, self.identity, content)

    def resume(self, path: Path, identity: str) -> None:
        """Go on where a training with the same identity was left."""
        self.identity = identity
        content = load_checkpoint(path, identity)
        if not content:
            return
        self.epoch, self.best, self.best_frac = content["epoch"], content["best"], content["best_frac"]
        self.history = [BasisEpoch(**epoch) for epoch in content["history"]]
        self.trained.load_state_dict(content["own"])
        for name, turn in self.turns.items():
            turn.load_state_dict(content["turns"][name])

    def result(self, model: str) -> FittedBasis:
        self.trained.load_state_dict(self.best)
        elements, layers = self.trained.as_integers()
        training = {
            "model": model,
            "data": self.name,
            "options": asdict(self.options),
            "epochs": [asdict(epoch) for epoch in self.history],
        }
        of_the_fit = {key: value for key, value in self.basis.made_on.items() if key not in ("errors", "layers")}
        made_on: Mapping[str, Any] = {**of_the_fit, "training": training}
        return replace(self.basis, elements=elements, layers=layers, made_on=made_on)


def _size(values: Tensor) -> float:
    """Return the root mean square of those that are not 0."""
    used = values.detach()[values.detach() != 0]
    return float(used.square().mean().sqrt()) if used.numel() else 1.0
