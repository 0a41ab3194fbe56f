"""Say how many pulses a cell takes: a distribution as declared, and what a cap and retries make of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from imcsim.hardware.pulsed_cell import PulsedCell
from imcsim.util import random_streams
from imcsim.util.config import Spec

Frac = Annotated[float, Field(ge=0, le=1)]
Floats = NDArray[np.float64]
_REST = 1e-12  # probability of further attempts that is not followed any more


class Fixed(Spec):
    """Give every cell the same number of pulses."""

    kind: Literal["fixed"]
    n: PositiveInt

    def cdf(self, n_pulses: Floats) -> Floats:
        """Return the probability that a cell needs at most n pulses."""
        return np.where(n_pulses >= self.n, 1.0, 0.0)


class Geometric(Spec):
    """Let each pulse succeed with the same probability, 1 / mean."""

    kind: Literal["geometric"]
    mean: Annotated[float, Field(ge=1)]

    def cdf(self, n_pulses: Floats) -> Floats:
        """Return the probability that a cell needs at most n pulses: 1 - (1 - 1/mean)^n."""
        return 1 - (1 - 1 / self.mean) ** np.maximum(n_pulses, 0)


class Quantiles(Spec):
    """Hold measured quantiles, (probability, pulses) from probability 0 to 1; straight lines between, rounded up."""

    kind: Literal["quantiles"]
    points: tuple[tuple[Frac, NonNegativeFloat], ...]

    @model_validator(mode="after")
    def _ascending(self) -> Quantiles:
        prob, pulses = zip(*self.points, strict=True) if self.points else ((), ())
        if len(prob) < 2 or prob[0] != 0 or prob[-1] != 1:
            raise ValueError("quantiles must begin with probability 0 and end with probability 1")
        if any(np.diff(prob) <= 0) or any(np.diff(pulses) <= 0):
            raise ValueError("quantiles must ascend in probability and in pulses")
        return self

    def cdf(self, n_pulses: Floats) -> Floats:
        """Return the probability that a cell needs at most n pulses."""
        prob, pulses = zip(*self.points, strict=True)
        return np.asarray(np.interp(n_pulses, pulses, prob, left=0.0))


class Stepped(Spec):
    """Move the cell by every pulse, compare at every read: pulse counts follow from where a cell is and shall go.

    Fractions are of the range of the device, g_max - g_min (``PulsedCell`` says what each one does). Where nothing else
    is known, old and new conductances are independent and uniform over the range.
    """

    kind: Literal["stepped"]
    set_step_frac: PositiveFloat
    reset_step_frac: PositiveFloat
    growth_frac: NonNegativeFloat
    step_sigma_frac: NonNegativeFloat
    read_sigma_frac: NonNegativeFloat
    band_frac: PositiveFloat

    def cell(self, g_min_usiemens: float, g_max_usiemens: float) -> PulsedCell:
        """Return a cell that moves so between two conductances, in uS."""
        span = g_max_usiemens - g_min_usiemens
        steps = (self.set_step_frac * span, self.reset_step_frac * span, self.growth_frac, self.step_sigma_frac)
        return PulsedCell(*steps, self.read_sigma_frac * span, self.band_frac * span, g_min_usiemens, g_max_usiemens)

    def cdf(self, n_pulses: Floats) -> Floats:
        """Return the probability that a cell needs at most n pulses, from 65,536 simulated cells of a fixed seed."""
        taken = np.sort(_stepped_pulses(self, int(np.max(n_pulses, initial=0))))
        return np.searchsorted(taken, n_pulses, side="right") / SAMPLE


SAMPLE = 65_536


@lru_cache
def _stepped_pulses(pulses: Stepped, cap: int) -> Floats:
    """Return (SAMPLE,) pulses of cells between random conductances; infinite where ``cap`` of them do not do."""
    from imcsim.hardware.kernels.write_verify import write_cells

    random = random_streams.rng(0, "stepped")
    old, new = random.random((2, 1, SAMPLE))
    cell, factor = pulses.cell(0.0, 1.0), np.ones_like(old)
    _, taken, failed = write_cells(np.uint64(0), new, old, factor, PulsedCell(*map(float, cell)), max(cap, 1))
    return np.where(failed | (taken > cap), np.inf, taken).ravel()


Distribution = Fixed | Geometric | Quantiles | Stepped
Pulses = Annotated[Distribution, Field(discriminator="kind")]


@lru_cache
def attempt(pulses: Distribution, cap: int, missed_frac: float) -> tuple[Floats, Floats]:
    """Return P(an attempt takes j pulses and succeeds) and P(it takes j pulses and fails) for j = 0, 1, ..., cap."""
    cdf = pulses.cdf(np.arange(cap + 1, dtype=float))
    stops = np.diff(cdf, prepend=0.0)
    success, failure = (1 - missed_frac) * stops, missed_frac * stops
    failure[cap] += 1 - cdf[cap]
    return success, failure


@lru_cache
def survival(pulses: Distribution, cap: int, missed_frac: float, on_failure: str) -> Floats:
    """Return P(a cell takes more than j pulses in all) for j = 0, 1, ..., its last entry 0; read-only."""
    success, failure = attempt(pulses, cap, missed_frac)
    total = success + failure if on_failure == "accept" else _retried(success, failure)
    beyond: Floats = np.minimum(np.append(total[::-1].cumsum()[-2::-1], 0.0), 1.0)  # sums may round to above 1
    beyond.flags.writeable = False
    return beyond


def _retried(success: Floats, failure: Floats) -> Floats:
    """Return the distribution of pulses until the first success: t = s + u * s + u * u * s + ... (convolutions)."""
    total, failed = success, np.ones(1)
    while failed.sum() > _REST:
        failed = np.convolve(failed, failure)
        again = np.convolve(failed, success)
        total = np.pad(total, (0, len(again) - len(total))) + again
    return np.asarray(total / total.sum())
