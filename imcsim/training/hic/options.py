"""Describe what a user may choose about a hybrid of multi-level and binary cells, and about a training on it.

The defaults are our choices [assumed] where no source is named: of HIC's own values only the abstract is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imcsim.training.checks import check_ranges, check_word
from imcsim.training.hic.physics import LEVEL_USIEMENS, Physics
from imcsim.training.images import AUGMENTATIONS

CODES = ("twos_complement", "sign_magnitude", "gray")
ROUNDINGS = ("stochastic", "nearest")
OUTER = ("digital", "pulses")
RATE_FLAGS = {"hybrid": "--rate", "float": "--float-rate"}
KINDS = tuple(RATE_FLAGS)
HYBRID_RANGES = {  # least and most
    "bits": (2, 12), "most_pulses": (1, 100), "range_usiemens": (LEVEL_USIEMENS, 100.0), "range_sigmas": (0.1, 100.0),
    "refresh_every": (1, 1_000_000_000), "refresh_larger": (0.0, 100.0), "refresh_smaller": (0.0, 100.0),
    "rows": (1, 65_536), "columns": (1, 65_536), "converter_bits": (2, 16), "train_length": (1, 4096),
}  # fmt: skip
TRAIN_RANGES = {  # least and most
    "epochs": (1, 10_000),
    "batch": (1, 65_536),
    "rate": (1e-9, 1e6),
    "digital_rate": (0.0, 1e3),
    "momentum": (0.0, 0.999),
    "step_s": (0.0, 1e6),
    "validation": (1e-4, 0.5),
    "threads": (1, 1024),
    "seed": (0, 2**62),
}
SOURCES = {  # of every default; printed at the head of reports
    "nonlinear": "SET curve of Nandakumar et al., J. Appl. Phys. 124, 152135 (2018), constants of srnn-pcm",
    "write_noise": "same model",
    "read_noise": "same model; one draw for all reads of a batch: assumed",
    "drift": "same model: one exponent, 0.04; by_conductance: as in aihwkit 1.2.0 for programmed cells",
    "full_usiemens": "srnn-pcm, 12 uS (20 uS in one of its figures)",
    "bits": "recalled of HIC, not verified",
    "code": "assumed",
    "rounding": "assumed",
    "most_pulses": "assumed",
    "range_usiemens": "assumed: about 9 levels in either direction",
    "range_sigmas": "assumed",
    "refresh_every": "recalled of HIC, not verified",
    "refresh_larger": "assumed",
    "refresh_smaller": "assumed",
    "rows": "as a HERMES core",
    "columns": "as a HERMES core",
    "converter_bits": "recalled of HIC, not verified; ranges follow the largest value seen: assumed",
    "outer": "digital; pulses: after ESSOP, arXiv 2003.11256",
    "train_length": "assumed",
}


@dataclass(frozen=True)
class HybridOptions:
    """Hold how weights are kept, conductances in uS. Values are assumed unless a source is named.

    ``range_usiemens``: the difference of a pair that stands for the largest weight, ``range_sigmas`` standard
    deviations of the initial weights. ``bits`` of the accumulator, one binary cell each, in a ``code``. One carry is
    ``LEVEL_USIEMENS``; one update passes on at most ``most_pulses``. Every ``refresh_every`` updates, pairs are
    rewritten of which one cell is read above ``refresh_larger``, the other above ``refresh_smaller``. ``rows``,
    ``columns``: of a crossbar, after which sums are converted. ``converter_bits``: of all DACs and ADCs, sign included.
    ``outer``: the product of inputs and errors is 'digital', or from 'pulses', trains of ``train_length`` slots.
    Raises ImcsimError for what cannot be.
    """

    physics: Physics = field(default_factory=Physics)
    bits: int = 7
    code: str = "twos_complement"
    rounding: str = "stochastic"
    most_pulses: int = 8
    range_usiemens: float = 8.0
    range_sigmas: float = 8.0
    refresh_every: int = 10
    refresh_larger: float = 6.5
    refresh_smaller: float = 1.5
    rows: int = 256
    columns: int = 256
    converter_bits: int = 8
    outer: str = "digital"
    train_length: int = 16

    def __post_init__(self) -> None:
        check_ranges(self, HYBRID_RANGES, {name: f"--option {name}" for name in HYBRID_RANGES})
        check_word("--option code", self.code, CODES)
        check_word("--option rounding", self.rounding, ROUNDINGS)
        check_word("--option outer", self.outer, OUTER)

    @property
    def half(self) -> int:
        """Return the units of the accumulator that make one carry."""
        return 1 << (self.bits - 1)

    @property
    def most_writes(self) -> int:
        """Return the most SET pulses of one write: twice the levels of the range."""
        return 2 * round(self.range_usiemens / LEVEL_USIEMENS)


@dataclass(frozen=True)
class TrainOptions:
    """Hold what a user may choose about a training. ``weights``: 'hybrid', or 'float' for the same network in 32 bits.

    ``rate``: of plain gradient descent on hybrid weights, whose normalisations and biases descend at ``digital_rate``
    with ``momentum``; or of all of a float network, with momentum. Rates fall to 0 along a cosine. ``step_s``:
    simulated seconds of a step, in which cells drift. ``validation``: share of the images kept apart, by which an
    accuracy is shown after each epoch. Same seed and ``threads``, same result.
    Raises ImcsimError for what cannot be.
    """

    weights: Literal["hybrid", "float"] = "hybrid"
    hybrid: HybridOptions = field(default_factory=HybridOptions)
    epochs: int = 10
    batch: int = 100
    rate: float = 1.0
    digital_rate: float = 0.05
    momentum: float = 0.9
    step_s: float = 1e-3
    validation: float = 0.05
    augment: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_word("--weights", self.weights, KINDS)
        check_ranges(self, TRAIN_RANGES, {"rate": RATE_FLAGS[self.weights], "step_s": "--batch-s"})
        for word in self.augment:
            check_word("--augment", word, AUGMENTATIONS)

    @property
    def said_rate(self) -> str:
        """Return the rate as a user gives it."""
        return f"{RATE_FLAGS[self.weights]} {self.rate:g}"
