"""Does a basis still win where writes are cheap: cells that need no write, and cells that nobody verifies?

Usage: python benchmarks/basis_study/writes.py [--resnet20 resnet20.onnx]

Reprogramming on 256 crossbars, the better of R0 and R1 at each batch, with these writes: all cells; only cells whose
level changes (R2), where the unchanged share is 1/levels as the scheme assumes, or measured on the weights of trained
networks as their layers meet on the crossbars (ResNet-8 as shipped, a quantised ResNet-20 if given), or 1 - 1/3.7 as
published for ResNet-50 with weights sorted and low bits frozen (Farias & Kung, arXiv 2410.21730); write-verify of a
tenth of the cells, as published for the weights that matter most (SWIM, arXiv 2202.08395); and the last two together.
Both papers report accuracies, which nothing here checks. A word circuit has no verification of its own to leave out.
Results: ``results/cheap_writes.csv``, the shares in ``results/unchanged.csv``; coefficients random, seed 0.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cost_runs import BASELINES, SEED, Rows, alone, chip, kept, measured, request, save

from imcsim.experiments.run import plan_for
from imcsim.functional.chip import write_chip
from imcsim.functional.layout import layout
from imcsim.hardware.write_circuits.verify import Verify
from imcsim.mapping.plan import Program
from imcsim.reporting.run_spec import RunSpec
from imcsim.util.progress import Progress
from imcsim.workload.importers import load_network
from imcsim.workload.quantised.network import load_quantised

RESNET8 = Path(__file__).resolve().parents[2] / "workloads" / "models" / "resnet8_fashion.onnx"
NETWORKS, BATCHES = ("resnet18", "densenet121"), (1, 16, 64)
WRITES = ("radar2b_row", "ember2b_word", "radar2b_serial")
SCHEMES = ("basisn_inferred", "basis_broadcast")
SPARED_FRAC = {"1/levels": 1 / 4, "published, ResNet-50": 1 - 1 / 3.7}
VERIFIED_FRAC = 0.1


def run(results: Path, progress: Progress, resnet20: Path | None = None) -> None:
    """Write ``unchanged.csv`` and ``cheap_writes.csv``."""
    models = {"resnet8": RESNET8, **({"resnet20": resnet20} if resnet20 else {})}
    shares = kept(results, "unchanged", {name: partial(_shares, path) for name, path in models.items()}, progress)
    spared = {**SPARED_FRAC, **{f"measured, {name}": rows[0]["unchanged_frac"] for name, rows in shares.items()}}
    cheap = _cheap(spared)
    cases: dict[str, Any] = {}
    for network, batch in product(NETWORKS, BATCHES):
        for scheme in SCHEMES:
            cases[f"{network} {batch} {scheme}"] = partial(_basis, network, scheme, batch)
        for write, way, name in product(WRITES, cheap, BASELINES):
            if _suits(write, cheap[way][1]):
                work = partial(_rewriting, network, write, name, batch, *cheap[way])
                cases[f"{network} {batch} {write} {way} {name} {cheap[way][0]:.6f}"] = work
    found = kept(results, "cheap_writes", cases, progress)
    save(results, "cheap_writes", _rows(found, cheap))
    save(results, "unchanged", [{"network": name, **row} for name, rows in shares.items() for row in rows])


def _cheap(spared: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Ways to write: the share of the cells that is skipped, and that is verified."""
    published = SPARED_FRAC["published, ResNet-50"]
    return {
        "all cells": (0.0, 1.0), **{f"changed cells ({name})": (frac, 1.0) for name, frac in spared.items()},
        "a tenth verified": (0.0, VERIFIED_FRAC), "changed (published), a tenth verified": (published, VERIFIED_FRAC),
    }  # fmt: skip


def _suits(write: str, verified_frac: float) -> bool:
    return verified_frac == 1 or isinstance(chip(write).cell.write, Verify)


def _basis(network: str, scheme: str, batch: int) -> dict[str, Any]:
    return measured(request(network, chip(WRITES[0]), scheme, {}, batch))


def _rewriting(
    network: str, write: str, baseline: str, batch: int, unchanged_frac: float, verified_frac: float
) -> dict[str, Any]:
    changes = {"cell.write.verified_frac": verified_frac} if verified_frac < 1 else {}
    hardware = chip(write, **changes)
    skips = {"differential": True, "unchanged_frac": unchanged_frac} if unchanged_frac else {}
    found = measured(request(network, hardware, "reprogram", BASELINES[baseline] | skips, batch))
    return {**found, "fail_frac": hardware.cell.write.fail_frac}


def _rows(found: dict[str, Any], cheap: dict[str, tuple[float, float]]) -> Rows:
    rows = []
    for network, write, (way, (unchanged, verified)), batch in product(NETWORKS, WRITES, cheap.items(), BATCHES):
        if not _suits(write, verified):
            continue
        keys = {name: f"{network} {batch} {write} {way} {name} {unchanged:.6f}" for name in BASELINES}
        best = min(keys, key=lambda name: found[keys[name]]["cycles"])
        base, full = found[keys[best]], f"{network} {batch} {write} all cells {{}} {0:.6f}"
        before = min(found[full.format(name)]["cycles"] for name in BASELINES)
        inferred, broadcast = (found[f"{network} {batch} {scheme}"] for scheme in SCHEMES)
        rows.append({
            "network": network, "write": write, "way": way, "unchanged_frac": unchanged, "verified_frac": verified,
            "batch": batch, "baseline": best, "baseline_cycles": base["cycles"],
            "baseline_energy_pj": base["energy_pj"], "cycles_saved_by_factor": before / base["cycles"],
            "failed_frac_of_written": base["fail_frac"],
            **{f"{name}_{what}_ratio": own[key] / base[key]
               for name, own in (("inferred", inferred), ("broadcast", broadcast))
               for what, key in (("cycles", "cycles"), ("energy", "energy_pj"),
                                 ("edp_throughput", "edp_throughput_pj_ns"))},
        })  # fmt: skip
    return rows


# -- how many cells keep their level ---------------------------------------------------------------------------------


def _shares(model: Path) -> Rows:
    """Unchanged share of all cells that a batch writes, and what independent uniform levels would give."""
    rows: Rows = []
    for name, options in BASELINES.items():
        hardware = chip("ideal_single", 256 if name == "reprogram" else 32)  # packed: so small that it must rewrite
        options = {**options, "replication": "none", "differential": True}
        plan = plan_for(RunSpec(load_network(str(model)), hardware, "reprogram", 1, options, seed=SEED))
        written = write_chip(plan, layout(plan, load_quantised(model).layers, hardware).contents, hardware,
                             hardware.cell.device, SEED)  # fmt: skip
        programs = [op for op in plan.operations() if isinstance(op, Program)]
        n_cells = sum(sum(op.grid.cells) * op.region.copies for op in programs)
        changed = sum(written.works[op].cells for op in programs)
        rows.append({"plan": name, "crossbars": hardware.n_crossbars, "cells": n_cells,
                     "unchanged_frac": 1 - changed / n_cells, "assumed_frac": SPARED_FRAC["1/levels"]})  # fmt: skip
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--resnet20", type=Path, help="a quantised ResNet-20 for CIFAR-10 (ONNX)")
    alone("cheap_writes", partial(run, resnet20=parser.parse_args().resnet20))
