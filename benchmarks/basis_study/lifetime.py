"""How many images until the cells are worn out: rewriting per batch against a basis that is refreshed now and then.

Usage: python benchmarks/basis_study/lifetime.py

Plans on 256 crossbars (nothing is simulated but the basis schemes, seed 0). Endurance: the ranges of the NVMExplorer
survey 2016-2020, 1e4 to 1e9 for RRAM and 1e5 to 2e11 for PCM, and the 1e6 and 1e8 that the write presets assume.
Differential writes program a cell with the probability 1 - 1/levels = 3/4 (levels independent and uniform; the mean
cell, the most worn one lasts less long); published are 3.7 times fewer writes on ResNet-50 (Farias & Kung, arXiv
2410.21730). Refresh intervals are in real time, at 30 images/s. Results: ``results/lifetime.csv``, how far
cells deviate by then in ``results/refresh.csv``, and the figure.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pandas as pd
from cost_runs import Rows, alone, chip, kept, request, save

from imcsim.experiments.lifetime import (
    batch_for,
    deviation_frac,
    lifetime_images,
    programmings_per_batch,
    refresh,
    refresh_interval_s,
)
from imcsim.experiments.run import execute, plan_for
from imcsim.hardware.devices import load_device
from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.util.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NETWORKS = ("resnet18", "densenet121")
BATCHES = tuple(4**i for i in range(7))
ENDURANCES = {"RRAM": (1e4, 1e6, 1e9), "PCM": (1e5, 1e8, 2e11)}
WRITES = {"RRAM": "ember2b_word", "PCM": "pcm_row"}
REWRITES: dict[str, tuple[dict[str, Any], float]] = {  # options, and the share of the cells that a write programs
    "R0 layer by layer": ({}, 1.0),
    "R1 packed": ({"grouping": "packed"}, 1.0),
    "R2 packed, differential": ({"grouping": "packed", "differential": True}, 0.75),
    "R2 packed, 3.7x fewer writes": ({"grouping": "packed"}, 1 / 3.7),
}
DAY_S, YEAR_S = 86_400.0, 365.25 * 86_400.0
INTERVALS_S = {"day": DAY_S, "week": 7 * DAY_S, "month": 30 * DAY_S}
IMAGES_PER_S, YEARS = 30, 10  # of the lifetime that is asked for
WANTED = YEARS * YEAR_S * IMAGES_PER_S
DEVICES: dict[str, dict[str, Any]] = {"rram_wan2022": {}, "pcm_iterative": {}, "pcm_hermes": {"devices": 2}}
AGES_S = {"fresh": 0.0, "hour": 3600.0, "day": DAY_S, "2 days": 2 * DAY_S, "week": 7 * DAY_S, "month": 30 * DAY_S}


def run(results: Path, progress: Progress) -> None:
    """Write ``lifetime.csv`` and ``refresh.csv``."""
    cases: dict[str, Any] = {}
    for network, technology in product(NETWORKS, ENDURANCES):
        for scheme, batch in product(REWRITES, BATCHES):
            cases[f"{network} {technology} {scheme} {batch}"] = partial(_rewriting, network, technology, scheme, batch)
        for scheme in ("basisn_inferred", "basis_broadcast"):
            cases[f"{network} {technology} {scheme}"] = partial(_refreshing, network, technology, scheme)
    found = kept(results, "lifetime", cases, progress)
    save(results, "refresh", [row for kind in DEVICES for row in _deviations(kind)])
    save(results, "lifetime", [row for rows in found.values() for row in rows])


def _rewriting(network: str, technology: str, scheme: str, batch: int) -> Rows:
    options, programmed_frac = REWRITES[scheme]
    plan = plan_for(request(network, chip(WRITES[technology]), "reprogram", options, batch))
    writes = programmings_per_batch(plan) * programmed_frac
    return [
        {
            "network": network, "technology": technology, "endurance_writes": endurance, "scheme": scheme,
            "batch": batch, "refresh": None, "programmings_per_image": writes / batch,
            "lifetime_images": (images := lifetime_images(batch, endurance, writes)),
            "years_at_30_images_per_s": images / IMAGES_PER_S / YEAR_S,
            "batch_for_10_years": batch_for(WANTED, endurance, writes),
            "refresh_cycles_per_image": None, "refresh_energy_pj_per_image": None,
        }
        for endurance in ENDURANCES[technology]
    ]  # fmt: skip


def _refreshing(network: str, technology: str, scheme: str) -> Rows:
    """A basis that is written once, and again after every day, week or month."""
    report = execute(request(network, chip(WRITES[technology]), scheme, {}, 1))
    rows: Rows = []
    for (name, interval_s), endurance in product(INTERVALS_S.items(), ENDURANCES[technology]):
        cost = refresh(report, interval_s, IMAGES_PER_S)
        images = cost.lifetime_images(endurance)
        rows.append({
            "network": network, "technology": technology, "endurance_writes": endurance, "scheme": scheme,
            "batch": None, "refresh": name, "programmings_per_image": cost.programmings_per_image,
            "lifetime_images": images, "years_at_30_images_per_s": images / IMAGES_PER_S / YEAR_S,
            "batch_for_10_years": 1 if images >= WANTED else None,
            "refresh_cycles_per_image": cost.cycles_per_image,
            "refresh_energy_pj_per_image": cost.energy_pj_per_image,
        })  # fmt: skip
    return rows


def _deviations(kind: str) -> Rows:
    """How far cells are from their targets, and when that is 1.25 and 1.5 times as far as after the write."""
    device = load_device(kind, **DEVICES[kind])
    last_s, fresh = max(last for _, last in device.ages_s), deviation_frac(device, device.earliest_s)
    ages = {name: max(age_s, device.earliest_s) for name, age_s in AGES_S.items() if age_s <= last_s}
    rows = [{"device": kind, "what": f"deviation_frac, {name}", "value": deviation_frac(device, age_s)}
            for name, age_s in ages.items()]  # fmt: skip
    return rows + [
        {"device": kind, "what": f"refresh_interval_s for {factor} times the deviation of fresh cells",
         "value": refresh_interval_s(device, factor * fresh)}
        for factor in (1.25, 1.5)
    ]  # fmt: skip


# -- the figure --------------------------------------------------------------------------------------------------------

PANELS = (("RRAM", 1e4), ("RRAM", 1e6), ("RRAM", 1e9), ("PCM", 2e11))
NAMES = {"resnet18": "ResNet-18", "densenet121": "DenseNet-121"}
DASHES = {"day": "-", "week": "--", "month": ":"}


def draw(results: Path, figures: Path) -> None:
    """Images until the cells are worn out against batch: a row of panels per network, a column per endurance."""
    table = pd.read_csv(results / "lifetime.csv")
    with saved_figure(figures / "lifetime", "lifetime", (9.2, 5.6)) as (figure, _):
        panels = figure.subplots(len(NETWORKS), len(PANELS), sharex=True, sharey=True)
        for (i, network), (j, (technology, endurance)) in product(enumerate(NETWORKS), enumerate(PANELS)):
            here = table[(table["network"] == network) & (table["technology"] == technology)]
            _panel(panels[i, j], here[np.isclose(here["endurance_writes"], endurance)])
            if not i:
                panels[i, j].set_title(f"{technology}, {endurance:.0e} writes".replace("e+0", "e").replace("e+", "e"))
        for axes, network in zip(panels[:, 0], NETWORKS, strict=True):
            axes.set_ylabel(f"{NAMES[network]}\nimages until cells are worn out")
        for axes in panels[-1]:
            axes.set_xlabel("batch (images)")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    for number, scheme in enumerate(REWRITES):
        part = table[table["scheme"] == scheme].sort_values("batch")
        axes.plot(part["batch"], part["lifetime_images"], "o-" if number < 2 else "s--", color=COLOURS[number],
                  markersize=3, linewidth=1.1, label=scheme)  # fmt: skip
    for name, dashes in DASHES.items():
        part = table[(table["scheme"] == "basis_broadcast") & (table["refresh"] == name)]
        axes.axhline(float(part["lifetime_images"].iloc[0]), linestyle=dashes, color="#000000", linewidth=1.1,
                     label=f"basis, refreshed every {name}")  # fmt: skip
    axes.axhline(WANTED, color=COLOURS[4], linewidth=3, alpha=0.5, label=f"{YEARS} years at {IMAGES_PER_S} images/s")
    axes.set(xscale="log", yscale="log", ylim=(30, 1e20))
    axes.set_xticks([1, 16, 256, 4096], ["1", "16", "256", "4,096"])
    axes.set_yticks([10.0**i for i in range(2, 20, 4)])
    axes.minorticks_off()


if __name__ == "__main__":
    alone("lifetime", run, draw)
