"""Describe what a user may choose about a training of a basis."""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.training.checks import check_ranges, check_word
from imcsim.training.images import AUGMENTATIONS
from imcsim.util.errors import ImcsimError

RANGES = {  # least and most
    "epochs": (1, 10_000), "batch": (1, 1 << 16), "rate": (1e-9, 1.0), "noise_frac": (0.0, 1.0),
    "contest": (0.0, 1e6), "lines": (1, 1 << 14), "distil": (0.0, 1.0),
    "validation": (0.0, 0.5), "threads": (1, 1024), "seed": (0, 1 << 63),
}  # fmt: skip
FLAGS = {"noise_frac": "--noise"}


@dataclass(frozen=True)
class BasisTrainOptions:
    """Hold what a user may choose about a training of a basis.

    ``rate``: of Adam, relative to the size of what is trained; it falls to 0 along a cosine. ``noise_frac``: standard
    deviation of a basis element, as a fraction of the largest. ``contest``: weight of the contest term, for ``lines``
    output lines. ``distil``: how much the scores of the 8-bit network count against the labels. ``validation``: share
    of the images that choose the best epoch. ``augment``: 'flip' (left and right), 'shift' (up to an eighth of the
    side). ``mean``, ``std``: as of ``Dataset.scaled``. The same seed and ``threads`` give the same result. Raises
    ImcsimError for what cannot be.
    """

    epochs: int = 8
    batch: int = 128
    rate: float = 3e-3
    noise_frac: float = 0.0
    contest: float = 0.0
    lines: int = 16
    distil: float = 0.5
    validation: float = 0.1
    augment: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, RANGES, FLAGS)
        if not self.validation:
            raise ImcsimError("--validation", "no image is left to choose the best epoch by", "leave it out for 0.1")
        for word in self.augment:
            check_word("--augment", word, AUGMENTATIONS)
