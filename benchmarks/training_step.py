"""What a step of training takes on a chip of PCM pairs: choices of outer products, updates and accumulators.

Usage: python benchmarks/training_step.py

Writes training_step.csv beside this file, and docs/figures/training_step.png and .svg.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.training.step.events import EVENTS
from imcsim.training.step.options import StepOptions
from imcsim.training.step.step import train_step
from imcsim.util.files import new_file

NETWORKS, HARDWARE, BATCH = ("resnet20_cifar", "resnet32_cifar"), "hermes-64", 100
OUTER: tuple[dict[str, Any], ...] = (
    {"outer": "digital"}, *({"outer": "pulses", "pulse_length": length} for length in (1, 4, 16, 64)),
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
TABLE, FIGURE = ROOT / "benchmarks" / "training_step.csv", ROOT / "docs" / "figures" / "training_step"
MJ, MS = 1e9, 1e6  # pJ, ns
SHOWN = "resnet32_cifar"
BARS = (  # update, accumulator, outer products, slots
    ("batch", "pcm", "digital", ""), ("batch", "pcm", "pulses", 16), ("batch", "dram", "digital", ""),
    ("sample", "pcm", "digital", ""), ("sample", "pcm", "pulses", 16), ("sample", "sram", "digital", ""),
    ("sample", "dram", "digital", ""),
)  # fmt: skip


def cases() -> Iterator[dict[str, Any]]:
    """Options of all runs; the last ones change one thing of the first."""
    for update in ("batch", "sample"):
        for accumulator in ("pcm", "sram", "dram"):
            for outer in OUTER:
                yield {"update": update, "accumulator": accumulator, **outer}
    yield {"transpose_adc": "shared"}
    yield {"circuit": "pcm_driven"}
    yield {"circuit": "pcm_driven", "update": "sample"}


def row(network: str, given: dict[str, Any]) -> dict[str, Any]:
    """One run: options, headline figures, time and energy by event."""
    options = StepOptions(batch=BATCH, **given)
    report = train_step(network, HARDWARE, options)
    step, events = report.summary["step"], report.events.set_index("event")
    chosen = options.model_dump(include={"outer", "update", "accumulator", "transpose_adc", "circuit"})
    return {
        "network": network, "hardware": HARDWARE, "batch": BATCH, **chosen,
        "pulse_length": options.pulse_length if options.outer == "pulses" else "",
        "step_ms": step["time_ns"] / MS, "step_mj": step["energy_pj"] / MJ,
        "edp_mj_ms": step["edp_pj_ns"] / MJ / MS, "area_mm2": report.costs.area_um2 / 1e6,
        "accumulator_bits": report.memory["accumulator_bits"],
        **{f"{event}, ms": events["time_ns"][event] / MS for event in EVENTS},
        **{f"{event}, mj": events["energy_pj"][event] / MJ for event in EVENTS},
    }  # fmt: skip


def draw(table: pd.DataFrame) -> None:
    """Stacked bars of energy and time per step, by event, of some choices."""
    mine = table[(table["network"] == SHOWN) & (table["transpose_adc"] == "bank") & (table["circuit"] == "pcm_binary")]
    known = mine.set_index(["update", "accumulator", "outer", "pulse_length"]).loc[list(BARS)]
    names = ["\n".join(map(str, bar)).rstrip() for bar in BARS]
    with saved_figure(FIGURE, "training_step", (9.5, 4.6)) as (figure, _):
        panels = figure.subplots(1, 2)
        for axes, unit, title in zip(panels, ("mj", "ms"), ("energy per step, mJ", "time per step, ms"), strict=True):
            heights = known[[f"{event}, {unit}" for event in EVENTS]].to_numpy(float)
            for event, colour, height, bottom in zip(EVENTS, COLOURS, heights.T, _below(heights), strict=True):
                axes.bar(names, height, 0.7, bottom, color=colour, label=event)
            axes.set_title(title, loc="left")
            axes.tick_params("x", labelsize=8)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        title = f"HIC-style training: {SHOWN} on {HARDWARE}, {BATCH} images a step"
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _below(heights: np.ndarray) -> np.ndarray:
    """(events, bars) what lies below each part of the bars."""
    return (heights.cumsum(axis=1) - heights).T


def main() -> None:
    rows = []
    for network in NETWORKS:
        for given in cases():
            rows.append(row(network, given))
            print(f"{network} {given}: {rows[-1]['step_ms']:.2f} ms, {rows[-1]['step_mj']:.3f} mJ", flush=True)
    table = pd.DataFrame(rows)
    with new_file(TABLE) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    draw(pd.read_csv(TABLE, keep_default_na=False, converters={"pulse_length": lambda text: int(text) if text else ""}))


if __name__ == "__main__":
    main()
