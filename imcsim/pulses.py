"""How many pulses a cell takes: a distribution as declared, and what a cap and retries make of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from imcsim.config import Spec

Frac = Annotated[float, Field(ge=0, le=1)]
Floats = NDArray[np.float64]
_REST = 1e-12  # probability of further attempts that is not followed any more


class Fixed(Spec):
    """Every cell takes the same number of pulses."""

    kind: Literal["fixed"]
    n: PositiveInt

    def cdf(self, n_pulses: Floats) -> Floats:
        """Probability that a cell needs at most n pulses."""
        return np.where(n_pulses >= self.n, 1.0, 0.0)


class Geometric(Spec):
    """Each pulse succeeds with the same probability, 1 / mean."""

    kind: Literal["geometric"]
    mean: Annotated[float, Field(ge=1)]

    def cdf(self, n_pulses: Floats) -> Floats:
        """Probability that a cell needs at most n pulses: 1 - (1 - 1/mean)^n."""
        return 1 - (1 - 1 / self.mean) ** np.maximum(n_pulses, 0)


class Quantiles(Spec):
    """Measured quantiles, (probability, pulses) from probability 0 to 1; straight lines between, rounded up."""

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
        """Probability that a cell needs at most n pulses."""
        prob, pulses = zip(*self.points, strict=True)
        return np.asarray(np.interp(n_pulses, pulses, prob, left=0.0))


Pulses = Annotated[Fixed | Geometric | Quantiles, Field(discriminator="kind")]


@lru_cache
def attempt(pulses: Fixed | Geometric | Quantiles, cap: int, missed_frac: float) -> tuple[Floats, Floats]:
    """Probabilities that one attempt takes 0, 1, ..., cap pulses and succeeds, and that it does so and fails."""
    cdf = pulses.cdf(np.arange(cap + 1, dtype=float))
    stops = np.diff(cdf, prepend=0.0)
    success, failure = (1 - missed_frac) * stops, missed_frac * stops
    failure[cap] += 1 - cdf[cap]
    return success, failure


@lru_cache
def survival(pulses: Fixed | Geometric | Quantiles, cap: int, missed_frac: float, on_failure: str) -> Floats:
    """P(a cell takes more than j pulses in all) for j = 0, 1, ..., its last entry 0; read-only."""
    success, failure = attempt(pulses, cap, missed_frac)
    total = success + failure if on_failure == "accept" else _retried(success, failure)
    beyond: Floats = np.minimum(np.append(total[::-1].cumsum()[-2::-1], 0.0), 1.0)  # sums may round to above 1
    beyond.flags.writeable = False
    return beyond


def _retried(success: Floats, failure: Floats) -> Floats:
    """Pulses until the first success: t = s + u * s + u * u * s + ... (convolutions)."""
    total, failed = success, np.ones(1)
    while failed.sum() > _REST:
        failed = np.convolve(failed, failure)
        again = np.convolve(failed, success)
        total = np.pad(total, (0, len(again) - len(total))) + again
    return np.asarray(total / total.sum())
