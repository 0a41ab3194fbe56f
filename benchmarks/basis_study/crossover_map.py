"""From which batch on is rewriting weights faster than combining a basis, over write circuits, chip sizes and networks?

Usage: python benchmarks/basis_study/crossover_map.py

For every case the closed forms of the plans, in which nothing waits for anything else (slots of the exclusive routing
are the scheduled ones, seed 0); for some of them also runs at batches on both sides of that crossover. The baseline is
the better of layer-by-layer (R0) and packed (R1) rewriting; packed plans for four batches are candidates. Cases whose
weights all fit the chip are marked: nobody would rewrite there. Results: ``results/crossover.csv``, and the figure.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pandas as pd
from cost_runs import BASELINES, NETWORKS, alone, chip, kept, measured, request, save

from imcsim.experiments.crossovers import analytic_batch, line_of, simulated_batch
from imcsim.mapping.schemes.base import crossbars_of, layer_groups
from imcsim.reporting.closed_form import ClosedForm
from imcsim.reporting.comparison import Row, with_ratios
from imcsim.reporting.figures.style import COLOURS, MARKERS, saved_figure
from imcsim.util.progress import Progress
from imcsim.workload.workload import load_workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# neurram_stepped is left out: its mean time is that of neurram_serial
WRITES = ("ideal_single", "puma_bulk", "pcm_row", "radar2b_row", "ember2b_word", "radar2b_serial", "neurram_serial")
CROSSBARS = (64, 256, 1024, 4096)
SCHEMES = ("basisn_inferred", "basis_broadcast")
PLANNED_FOR = {"reprogram": (1, 256), "reprogram_packed": (1, 16, 256, 4096)}  # batches whose plans are candidates
SIMULATED = list(product(("resnet18", "densenet121"), ("radar2b_row", "ember2b_word", "radar2b_serial"), SCHEMES))
AROUND = 1.3  # simulated batches lie this factor below and above the closed form's crossover
WITHOUT = (1, 256)  # and are these where it knows none


def run(results: Path, progress: Progress) -> None:
    """Compute all lines, simulate some points, and write ``crossover.csv``."""
    cases: dict[str, Any] = {}
    for network, crossbars in product(NETWORKS, CROSSBARS):
        for scheme in SCHEMES:
            cases[f"{network} {crossbars} {scheme}"] = partial(_lines, network, crossbars, WRITES[0], scheme, {}, (1,))
        for write, (name, options) in product(WRITES, BASELINES.items()):
            work = partial(_lines, network, crossbars, write, "reprogram", options, PLANNED_FOR[name])
            cases[f"{network} {crossbars} {name} {write}"] = work
    lines = kept(results, "crossover", cases, progress)
    rows = [_row(lines, *case) for case in product(NETWORKS, CROSSBARS, WRITES, SCHEMES)]
    at = {(r["network"], r["write"], r["scheme"]): r for r in rows if r["crossbars"] == 256}
    runs = {f"simulated {' '.join(case)}": partial(_simulated, at[case]) for case in SIMULATED}
    found = kept(results, "crossover", runs, progress)
    for case in SIMULATED:
        at[case].update(found[f"simulated {' '.join(case)}"])
    save(results, "crossover", rows)


def _lines(
    network: str, crossbars: int, write: str, scheme: str, options: dict[str, Any], batches: tuple[int, ...]
) -> list[list[float]]:
    """Write cycles and cycles per image of the plans for some batches, each once."""
    hardware = chip(write, crossbars)
    found = [line_of(request(network, hardware, scheme, options, batch)) for batch in batches]
    return [list(each) for each in dict.fromkeys((f.write_cycles, f.image_cycles) for f in found if f)]


def _row(lines: dict[str, Any], network: str, crossbars: int, write: str, scheme: str) -> dict[str, Any]:
    hardware, place = chip(write, crossbars), f"{network} {crossbars}"
    own = [ClosedForm(*each) for each in lines[f"{place} {scheme}"]]
    bases = [ClosedForm(*each) for name in BASELINES for each in lines[f"{place} {name} {write}"]]
    batch, words = analytic_batch(own, bases)
    best = min(bases, key=lambda base: base.at(batch or 1))
    return {
        "network": network, "crossbars": crossbars, "write": write, "scheme": scheme,
        "crossbar_write_ns": hardware.cell.write.time_ns(hardware.crossbar.rows, hardware.crossbar.columns),
        "weights_fit": crossbars_of(layer_groups(load_workload(network), hardware)) <= crossbars,
        "own_cycles_per_image": own[0].image_cycles, "baseline_write_cycles": best.write_cycles,
        "baseline_cycles_per_image": best.image_cycles,
        "ratio_at_batch_1": own[0].at(1) / min(base.at(1) for base in bases),
        "crossover_batch": batch, "crossover": words.split(",")[0] if batch is None else "at a batch",
    }  # fmt: skip


def _simulated(row: dict[str, Any]) -> dict[str, Any]:
    """Runs on both sides of the closed form's crossover, and the crossover between them."""
    batch, hardware = row["crossover_batch"], chip(row["write"])
    batches = WITHOUT if batch is None else (max(1, math.floor(batch / AROUND)), math.ceil(batch * AROUND))
    rows: list[Row] = []
    for at in batches:
        asked = {row["scheme"]: (row["scheme"], {}), **{name: ("reprogram", o) for name, o in BASELINES.items()}}
        for name, (scheme, options) in asked.items():
            cycles = measured(request(row["network"], hardware, scheme, options, at))["cycles"]
            rows.append(Row(row["write"], at, name, cycles_per_inference=cycles))
    found, words = simulated_batch([r for r in with_ratios(rows) if r.scheme == row["scheme"]])
    return {"simulated_batch": found, "simulated": words.split(",")[0] if found is None else "at a batch",
            "simulated_batches": " ".join(map(str, batches))}  # fmt: skip


