"""The points of the study: which bases are fitted, which of them are trained, and how.

`python benchmarks/basis_study/study.py fit train --work FOLDER ...` makes their files; a point that has its file is not
made again, and an interrupted training goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from networks import Network

from imcsim.mapping.basis.fit import FitOptions, fit_basis
from imcsim.mapping.basis.fitted import FittedBasis, load_fitted
from imcsim.training.basis.options import BasisTrainOptions
from imcsim.util.progress import Progress

FITTED = {"resnet8": (4, 8, 16, 32, 64), "resnet20": (8, 16, 32, 64)}  # nonzeros of each segment and kernel
TRAINED = {  # nonzeros and seeds, in the order in which they are trained
    "resnet8": ((16, 0), (8, 0), (4, 0), (16, 1), (16, 2)),
    "resnet20": ((16, 0), (32, 0), (8, 0), (64, 0)),
}
COEFF_BITS = 4
RESIDENT = ("first", "last")  # layers that keep weights of their own, as is usual for quantised networks
TRAINING = {
    "resnet8": BasisTrainOptions(epochs=4, noise_frac=0.005),
    "resnet20": BasisTrainOptions(epochs=3, noise_frac=0.005, augment=("flip",)),
}


@dataclass(frozen=True)
class Point:
    """``trained``: the seed of the training, or 'no'."""

    network: str
    nonzeros: int
    trained: int | str = "no"

    @property
    def name(self) -> str:
        ending = "" if self.trained == "no" else f"_trained{self.trained}"
        return f"{self.network}_q{self.nonzeros}{ending}"

    def file(self, work: Path) -> Path:
        return work / f"{self.name}.safetensors"

    def basis(self, work: Path) -> FittedBasis:
        return load_fitted(self.file(work))


def fitted(network: str) -> Iterator[Point]:
    return (Point(network, nonzeros) for nonzeros in FITTED[network])


def trained(network: str) -> Iterator[Point]:
    return (Point(network, nonzeros, seed) for nonzeros, seed in TRAINED[network])


def fit(network: Network, work: Path, progress: Progress) -> None:
    """Fit what is not there yet."""
    for point in fitted(network.name):
        if not point.file(work).exists():
            options = FitOptions(nonzeros=point.nonzeros, coeff_bits=COEFF_BITS, resident=RESIDENT)
            fit_basis(network.model, options, progress).write(point.file(work))


def train(network: Network, work: Path, progress: Progress) -> None:
    """Train what is not there yet."""
    from imcsim.training.basis.train import train as training

    for point in trained(network.name):
        if point.file(work).exists():
            continue
        start = Point(network.name, point.nonzeros).basis(work)
        options = replace(TRAINING[network.name], mean=network.mean, std=network.std, seed=int(point.trained))
        unfinished = point.file(work).with_suffix(".unfinished")
        found = training(network.model, start, network.images("train"), options, unfinished, progress)
        found.write(point.file(work))
        unfinished.unlink(missing_ok=True)
