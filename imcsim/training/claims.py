"""The six claims of HIC's abstract (arXiv 2102.05271), each with what trainings here have to say about it.

Only the direction of a claim is compared: networks, images and most constants differ from the paper's. "Comparable"
means within ``COMPARABLE_POINTS``, "negligible" less than ``NEGLIGIBLE_POINTS``; both are our choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from imcsim.training.ageing import AGES_S
from imcsim.training.size import Curve, accuracy_at, size_at

COMPARABLE_POINTS, NEGLIGIBLE_POINTS = 0.3, 1.0
SMALL_FRAC, ENDURANCE_CYCLES = 0.01, 1e8  # of PCM, in the middle of what was published (1e5 to 2e11); assumed
Verdict = Literal["holds", "does not hold", "depends", "not tested"]


@dataclass(frozen=True)
class Claim:
    """``evidence``: one sentence of numbers."""

    text: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True)
class Evidence:
    """Tables of ``tables.py``; those of variants concern accumulators. A table without rows leaves claims untested."""

    runs: pd.DataFrame
    ageing: pd.DataFrame
    wear: pd.DataFrame
    accumulators: pd.DataFrame


def claims(found: Evidence) -> list[Claim]:
    """All six, in the order of the abstract."""
    return [Claim(text, *judge(found)) for text, judge in CLAIMS.items()]


def _untested(why: str) -> tuple[Verdict, str]:
    return "not tested", why


def _memory(found: Evidence) -> tuple[Verdict, str]:
    hybrid, plain = (_at_width_1(found.runs, kind) for kind in ("hybrid", "float"))
    if not (len(hybrid) and len(plain)):
        return _untested("needs hybrid and float networks at width 1")
    ours, theirs = hybrid["bits"].iloc[0], plain["bits"].iloc[0]
    cells, weights = hybrid["cells"].iloc[0], hybrid["n_weights"].iloc[0]
    text = f"at width 1 inference takes {cells / weights:.0f} multi-level cells a weight and no binary one: "
    return ("holds" if ours < theirs else "does not hold"), text + f"{100 * ours / theirs:.1f} % of the bits of floats"


def _accumulator(found: Evidence) -> tuple[Verdict, str]:
    if not {"7 bits", "10 bits"} <= set(found.accumulators.get("variant", ())):
        return _untested("needs accumulators of 7 and 10 bits")
    means = 100 * found.accumulators.groupby("variant")["accuracy_frac"].mean()
    loss = means["10 bits"] - means["7 bits"]
    text = f"7 bits: {means['7 bits']:.2f} %, 10 bits: {means['10 bits']:.2f} %"
    return ("holds" if loss <= COMPARABLE_POINTS else "does not hold"), text


def _equal_size(found: Evidence) -> tuple[Verdict, str]:
    base, curve = _at_width_1(found.runs, "float"), _curve(found.runs, "hybrid")
    if not (len(base) and curve):
        return _untested("needs hybrid and float networks")
    here = accuracy_at(curve, base["bits"].iloc[0])
    if here != here:
        return _untested("no hybrid network is as large as the float one at width 1: give --widths up to 3")
    target = base["accuracy_frac"].mean()
    return ("holds" if here > target else "does not hold"), f"{100 * here:.2f} % against {100 * target:.2f} % of floats"


def _half_size(found: Evidence) -> tuple[Verdict, str]:
    base, curve = _at_width_1(found.runs, "float"), _curve(found.runs, "hybrid")
    if not (len(base) and curve):
        return _untested("needs hybrid and float networks")
    target = base["accuracy_frac"].mean() - COMPARABLE_POINTS / 100
    share = size_at(curve, target) / base["bits"].iloc[0]
    if share == float("inf"):
        best = 100 * max(accuracy for _, accuracy in curve)
        return "does not hold", f"the best of any width is {best:.2f} %, comparable would be {100 * target:.2f} %"
    text = f"{100 * target:.2f} % (floats less {COMPARABLE_POINTS} points) takes {100 * share:.0f} % of the bits"
    return ("holds" if share <= 0.5 else "does not hold"), text


def _drift(found: Evidence) -> tuple[Verdict, str]:
    if not len(found.ageing) or found.ageing["age_s"].max() != AGES_S[-1]:
        return _untested("needs ages up to a year")
    widest = found.ageing[found.ageing["width"] == found.ageing["width"].max()]
    table: Any = 100 * widest.pivot_table(index=["model", "fix"], columns="age_s", values="accuracy_frac")
    lost = (table.iloc[:, 0] - table.iloc[:, -1]).unstack("fix")  # (model, fix)
    kept = [bool(loss < NEGLIGIBLE_POINTS) for loss in lost.min(axis=1)]
    verdict: Verdict = "holds" if all(kept) else "depends" if any(kept) else "does not hold"
    said = [f"{model}: {_losses(row)}" for model, row in lost.to_dict("index").items()]
    return verdict, f"points lost in a year at width {widest['width'].iloc[0]:g}: {'; '.join(said)}"


def _losses(by_fix: dict[Any, float]) -> str:
    return ", ".join(f"{loss:.1f} ({fix})" for fix, loss in sorted(by_fix.items(), key=lambda item: item[1]))


def _wear(found: Evidence) -> tuple[Verdict, str]:
    if not len(found.wear):
        return _untested("needs hybrid networks")
    worst = found.wear.sort_values("cycles_max").iloc[-1]
    share = worst["cycles_max"] / ENDURANCE_CYCLES
    text = f"at most {worst['cycles_max']:,} cycles ({worst['part']}) in {worst['updates']:,} updates: "
    text += f"{100 * share:.2g} % of {ENDURANCE_CYCLES:.0e}, {100 * worst['cycles_max'] / 1e5:.2g} % of the least"
    text += " that was published (1e5)"
    return ("holds" if share <= SMALL_FRAC else "does not hold"), text


def _at_width_1(runs: pd.DataFrame, kind: str) -> pd.DataFrame:
    return runs[(runs["weights"] == kind) & (runs["width"] == 1)] if len(runs) else runs


def _curve(runs: pd.DataFrame, kind: str) -> Curve:
    """(bits, mean accuracy) by size."""
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