# -- the figure --------------------------------------------------------------------------------------------------------

LOWEST, HIGHEST = 0.22, 8e6  # where "from batch 1" and "never" are drawn
TICKS = ["from 1", "1", "10", "100", "1,000", "10,000", "100,000", "never"]
TITLES = {"basisn_inferred": "exclusive, analog sums\n(inferred)", "basis_broadcast": "broadcast, digital sums"}


def draw(results: Path, figures: Path) -> None:
    """Crossover batch against write time: a row of panels per scheme, a column per chip size."""
    table = pd.read_csv(results / "crossover.csv")
    with saved_figure(figures / "crossover_map", "crossover_map", (9.6, 5.6)) as (figure, _):
        panels = figure.subplots(len(SCHEMES), len(CROSSBARS), sharex=True, sharey=True)
        for (i, scheme), (j, crossbars) in product(enumerate(SCHEMES), enumerate(CROSSBARS)):
            here = table[(table["scheme"] == scheme) & (table["crossbars"] == crossbars)]
            _panel(panels[i, j], here)
            if not i:
                panels[i, j].set_title(f"{crossbars:,} crossbars", loc="left")
        for axes, scheme in zip(panels[:, 0], SCHEMES, strict=True):
            axes.set_ylabel(f"{TITLES[scheme]}\n\ncrossover batch (images)")
        for axes in panels[-1]:
            axes.set_xlabel("mean time to write a crossbar")
        entries = dict(zip(*panels[0, 1].get_legend_handles_labels()[::-1], strict=True))
        names = sorted(entries, key=lambda name: name == "simulated")  # at the end
        figure.legend([entries[name] for name in names], names, loc="outside lower center", ncols=4)


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    """One line per network; margins for those that meet the baseline at no batch."""
    axes.set(xscale="log", yscale="log", ylim=(LOWEST / 2.2, HIGHEST * 3.5), xlim=(3e3, 6e8))
    axes.axhspan(LOWEST / 4, 0.6, color="#f0f0f0", zorder=0)
    axes.axhspan(HIGHEST / 5, HIGHEST * 5, color="#f0f0f0", zorder=0)
    for number, network in enumerate(NETWORKS):
        part = table[table["network"] == network].sort_values("crossbar_write_ns")
        x, batch = part["crossbar_write_ns"] * 1.12 ** (number - 2.5), part["crossover_batch"]
        if part["weights_fit"].all():
            continue
        margin = np.where(part["crossover"] == "never", HIGHEST, LOWEST)
        axes.plot(x, batch, "-", color=COLOURS[number], linewidth=0.9)
        axes.plot(x, batch.where(batch.notna(), margin), MARKERS[number], color=COLOURS[number], markersize=4,
                  label=network)  # fmt: skip
        if "simulated_batch" in part and part["simulated_batch"].notna().any():
            axes.plot(x, part["simulated_batch"], "o", markersize=9, markerfacecolor="none",
                      markeredgecolor="#222222", label="simulated")  # fmt: skip
    if table["weights_fit"].any():
        axes.text(0.97, 0.14, "all weights of both\nDenseNets fit", transform=axes.transAxes, ha="right", fontsize=8)
    axes.set_xticks([1e4, 1e6, 1e8], ["10 us", "1 ms", "100 ms"])
    axes.set_yticks([LOWEST, 1, 10, 100, 1e3, 1e4, 1e5, HIGHEST], TICKS)
    axes.minorticks_off()


if __name__ == "__main__":
    alone("crossover_map", run, draw)
