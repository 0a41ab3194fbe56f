"""Draw what a run with images shows: accuracy over time, noise by layer, what writing took, and its cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.chip import WrittenChip
from imcsim.functional.evaluate import EvaluationResult
from imcsim.hardware.chip import ResistiveWires
from imcsim.hardware.devices import Floats
from imcsim.hardware.hardware import Hardware
from imcsim.reporting.figures.cells import conductances, ir_drop
from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.util.units import age

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Entry = Mapping[str, Any]
Array = NDArray[Any]
BLUE, RED, DARK = *COLOURS[:2], "#333333"
LEAST_DB, LEAST_PERCENT = 10.0, 0.1  # of the axes of signal to noise and of saturated conversions
ROOM = 1.22  # of those axes, for the numbers at the ends of bars
TICK_DECADES = 0.35  # between ages that are both named
MOST_OUTLINED = 1024  # crossbars of a map
LEAST_MAP_INCHES, MOST_MAP_INCHES = 2.6, 8.0


@dataclass(frozen=True)
class Drawing:
    """Describe one figure: its file, its size, and what fills it."""

    name: str
    inches: tuple[float, float]
    fill: Callable[[Figure], None]


def draw_values(measured: EvaluationResult, folder: str | Path) -> list[Path]:
    """Draw all figures that have something to show, as PNG and SVG in a folder that exists; returns the files."""
    files: list[Path] = []
    for drawing in drawings(measured):
        with saved_figure(folder, drawing.name, drawing.inches) as (figure, drawn):
            drawing.fill(figure)
        files += drawn
    return files


def drawings(measured: EvaluationResult) -> Iterator[Drawing]:
    """Return the figures of a run: those of its chips, then those of its first chip."""
    entry, chip, reading = measured.entry, measured.chip, measured.reading
    hardware = reading.hardware
    if len(entry["ages"]) > 1:
        yield Drawing("accuracy_over_time", (6.4, 3.9), lambda figure: accuracy_over_time(figure, entry))
    letters = max((len(layer["layer"]) for layer in entry["layers"]), default=0)
    size = (6.0 + 0.08 * letters, 1.5 + 0.27 * len(entry["layers"]))
    yield Drawing("snr_by_layer", size, lambda figure: snr_by_layer(figure, entry))
    if chip.pulses.any():
        yield Drawing("pulses_per_cell", (6.4, 3.6), lambda figure: pulses_per_cell(figure, chip.pulses))
    if chip.most_programmings[0]:
        height = float(np.clip(1.2 + 0.12 * hardware.chip.n_tiles, LEAST_MAP_INCHES, MOST_MAP_INCHES))
        yield Drawing("wear", (5.6, height), lambda figure: wear(figure, chip, hardware))
    if chip.cells:
        yield Drawing("conductances", (7.2, 4.0), lambda figure: conductances(figure, measured))
    wires = hardware.crossbar.wires
    if chip.cells and isinstance(wires, ResistiveWires):
        yield Drawing("ir_drop", (5.6, 4.8), lambda figure: ir_drop(figure, chip, reading, wires))


# -- all chips ---------------------------------------------------------------------------------------------------------


def accuracy_over_time(figure: Figure, entry: Entry) -> None:
    """Draw the mean over the chips by age with its interval, worst and best chip, and what exact integers reach."""
    axes, ages = figure.subplots(), sorted(entry["ages"], key=lambda age: float(age["age_s"]))
    n_chips, exact = len({chip["seed"] for chip in entry["chips"]}), 100 * entry["exact_accuracy_frac"]
    at_s = [age["age_s"] for age in ages]
    mean, (low, high), (worst, best) = (
        100 * np.array([age[key] for age in ages]).T
        for key in ("accuracy_frac", "accuracy_interval_95_frac", "accuracy_range_frac")
    )
    axes.axhline(exact, color=DARK, ls="--", lw=1, label=f"without errors, {exact:.1f} %")
    if n_chips > 1:
        axes.fill_between(at_s, worst, best, color=BLUE, alpha=0.2, lw=0, label="worst to best chip")
    reach = np.maximum([mean - low, high - mean], 0)
    label = "mean, 95 % interval over images" if n_chips > 1 else "accuracy, 95 % interval over images"
    axes.errorbar(at_s, mean, reach, color=BLUE, marker="o", markersize=4.5, capsize=3, elinewidth=1, label=label)
    _time_axis(axes, at_s)
    axes.set(xlabel="time after programming", ylabel="accuracy (%)")
    chips = f"{n_chips} chip{'s' if n_chips > 1 else ''}"
    axes.set_title(f"{entry['device']['kind']}, {chips}, {entry['images']:,} images", loc="left")
    figure.legend(loc="outside lower center", ncols=3)


def _time_axis(axes: Axes, ages_s: Sequence[float]) -> None:
    """Make the axis logarithmic from the first age after 0 on; 0, where it is there, lies one decade before it."""
    first = min(age_s for age_s in ages_s if age_s)
    fresh = min(ages_s) == 0
    axes.set_xscale("symlog", linthresh=first, linscale=1.0) if fresh else axes.set_xscale("log")
    places = [math.log10(age_s / first) if age_s else -1.0 for age_s in ages_s]
    ticks = [0]
    for number, place in enumerate(places):
        if place - places[ticks[-1]] > TICK_DECADES:
            ticks.append(number)
    axes.set_xticks([ages_s[number] for number in ticks], [age(ages_s[number]) for number in ticks])
    axes.minorticks_off()
    span = max(places) - places[0]
    axes.set_xlim(-0.1 * first if fresh else ages_s[0] / 10 ** (0.04 * span), ages_s[-1] * 10 ** (0.04 * span))


def snr_by_layer(figure: Figure, entry: Entry) -> None:
    """Draw signal to noise of each layer's sums, and beside it how many of its conversions left the ADC's range."""
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2), gridspec_kw={"wspace": 0.08})
    layers = entry["layers"]
    names = [layer["layer"] for layer in layers]
    snr_db = [layer["snr"].get("db", 0.0) for layer in layers]
    saturated = [100 * layer["saturated_frac"] for layer in layers]
    for axes, values, colour in ((left, snr_db, BLUE), (right, saturated, RED)):
        axes.barh(names, values, height=0.7, color=colour)
        axes.grid(visible=False, axis="y")
    for row, layer in enumerate(layers):
        noisy = layer["snr"]["kind"] == "noisy"
        _beside(left, row, max(snr_db[row], 0.0), f"{snr_db[row]:z.1f}" if noisy else layer["snr"]["kind"])
        _beside(right, row, saturated[row], f"{saturated[row]:.2g}")
    left.set(xlabel="signal to noise (dB)", xlim=(ROOM * min([*snr_db, 0]), ROOM * max([*snr_db, LEAST_DB])))
    right.set(xlabel="saturated conversions (%)", xlim=(0, ROOM * max([*saturated, LEAST_PERCENT])))
    right.locator_params(axis="x", nbins=4)
    left.set_ylim(len(layers) - 0.5, -0.5)
    left.set_title(f"{entry['device']['kind']}, {age(entry['age_s'])} after programming", loc="left")


def _beside(axes: Axes, row: int, end: float, text: str) -> None:
    axes.text(end, row, f" {text}", va="center", fontsize=8, color=DARK)


# -- writing -----------------------------------------------------------------------------------------------------------


def pulses_per_cell(figure: Figure, counts: Array) -> None:
    """Draw how many cells took 0, 1, ... pulses in one write."""
    axes, most = figure.subplots(), int(np.flatnonzero(counts)[-1])
    axes.stairs(counts[: most + 1], np.arange(most + 2) - 0.5, baseline=0.5, fill=True, color=BLUE)
    mean = float(np.arange(len(counts)) @ counts / counts.sum())
    axes.axvline(mean, color=RED, lw=1.4)
    axes.set(yscale="log", ylim=(0.5, None), xlabel="pulses in one write", ylabel="cells")
    axes.set_title(f"{counts.sum():,} cells: {mean:.3g} pulses on average (line), at most {most:,}", loc="left")


def wear(figure: Figure, chip: WrittenChip, hardware: Hardware) -> None:
    """Draw how often the most written cell of each crossbar is programmed in a batch; the never written stay grey."""
    from matplotlib.ticker import MaxNLocator

    axes, most = figure.subplots(), wear_map(chip, hardware)
    axes.set_facecolor("#eeeeee")
    edges = [np.arange(size + 1) - 0.5 for size in reversed(most.shape)]
    width = 0.4 if most.size <= MOST_OUTLINED else 0.0
    shown = axes.pcolormesh(*edges, most, cmap="viridis", vmin=0, rasterized=True, edgecolor="white", linewidth=width)
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.set(xlabel="crossbar of the tile", ylabel="tile")
    bar = figure.colorbar(shown, label="programmings of a cell in a batch")
    for axis in (axes.xaxis, axes.yaxis, bar.ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Most written cell of each crossbar", loc="left")


def wear_map(chip: WrittenChip, hardware: Hardware) -> Floats:
    """Return (tiles, crossbars) of the chip; not a number where nothing is written in a batch."""
    most = np.full(hardware.n_crossbars, np.nan)
    for crossbar, counts in chip.programmings.items():
        most[crossbar] = counts.max()
    return most.reshape(hardware.chip.n_tiles, hardware.tile.n_crossbars)
