"""Compare the six claims of HIC's abstract (arXiv 2102.05271) with what trainings here have to say about them.

Only the direction of a claim is compared: networks, images and most constants differ from the paper's. "Comparable"
means within ``COMPARABLE_POINTS``, "negligible" less than ``NEGLIGIBLE_POINTS``; both are our choices. Where a mean
over seeds decides and lies within a standard error of the limit, the verdict is "depends".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from imcsim.training.hic.ageing import AGES_S
from imcsim.training.hic.size import Curve, accuracy_at, size_at
from imcsim.training.hic.wear import ENDURANCE_CYCLES

COMPARABLE_POINTS, NEGLIGIBLE_POINTS = 0.3, 1.0
SMALL_FRAC, USUAL_CYCLES = 0.01, 1e8  # that PCM endures, in the middle of what was published; assumed
WHOLE_UPDATES = 102_500  # of a training of 205 epochs of 500 batches, as recalled of the paper
LEARNT_POINTS = 5.0  # below the best of its width, floats too: to keep an accuracy that low says nothing
FRESH_S = 60.0  # the oldest that the first age may be
WIDE_BITS = 10  # the least of an accumulator that counts as precise
Verdict = Literal["holds", "does not hold", "depends", "not tested"]


@dataclass(frozen=True)
class Claim:
    """Hold one claim and its verdict; ``evidence`` is one sentence of numbers."""

    text: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True)
class Evidence:
    """Hold tables of ``tables.py``, from which the claims are judged.

    Those of variants concern accumulators. A table without rows leaves claims untested.
    """

    runs: pd.DataFrame
    ageing: pd.DataFrame
    wear: pd.DataFrame
    accumulators: pd.DataFrame


def claims(evidence: Evidence) -> list[Claim]:
    """Return all six, in the order of the abstract."""
    return [Claim(text, *judge(evidence)) for text, judge in CLAIMS.items()]


def _untested(why: str) -> tuple[Verdict, str]:
    return "not tested", why


def _memory(evidence: Evidence) -> tuple[Verdict, str]:
    hybrid, plain = (_at_width_1(evidence.runs, kind) for kind in ("hybrid", "float"))
    if not (len(hybrid) and len(plain)):
        return _untested("needs hybrid and float networks at width 1")
    ours, theirs = hybrid["bits"].iloc[0], plain["bits"].iloc[0]
    cells, weights = hybrid["cells"].iloc[0], hybrid["n_weights"].iloc[0]
    text = (
        f"by construction: at width 1 inference takes {cells / weights:.0f} multi-level cells a weight and no binary "
    )
    return (
        "holds" if ours < theirs else "does not hold"
    ), text + f"one, {100 * ours / theirs:.1f} % of the bits of floats"


def _accumulator(evidence: Evidence) -> tuple[Verdict, str]:
    names = evidence.accumulators["variant"] if len(evidence.accumulators) else pd.Series(dtype=str)
    bits = {int(name.split()[0]): name for name in names.unique() if name.endswith(" bits")}
    if 7 not in bits or max(bits) < WIDE_BITS:
        return _untested(f"needs accumulators of 7 bits, and of {WIDE_BITS} or more")
    ours, theirs = (100 * evidence.accumulators[names == bits[n]]["accuracy_frac"] for n in (7, max(bits)))
    text = f"7 bits: {ours.mean():.2f} %, {max(bits)} bits: {theirs.mean():.2f} %"
    return _verdict(ours, theirs.mean() - COMPARABLE_POINTS), text


def _verdict(points: pd.Series[float], limit: float) -> Verdict:
    """Say whether a mean over seeds lies above a limit."""
    above = float(points.mean()) - limit
    return "depends" if abs(above) < _error(points) else "holds" if above > 0 else "does not hold"


def _error(points: pd.Series[float]) -> float:
    """Return the standard error of a mean over seeds; 0 of a single seed, whose error is not known."""
    return float(points.std()) / len(points) ** 0.5 if len(points) > 1 else 0.0


def _equal_size(evidence: Evidence) -> tuple[Verdict, str]:
    base, curve = _at_width_1(evidence.runs, "float"), _curve(evidence.runs, "hybrid")
    if not (len(base) and curve):
        return _untested("needs hybrid and float networks")
    here = accuracy_at(curve, base["bits"].iloc[0])
    if here != here:
        return _untested("no hybrid networks on both sides of the size of floats at width 1: give a larger --widths")
    theirs = 100 * base["accuracy_frac"]
    turned: dict[Verdict, Verdict] = {"holds": "does not hold", "does not hold": "holds"}
    verdict = _verdict(theirs, 100 * here)  # of floats, whose seeds are known at this very size
    return turned.get(verdict, verdict), f"{100 * here:.2f} % against {theirs.mean():.2f} % of floats"


def _half_size(evidence: Evidence) -> tuple[Verdict, str]:
    base, curve = _at_width_1(evidence.runs, "float"), _curve(evidence.runs, "hybrid")
    if not (len(base) and curve):
        return _untested("needs hybrid and float networks")
    target = base["accuracy_frac"].mean() - COMPARABLE_POINTS / 100
    share = size_at(curve, target) / base["bits"].iloc[0]
    if share == float("inf"):
        best = 100 * max(accuracy for _, accuracy in curve)
        return "does not hold", f"the best of any width is {best:.2f} %, comparable would be {100 * target:.2f} %"
    half = 100 * accuracy_at(curve, base["bits"].iloc[0] / 2)
    near = _verdict(100 * base["accuracy_frac"], half + COMPARABLE_POINTS) == "depends"  # of floats, as for equal size
    text = f"{100 * target:.2f} % (floats less {COMPARABLE_POINTS} points) takes {100 * share:.0f} % of the bits"
    return ("depends" if near else "holds" if share <= 0.5 else "does not hold"), text


def _drift(evidence: Evidence) -> tuple[Verdict, str]:
    if not len(evidence.ageing) or evidence.ageing["age_s"].max() != AGES_S[-1]:
        return _untested("needs ages up to a year")
    widest = evidence.ageing[evidence.ageing["width"] == evidence.ageing["width"].max()]
    width = widest["width"].iloc[0]
    table: Any = 100 * widest.pivot_table(index=["model", "fix"], columns="age_s", values="accuracy_frac")
    fresh = table.iloc[:, 0].groupby("model").max()
    undrifted = 100 * evidence.runs[evidence.runs["width"] == width].groupby("weights")["accuracy_frac"].mean()
    lost = (fresh - table.iloc[:, -1]).unstack("fix")  # (model, fix), from the best of the fresh accuracies
    least = {model: _least_losses(widest, model) for model in lost.index}
    kept = [_verdict(-points, -NEGLIGIBLE_POINTS) for points in least.values()]
    ignorant = set(kept) != {"does not hold"} and fresh.min() < undrifted.max() - LEARNT_POINTS
    if table.columns[0] > FRESH_S or ignorant:
        return _untested(f"needs an age of at most {FRESH_S:g} s, and a network that has learnt")
    verdict: Verdict = kept[0] if len(set(kept)) == 1 else "depends"
    said = [f"{model}: {_losses(row, _error(least[model]))}" for model, row in lost.to_dict("index").items()]
    return verdict, f"points lost in a year at width {width:g}: {'; '.join(said)}"


def _least_losses(ageing: pd.DataFrame, model: str) -> pd.Series[float]:
    """Return the points that each seed loses from the first age to the last, with the best repair on average."""
    by_seed: Any = 100 * ageing[ageing["model"] == model].pivot_table(
        index="seed", columns=["age_s", "fix"], values="accuracy_frac"
    )
    ages = by_seed.columns.get_level_values("age_s")
    young, old = by_seed[ages.min()], by_seed[ages.max()]
    lost: pd.Series[float] = young[young.mean().idxmax()] - old[old.mean().idxmax()]
    return lost


def _losses(by_fix: dict[Any, float], error: float) -> str:
    """Name the losses in points, the least first, each with its standard error where that is known."""
    (best, loss), *others = sorted(by_fix.items(), key=lambda item: item[1])
    first = f"{loss:.2f} ± {error:.2f} ({best})" if error else f"{loss:.2f} ({best})"
    return ", ".join([first, *(f"{loss:.1f} ({fix})" for fix, loss in others)])


def _wear(evidence: Evidence) -> tuple[Verdict, str]:
    if not len(evidence.wear):
        return _untested("needs hybrid networks")
    worst = evidence.wear.sort_values("cycles_max").iloc[-1]
    lifetime_cycles = max(1.0, WHOLE_UPDATES / worst["updates"]) * worst["cycles_max"]
    share, of_weakest = lifetime_cycles / USUAL_CYCLES, lifetime_cycles / ENDURANCE_CYCLES[0]
    text = f"at most {worst['cycles_max']:,} cycles ({worst['part']}) in {worst['updates']:,} updates; at this pace "
    text += f"{lifetime_cycles:,.0f} in {WHOLE_UPDATES:,}: {100 * share:.2g} % of {USUAL_CYCLES:.0e}, but "
    text += f"{100 * of_weakest:.2g} % of the least that was published, {ENDURANCE_CYCLES[0]:.0e}"
    return ("holds" if share <= SMALL_FRAC else "does not hold"), text


def _at_width_1(runs: pd.DataFrame, kind: str) -> pd.DataFrame:
    return runs[(runs["weights"] == kind) & (runs["width"] == 1)] if len(runs) else runs


def _curve(runs: pd.DataFrame, kind: str) -> Curve:
    """Return (bits, mean accuracy) by size."""
    if not len(runs):
        return []
    means = runs[runs["weights"] == kind].groupby("bits")["accuracy_frac"].mean()
    return list(zip(means.index.to_numpy(float), means.to_numpy(float), strict=True))


CLAIMS: dict[str, Callable[[Evidence], tuple[Verdict, str]]] = {
    "binary and multi-level cells together make inference memory-efficient": _memory,
    "a low-precision accumulator of updates suffices": _accumulator,
    "at comparable model size, more accurate than 32-bit floats": _equal_size,
    "about 50 % less model for inference at comparable accuracy": _half_size,
    "drift has a negligible effect for up to a year": _drift,
    "write-erase cycles are a small fraction of the endurance": _wear,
}
