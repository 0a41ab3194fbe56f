"""What more coefficients per kernel cost: cycles per image and crossover batches for the q of the trained points.

Usage: python benchmarks/basis_study/sparsity.py

Closed forms on 256 crossbars, M = L = 128, 4 bits, random supports that are really scheduled (seed 0), against the
better of layer-by-layer and packed rewriting. Accuracy is known of none of these networks. Results:
``results/sparsity.csv``.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cost_runs import BASELINES, NETWORKS, alone, chip, kept, request, save

from imcsim.experiments.crossovers import analytic_batch, line_of
from imcsim.reporting.closed_form import ClosedForm
from imcsim.util.progress import Progress

NONZEROS = (4, 8, 16, 32)
WRITES = ("ember2b_word", "radar2b_serial")
SCHEMES = ("basisn_inferred", "basis_broadcast")
PLANNED_FOR = {"reprogram": (1, 256), "reprogram_packed": (1, 16, 256)}  # batches whose plans are candidates


def run(results: Path, progress: Progress) -> None:
    """Compute all lines and write ``sparsity.csv``."""
    cases: dict[str, Any] = {}
    for network in NETWORKS:
        for scheme, q in product(SCHEMES, NONZEROS):
            cases[f"{network} {scheme} {q}"] = partial(_lines, network, WRITES[0], scheme, {"nonzeros": q}, (1,))
        for write, (name, options) in product(WRITES, BASELINES.items()):
            work = partial(_lines, network, write, "reprogram", options, PLANNED_FOR[name])
            cases[f"{network} {name} {write}"] = work
    found = kept(results, "sparsity", cases, progress)
    save(results, "sparsity", [_row(found, *case) for case in product(NETWORKS, WRITES, SCHEMES, NONZEROS)])


def _lines(
    network: str, write: str, scheme: str, options: dict[str, Any], batches: tuple[int, ...]
) -> list[tuple[float, float]]:
    found = [line_of(request(network, chip(write), scheme, options, batch)) for batch in batches]
    return [(each.write_cycles, each.image_cycles) for each in found if each]


def _row(found: dict[str, Any], network: str, write: str, scheme: str, nonzeros: int) -> dict[str, Any]:
    own = [ClosedForm(*each) for each in found[f"{network} {scheme} {nonzeros}"]]
    bases = [ClosedForm(*each) for name in BASELINES for each in found[f"{network} {name} {write}"]]
    batch, words = analytic_batch(own, bases)
    ratios = {f"ratio_at_batch_{at}": own[0].at(at) / min(base.at(at) for base in bases) for at in (1, 16, 64, 256)}
    return {
        "network": network, "write": write, "scheme": scheme, "nonzeros": nonzeros,
        "cycles_per_image": own[0].image_cycles, **ratios, "crossover_batch": batch,
        "crossover": words.split(",")[0] if batch is None else "at a batch",
    }  # fmt: skip


if __name__ == "__main__":
    alone("sparsity", run)
