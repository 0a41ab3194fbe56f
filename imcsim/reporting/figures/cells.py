"""Draw cells: where they ended up, and what the resistance of wires takes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.chip import WrittenChip
from imcsim.functional.evaluate import EvaluationResult
from imcsim.functional.reading import Reading
from imcsim.hardware.chip import ResistiveWires
from imcsim.hardware.devices import Cells, Floats
from imcsim.reporting.figures.style import COLOURS
from imcsim.util.units import age

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Conductance = Callable[[str, Cells], Floats]  # of the cells of a content, in uS
BLUE, RED, DARK = *COLOURS[:2], "#333333"
N_BINS = 200  # of conductances
MOST_VIOLINS = 16
LEAST_WIDTH = 0.02  # of a violin where there is a cell, of its largest width


def conductances(figure: Figure, measured: EvaluationResult) -> None:
    """Draw how the conductances of all cells are distributed by target, as programmed and as first read."""
    readings = {content: _reading_of(content, measured) for content, _ in measured.chip.cells}
    panels: list[tuple[str, Conductance]] = [("As programmed", lambda _, cells: cells.programmed_usiemens)]
    ages_s = sorted({reading.age_s for reading in readings.values()})
    if ages_s[-1]:
        title = f"{', '.join(map(age, ages_s))} after programming"
        panels.append((title, lambda name, cells: _read_usiemens(readings[name], cells)))
    for number, axes in enumerate(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]):
        title, of = panels[number]
        targets, counts, edges = by_target(measured.chip, measured.reading, of)
        draw = _violins if len(targets) <= MOST_VIOLINS else _density
        draw(axes, targets, counts, edges)
        axes.set(xlabel="target (uS)", ylabel="" if number else "conductance (uS)")
        axes.set_title(title, loc="left")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _reading_of(content: str, measured: EvaluationResult) -> Reading:
    return measured.reading.when_fresh() if content in measured.rewritten else measured.reading


def _read_usiemens(reading: Reading, cells: Cells) -> Floats:
    """Return where cells are at the age of a reading."""
    return reading.device.conductance_usiemens(cells, reading.age_s)


def by_target(chip: WrittenChip, reading: Reading, of: Conductance) -> tuple[Floats, Array, Floats]:
    """Return targets (levels,) in uS, cells (levels, bins) of each, and the edges (bins + 1,) of conductances in uS."""
    device = reading.device
    targets = np.linspace(device.g_min_usiemens, device.g_max_usiemens, 1 << reading.hardware.crossbar.bits_per_cell)
    ends = np.array([(values.min(), values.max()) for values in _each(chip, of)])
    beyond = device.g_max_usiemens / N_BINS  # so that there is a range even where all cells are alike
    edges = np.linspace(ends.min() - beyond, ends.max() + beyond, N_BINS + 1)
    nearest = np.concatenate([[-np.inf], (targets[1:] + targets[:-1]) / 2, [np.inf]])
    counts = sum(
        np.histogram2d(cells.target_usiemens.ravel(), values.ravel(), (nearest, edges))[0]
        for cells, values in zip(chip.cells.values(), _each(chip, of), strict=True)
    )
    return targets, np.asarray(counts), edges


def _each(chip: WrittenChip, of: Conductance) -> Iterator[Floats]:
    """Yield crossbar by crossbar, so that not all are there at the same time."""
    return (of(content, cells) for (content, _), cells in chip.cells.items())


def _violins(axes: Axes, targets: Floats, counts: Array, edges: Floats) -> None:
    """Draw one violin for each target, as wide as its fullest bin and never too thin to see; a dot at the median."""
    width, middles = 0.42 * (targets[1] - targets[0]), (edges[1:] + edges[:-1]) / 2
    axes.hlines(targets, targets - width, targets + width, color=RED, lw=1.4, label="target")
    there = [(target, row) for target, row in zip(targets, counts, strict=True) if row.any()]
    for number, (target, row) in enumerate(there):
        half = np.where(row, width * np.maximum(row / row.max(), LEAST_WIDTH), 0.0)
        label = f"_{number}" if number else "cells"
        axes.fill_betweenx(middles, target - half, target + half, step="mid", color=BLUE, alpha=0.6, lw=0, label=label)
    medians = [middles[np.searchsorted(row.cumsum(), row.sum() / 2)] for _, row in there]
    axes.plot([target for target, _ in there], medians, "o", color=DARK, markersize=4, label="median")


def _density(axes: Axes, targets: Floats, counts: Array, edges: Floats) -> None:
    """Draw how many cells of each target are where, for more targets than there is room for violins."""
    half = (targets[1] - targets[0]) / 2
    sides, shown = np.append(targets - half, targets[-1] + half), np.where(counts, counts, np.nan).T
    cells = axes.pcolormesh(sides, edges, shown, norm="log", cmap="viridis", rasterized=True)
    axes.plot(targets, targets, color=RED, lw=1, label="target")
    axes.figure.colorbar(cells, ax=axes, label="cells")


def ir_drop(figure: Figure, chip: WrittenChip, reading: Reading, wires: ResistiveWires) -> None:
    """Draw what the wires leave of each cell on the crossbar that loses most conductance; cells near 0 stay grey.

    What they conduct is mostly what their neighbours let through.
    """
    axes, worst = figure.subplots(), most_lost(chip, wires)
    n_steps = (1 << reading.hardware.crossbar.bits_per_cell) - 1
    conducts = worst.programmed_usiemens > reading.device.g_max_usiemens / (2 * n_steps)  # half a level
    percent = np.full(conducts.shape, np.nan)
    percent[conducts] = 100 * worst.effective_usiemens[conducts] / worst.programmed_usiemens[conducts]
    shown = axes.imshow(percent, cmap="viridis", aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_facecolor("#dddddd")
    axes.set(xlabel="bitline (sensed at the bottom)", ylabel="wordline (driven from the left)")
    figure.colorbar(shown, label="effective over programmed conductance (%)")
    title = f"{worst.content}, crossbar {worst.number}: {100 * worst.lost_frac:.2g} % of its conductance lost"
    axes.set_title(title, loc="left")


@dataclass(frozen=True)
class Drop:
    """Hold a crossbar, (rows, columns), without its wires and as the ends of its lines see it."""

    content: str
    number: int
    programmed_usiemens: Floats
    effective_usiemens: Floats

    @property
    def lost_frac(self) -> float:
        """Return the share of all conductance that the wires take."""
        programmed = float(self.programmed_usiemens.sum())
        return 1 - float(self.effective_usiemens.sum()) / programmed if programmed else 0.0


def most_lost(chip: WrittenChip, wires: ResistiveWires) -> Drop:
    """Return the crossbar that loses the largest part of its conductance."""
    return max(_drops(chip, wires), key=lambda drop: drop.lost_frac)


def _drops(chip: WrittenChip, wires: ResistiveWires) -> Iterator[Drop]:
    for (content, number), cells in chip.cells.items():
        programmed = np.asarray(cells.programmed_usiemens, float)
        yield Drop(content, number, programmed, wires.effective_usiemens(programmed))
