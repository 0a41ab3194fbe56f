"""Draw figures of trainings from the tables of ``tables.py``, each as PNG and SVG. Every title says "HIC-style"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.training.hic.ageing import DAY_S, FIXES, HOUR_S, MINUTE_S
from imcsim.training.hic.wear import ENDURANCE_CYCLES, bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIND_LOOKS = {"float": ("o--", COLOURS[0], "32-bit floats"), "hybrid": ("s-", COLOURS[1], "hybrid cells")}
FIX_NAMES = {
    "none": "no repair",
    "global": "one factor a layer",
    "column": "one factor a column",
    "normalisation": "normalisations anew (AdaBS)",
}
MODEL_NAMES = {
    "pcm_accumulative": "all cells drift alike (J. Appl. Phys. 2018)",
    "pcm_iterative": "exponents by conductance, 1/f noise (ICECS 2019)",
}
AGE_NAMES = {1.0: "1 s", MINUTE_S: "1 min", HOUR_S: "1 h", DAY_S: "1 day", 30 * DAY_S: "1 month", 365 * DAY_S: "1 year"}
BITS_PER_KB = 8192
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # of a number that crosses a line
Mean = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def spread(table: pd.DataFrame, by: str, of: str = "accuracy_frac") -> pd.DataFrame:
    """Return mean, standard deviation and number over seeds, in the order of ``by``; fractions as per cent."""
    statistics = table.assign(**{of: 100 * table[of]}).groupby(by, sort=False)[of].agg(["mean", "std", "count"])
    return statistics.fillna({"std": 0.0})


def accuracy_against_size(runs: pd.DataFrame, title: str, path: str | Path) -> list[Path]:
    """Draw test accuracy against kilobytes for inference, over widths: mean and deviation over seeds.

    Lines mark the size and the accuracy of the float network at width 1.
    """
    from matplotlib.ticker import LogLocator

    with saved_figure(path, "accuracy_against_size", (6.4, 4.2)) as (figure, files):
        axes = figure.subplots()
        for kind, part in runs.sort_values("bits").groupby("weights", sort=False):
            style, colour, label = KIND_LOOKS[str(kind)]
            by_width = spread(part, "width")
            kb = part.groupby("width", sort=False)["bits"].first().to_numpy() / BITS_PER_KB
            axes.errorbar(kb, by_width["mean"], by_width["std"], fmt=style, color=colour, label=label, capsize=3)
            place, side = ((-4, 6), "right") if kind == "float" else ((4, -11), "left")  # of texts of either kind
            for size, width, height in zip(kb, by_width.index, by_width["mean"], strict=True):
                axes.annotate(
                    f"{width:g}x", (size, height), place, ha=side, textcoords="offset points", fontsize=8, color=colour
                )
        base = runs[(runs["weights"] == "float") & (runs["width"] == 1)]
        if len(base):
            axes.axvline(base["bits"].iloc[0] / BITS_PER_KB, color="#777777", linewidth=0.8, linestyle=":")
            axes.axhline(100 * base["accuracy_frac"].mean(), color="#777777", linewidth=0.8, linestyle=":")
        least, most = _wide_enough(*axes.get_ylim())
        axes.set(xscale="log", xlabel="model for inference (KB of logical bits)", ylim=(least, most))
        axes.set_ylabel("test accuracy (%)" + _cut(least))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)  # outside, where no point can lie
        _titled(figure, f"Accuracy against size, HIC-style: {title}")
    return files


def _wide_enough(least: float, most: float) -> tuple[float, float]:
    """Return limits in per cent at least two points apart, so that an image or two do not fill the figure."""
    room = max(0.0, 1.0 - (most - least) / 2)
    return max(0.0, least - room), most + room


def accuracy_over_time(ageing: pd.DataFrame, title: str, path: str | Path) -> list[Path]:
    """Draw accuracy from a second to a year for each model of drift (panels) and repair (lines), with its deviation."""
    models = list(dict.fromkeys(ageing["model"]))
    with saved_figure(path, "accuracy_over_time", (4.6 * len(models) + 0.6, 4.3)) as (figure, files):
        panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
        for axes, model in zip(panels, models, strict=True):
            part = ageing[ageing["model"] == model]
            for number, fix in enumerate(f for f in FIXES if f in set(part["fix"])):
                by_age = spread(part[part["fix"] == fix].sort_values("age_s"), "age_s")
                age_s, colour = by_age.index.to_numpy(float), COLOURS[number]
                axes.plot(age_s, by_age["mean"], "o-", color=colour, label=FIX_NAMES[fix], markersize=4)
                low, high = by_age["mean"] - by_age["std"], by_age["mean"] + by_age["std"]
                axes.fill_between(age_s, low, high, color=colour, alpha=0.15, linewidth=0)
            ages = sorted(part["age_s"].unique())
            axes.set(xscale="log", xlabel="time since the end of the training")
            axes.set_xticks(ages, [AGE_NAMES.get(age, f"{age:g} s") for age in ages], rotation=30)
            axes.minorticks_off()
            axes.set_title(MODEL_NAMES.get(model, model), loc="left", fontsize=9)
        least, most = _repaired_span(ageing)
        panels[0].set_ylabel("test accuracy (%)" + _cut(least))
        panels[0].set_ylim(least, most)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2 * len(models))
        _titled(figure, f"Accuracy over time, HIC-style: {title}")
    return files


def _repaired_span(ageing: pd.DataFrame) -> tuple[float, float]:
    """Return the per cent between which repaired networks lie, with room below; unrepaired ones may fall out."""
    repaired = ageing[ageing["fix"] != "none"] if (ageing["fix"] != "none").any() else ageing
    by_age = 100 * repaired.groupby(["model", "fix", "age_s"])["accuracy_frac"].agg(["mean", "std"]).fillna(0.0)
    least, most = float((by_age["mean"] - by_age["std"]).min()), float((by_age["mean"] + by_age["std"]).max())
    room = max(2.0, most - least)
    return max(0.0, least - room), most + 0.1 * room


def wear_histogram(histograms: pd.DataFrame, updates: int, title: str, path: str | Path) -> list[Path]:
    """Draw the share of cells by write-erase cycles for each part, the bound of accumulators, the band of endurance.

    ``histograms`` is of one network: its ``cycles`` have three digits.
    """
    parts = list(dict.fromkeys(histograms["part"]))
    with saved_figure(path, "wear", (6.8, 0.42 * len(parts) + 1.9)) as (figure, files):
        axes = figure.subplots()
        for row, part in enumerate(parts):
            histogram = histograms[histograms["part"] == part].sort_values("cycles")
            _ridge(axes, row, np.maximum(histogram["cycles"].to_numpy(float), 0.5), histogram["cells"].to_numpy(float))
        limit = bound(updates)
        bits = 1.2, len(parts) - 0.4  # rows of the accumulator's cells
        axes.plot([limit, limit], bits, color="#333333", linestyle="--", linewidth=1)
        axes.text(limit, bits[0], f" bound {limit:,}", fontsize=8, va="bottom", ha="left")
        axes.axvspan(*ENDURANCE_CYCLES, color="#009E73", alpha=0.15, linewidth=0)
        axes.text(1.2 * ENDURANCE_CYCLES[0], len(parts) - 0.6, "endurance\nas published", fontsize=8, va="bottom")
        axes.set_yticks(range(len(parts)), parts)
        axes.set(xscale="log", xlim=(0.4, 10 * ENDURANCE_CYCLES[0]), ylim=(len(parts) - 0.4, -1.3))
        seed = histograms["seed"].iloc[0]
        axes.set_xlabel(f"write-erase cycles in {updates:,} updates, three digits, seed {seed} (0 is drawn at 0.5)")
        axes.grid(visible=False, axis="y")
        _titled(figure, f"Wear, HIC-style: {title}")
    return files


def _ridge(axes: Axes, row: int, cycles: np.ndarray[Any, Any], cells: np.ndarray[Any, Any]) -> None:
    """Draw one part: its share of cells in 12 bins a decade, and its largest number of cycles."""
    edges = 10 ** np.arange(-0.35, np.log10(cycles.max()) + 0.2, 1 / 12)
    share, _ = np.histogram(cycles, edges, weights=cells)
    height = row - 0.8 * share / share.max()
    colour = COLOURS[1] if row < 2 else COLOURS[0]
    axes.fill_between(edges[:-1], row, height, step="post", color=colour, alpha=0.7, linewidth=0)
    axes.plot(cycles.max(), row - 0.12, "|", color=colour, markersize=9)
    axes.annotate(
        f"{cycles.max():,.0f}",
        (cycles.max(), row - 0.1),
        (5, 0),
        textcoords="offset points",
        fontsize=7.5,
        va="center",
        color=colour,
        bbox=BEHIND,
    )


def bars(runs: pd.DataFrame, columns: Sequence[tuple[str, str]], title: str, path: str | Path) -> list[Path]:
    """Draw one panel a column, one bar a variant: mean and deviation over seeds; ``columns``: (name, what to write)."""
    variants = list(dict.fromkeys(runs["variant"]))
    with saved_figure(path, "variants", (2.6 * len(columns) + 1.4, 0.34 * len(variants) + 1.3)) as (figure, files):
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for number, (axes, (column, label)) in enumerate(zip(panels, columns, strict=True)):
            by_variant = runs.groupby("variant", sort=False)[column].agg(["mean", "std"]).fillna(0.0)
            factor = 100 if column.endswith("_frac") else 1
            mean, error = factor * by_variant["mean"], factor * by_variant["std"]
            axes.barh(variants, mean, xerr=error, color=COLOURS[number], height=0.65, error_kw={"capsize": 3})
            if factor == 100:  # accuracies differ little: show where they do, and say so
                least = max(0.0, float(np.floor((mean - error).min() - 0.5)))
                axes.set_xlim(least, min(100.0, float((mean + error).max()) + 0.7))
                label += _cut(least)
            axes.set_xlabel(label)
            axes.grid(visible=False, axis="y")
        panels[0].invert_yaxis()
        _titled(figure, title)
    return files


def _cut(least: float) -> str:
    """Return what the name of an axis adds where it does not begin at zero."""
    return ", axis cut off" if least > 0 else ""


def _titled(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")
