"""How long cells last: the batch that reaches a lifetime, how often a basis must be refreshed, and what that costs.

A cell fails after ``endurance_writes`` programmings. Rewriting wears it once or more per batch, so larger batches last
longer; a basis is only rewritten when its cells have drifted too far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from imcsim.hardware.devices import DeviceSpec
from imcsim.mapping.plan import Plan
from imcsim.reporting import tables
from imcsim.reporting.report import Report
from imcsim.util import random_streams, units
from imcsim.util.errors import ImcsimError

N_CELLS = 10_000  # of which a drift is the average
CLOSE = 1e-3  # of a refresh interval, relative
FOREVER_S = 1e12  # 32,000 years


def programmings_per_batch(plan: Plan) -> int:
    """How often the crossbar that is written most is written for one batch; 0 where all weights stay."""
    return max(plan.writes_by_crossbar.values(), default=0)


def lifetime_images(batch: int, endurance_writes: float, programmings_per_batch: float) -> float:
    """Images until the most written cell has failed: endurance x batch / programmings; infinite where none is written.

    ``programmings_per_batch`` may be a mean, such as (1 - unchanged_frac) times the writes. Raises ImcsimError.
    """
    _check(batch=batch, endurance_writes=endurance_writes)
    return endurance_writes * batch / programmings_per_batch if programmings_per_batch else math.inf


def batch_for(lifetime_images: float, endurance_writes: float, programmings_per_batch: float) -> int:
    """The smallest batch whose writes let the cells last so many images. Raises ImcsimError for numbers not above 0.

    >>> batch_for(1e9, endurance_writes=1e6, programmings_per_batch=38)
    38000
    """
    _check(lifetime_images=lifetime_images, endurance_writes=endurance_writes)
    return max(1, math.ceil(lifetime_images * programmings_per_batch / endurance_writes * (1 - 1e-12)))


def interval_for_s(lifetime_images: float, endurance_writes: float, images_per_second: float) -> float:
    """The shortest refresh interval with which the cells of a basis last so many images, s. Raises ImcsimError."""
    _check(lifetime_images=lifetime_images, endurance_writes=endurance_writes, images_per_second=images_per_second)
    return lifetime_images / images_per_second / endurance_writes


# -- drift -------------------------------------------------------------------------------------------------------------


def deviation_frac(device: DeviceSpec, age_s: float, seed: int = 0) -> float:
    """How far cells are from their targets at an age: root mean square over 10,000 cells, relative to the range.

    Targets are uniform over the range; one common factor, as a chip applies it digitally, is taken out first. Raises
    ImcsimError for ages at which the model of the device does not hold.
    """
    random, (low, high) = random_streams.rng(seed, "deviation"), (device.g_min_usiemens, device.g_max_usiemens)
    target = random.uniform(low, high, N_CELLS)
    present = np.asarray(device.conductance_usiemens(device.program(target, random), age_s), float)
    factor = present @ target / (present @ present)
    return float(np.sqrt(np.mean((factor * present - target) ** 2))) / (high - low)


def refresh_interval_s(device: DeviceSpec, allowed_frac: float, seed: int = 0) -> float:
    """The age at which ``deviation_frac`` reaches ``allowed_frac``: 0 where fresh cells exceed it, s.

    Where it is not reached while the model of the device holds, the last age of the model; infinite if it has none.
    Raises ImcsimError for a fraction that is not above 0.
    """
    _check(allowed_frac=allowed_frac)
    within, spans = 0.0, sorted(device.ages_s)
    for first, last in spans:
        if deviation_frac(device, first, seed) > allowed_frac:
            return within
        within = _last_within(device, allowed_frac, first, min(last, FOREVER_S), seed)
        if within < min(last, FOREVER_S):
            return within
    return spans[-1][1]


def _last_within(device: DeviceSpec, allowed_frac: float, first_s: float, last_s: float, seed: int) -> float:
    """By bisection of the logarithm of 1 s + age; the deviation must not fall with age."""
    if deviation_frac(device, last_s, seed) <= allowed_frac:
        return last_s
    low, high = math.log1p(first_s), math.log1p(last_s)
    while high - low > CLOSE:
        middle = (low + high) / 2
        within = deviation_frac(device, min(math.expm1(middle), last_s), seed) <= allowed_frac
        low, high = (middle, high) if within else (low, middle)
    return math.expm1(low)


@dataclass(frozen=True)
class RefreshCost:
    """What writing resident weights, or a basis, again and again costs, shared by the images in between."""

    interval_s: float
    images: float  # between two refreshes
    cycles_per_image: float
    energy_pj_per_image: float
    programmings_per_image: float  # of every cell

    def lifetime_images(self, endurance_writes: float) -> float:
        """Images until the cells have failed."""
        return endurance_writes / self.programmings_per_image if self.programmings_per_image else math.inf


def refresh(report: Report, interval_s: float, images_per_second: float | None = None) -> RefreshCost:
    """The cost of repeating all of a run's setup writes every ``interval_s``.

    ``images_per_second``: how many images really come; by default as many as the run computes. Raises ImcsimError for
    a run that writes nothing in its setup and for more images than it computes.
    """
    setup, execution = report.summary["setup"], report.execution
    fastest = execution.batch / (execution.makespan_ps / units.PS_PER_NS / units.NS_PER_S)
    rate = images_per_second or fastest
    _check(interval_s=interval_s, images_per_second=rate)
    if not execution.plan.setup:
        raise ImcsimError("refresh", f"the scheme '{report.spec.scheme}' writes nothing once", "take a basis scheme")
    if rate > fastest * (1 + 1e-9):
        raise ImcsimError("images_per_second", f"{rate:g} are more than the {fastest:.4g} that the run computes")
    images = interval_s * rate
    cycles = setup["time_ns"] * units.PS_PER_NS / execution.hardware.period_ps
    energy_pj = tables.energy_of(execution.setup_amounts(), report.costs)
    return RefreshCost(interval_s, images, cycles / images, energy_pj / images, 1 / images)


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise ImcsimError(name, f"{value} must be a finite number above 0")
