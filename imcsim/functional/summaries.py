"""Say in a report what values came to: ages, chips, layers, refits and writes, as keys of its entry ``values``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from imcsim.functional.accuracy import Accuracy, LayerCounts, wilson
from imcsim.functional.basis_refit import Refitted
from imcsim.functional.chip import WrittenChip
from imcsim.mapping.activity import Activity


def age_entry(age_s: float, chips: Sequence[Accuracy]) -> dict[str, Any]:
    """Return the means over the chips at an age; the interval is that of a network as good as they are on average."""
    fracs = [chip.accuracy_frac for chip in chips]
    mean = float(np.mean(fracs))
    images = chips[0].n_images
    return {
        "age_s": age_s,
        "accuracy_frac": mean,
        "accuracy_interval_95_frac": list(wilson(mean * images, images)),
        "accuracy_range_frac": [min(fracs), max(fracs)],
        "agreement_frac": float(np.mean([chip.agreement_frac for chip in chips])),
    }


def chip_entry(seed: int, age_s: float, accuracy: Accuracy) -> dict[str, Any]:
    """Return how well one chip answers at an age."""
    return {
        "seed": seed,
        "age_s": age_s,
        "accuracy_frac": accuracy.accuracy_frac,
        "accuracy_interval_95_frac": list(accuracy.interval_95_frac),
        "agreement_frac": accuracy.agreement_frac,
    }


def layer_entry(name: str, counts: LayerCounts) -> dict[str, Any]:
    """Return how exactly a layer computes, how often its converters saturate, and how much it uses its arrays."""
    activity = activity_of(counts) if counts.chargeable else Activity(0.0, 0.0)
    return {
        "layer": name,
        "snr": _snr(counts),
        "saturated_frac": counts.saturated_frac,
        "driven_frac": activity.driven_frac,
        "charge_frac": activity.charge_frac,
    }


def refit_entry(seed: int, refit: Refitted) -> dict[str, Any]:
    """Return relative errors of weights behind the basis that was measured on a chip, before and after the refit."""
    return {"seed": seed, "weight_error_before_frac": refit.before_frac, "weight_error_after_frac": refit.after_frac}


def _snr(counts: LayerCounts) -> dict[str, Any]:
    if not math.isinf(counts.snr_db):
        return {"kind": "noisy", "db": counts.snr_db}
    return {"kind": "exact" if counts.snr_db > 0 else "no signal"}


def activity_of(counts: LayerCounts) -> Activity:
    """Return how much a layer, whose digits and conductances were counted, uses its arrays."""
    return Activity(counts.driven / counts.drivable, counts.charge / counts.chargeable)


def writes_entry(chip: WrittenChip) -> dict[str, Any]:
    """Return what counting cell by cell showed: pulses of a cell in one write, and wear of one batch."""
    most, crossbar = chip.most_programmings
    return {"pulses": _pulses(chip.pulses), "most_programmings_per_batch": most, "crossbar": crossbar}


def _pulses(counts: np.ndarray) -> dict[str, Any]:
    """Return mean, quantiles and maximum of the pulses of a cell; circuits measured from outside count none."""
    if not counts.sum():
        return {"kind": "not counted"}
    share = counts.cumsum() / counts.sum()
    p50, p99 = (int(np.searchsorted(share, q)) for q in (0.5, 0.99))
    mean = float(np.arange(len(counts)) @ counts / counts.sum())
    return {"kind": "counted", "mean": mean, "p50": p50, "p99": p99, "max": int(np.flatnonzero(counts)[-1])}
