"""Draw figures of a comparison and of a run: cycles against batch, energy by component, critical path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imcsim.hardware.actions import Component
from imcsim.reporting.figures.style import COLOURS, GREY, MARKERS, PANEL_INCHES, legend_below, saved_figure
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.util import units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame, Series


BASELINES = ("reprogram", "reprogram_packed")  # the better of these is the baseline of a crossover
COMPONENT_COLOURS = {component.value: component.colour for component in Component}
KIND_COLOURS = {kind.value: kind.colour for kind in ResourceKind}


Crossing = tuple[str, float]
"""(scheme, batch at which it meets the baseline)"""


def cycles_against_batch(
    frame: DataFrame,
    path: str | Path,
    title: str = "Cycles per inference against batch",
    crossings: Mapping[str, Sequence[Crossing]] | None = None,
) -> list[Path]:
    """Draw cycles per inference against batch, log-log, one line per scheme and one panel per write preset.

    ``frame`` has the columns scheme, batch, cycles_per_inference and, for several panels, write. Rings mark the batch
    at which a scheme meets the baseline: those of ``crossings`` by write preset, or what straight lines between the
    points give. ``path`` is a directory, or a file without suffix. Returns the two files; raises ImcsimError where they
    cannot be written.
    """
    frame = frame.dropna(subset=["cycles_per_inference"])
    writes = list(dict.fromkeys(frame["write"])) if "write" in frame else [""]
    schemes = list(dict.fromkeys(frame["scheme"]))
    inches = (PANEL_INCHES[0] * len(writes) + 0.4, PANEL_INCHES[1] + 0.9)
    with saved_figure(path, "cycles_against_batch", inches) as (figure, files):
        panels = figure.subplots(1, len(writes), sharey=True, squeeze=False)[0]
        for axes, write in zip(panels, writes, strict=True):
            curves = _curves(frame[frame["write"] == write] if write else frame)
            rings = _crossings(curves) if crossings is None else crossings.get(write, ())
            _cycles_panel(axes, curves, schemes, rings)
            axes.set_title(f"write: {write}" if write else "", loc="left")
        panels[0].set_ylabel("cycles per inference")
        legend_below(figure, panels, len(writes))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return files


Curves = Mapping[str, "Series[float]"]
"""scheme -> cycles per inference by batch"""


def _curves(frame: DataFrame) -> Curves:
    parts = frame.sort_values("batch").groupby("scheme", sort=False)
    return {str(scheme): part.set_index("batch")["cycles_per_inference"].astype(float) for scheme, part in parts}


def _cycles_panel(axes: Axes, curves: Curves, schemes: Sequence[str], crossings: Sequence[Crossing]) -> None:
    for scheme, curve in curves.items():
        look = schemes.index(scheme) % len(COLOURS)
        dashes = "--" if scheme in BASELINES else "-"
        axes.plot(curve.index, curve, dashes, color=COLOURS[look], label=scheme, marker=MARKERS[look], markersize=4.5)
    batches = sorted({batch for curve in curves.values() for batch in curve.index})
    axes.set(xscale="log", yscale="log", xlabel="batch (images)")
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    for number, (scheme, batch) in enumerate(sorted(crossings, key=lambda crossing: crossing[1])):
        x, y = np.log(curves[scheme].index.to_numpy(float)), np.log(curves[scheme].to_numpy(float))
        place = (batch, float(np.exp(np.interp(np.log(batch), x, y))))
        axes.plot(*place, "o", markersize=10, markerfacecolor="none", markeredgecolor="#333333")
        paper = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
        side = (0, -16 if number % 2 else 8)  # neighbours below and above in turn
        axes.annotate(f"{batch:.3g}", place, xytext=side, textcoords="offset points", ha="center",
                      fontsize=8, color="#333333", bbox=paper)  # fmt: skip


def _crossings(curves: Curves) -> list[Crossing]:
    """Return (scheme, batch) where a scheme meets the lower baseline, on straight lines between the logarithms."""
    base = [curves[name] for name in BASELINES if name in curves]
    if not base:
        return []
    lowest = base[0] if len(base) == 1 else base[0].combine(base[1], min)
    crossings: list[Crossing] = []
    for scheme, curve in curves.items():
        common = curve.index.intersection(lowest.index)
        if scheme not in BASELINES and len(common) > 1:
            x, y, b = (np.log(np.asarray(values, float)) for values in (common, curve[common], lowest[common]))
            crossings += [(scheme, float(np.exp(at))) for at in _zeros(x, y - b)]
    return crossings


def _zeros(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> list[float]:
    """Return where straight lines through the points change sign."""
    change = np.flatnonzero(y[:-1] * y[1:] < 0)
    return [float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i])) for i in change]


def energy_stack(energies_pj: Mapping[str, Mapping[str, float]], path: str | Path) -> list[Path]:
    """Draw the share of each component in the energy per inference, one bar per run, with its total at the end.

    ``energies_pj``: run -> component -> pJ, such as ``{"static": report.summary["energy_by_component_pj"]}``.
    Components below 1 % everywhere are drawn together. ``path``, return, errors: as ``cycles_against_batch``.
    """
    from pandas import DataFrame

    frame = DataFrame(energies_pj).T.fillna(0.0).astype(float)
    total_pj = frame.sum(axis=1)
    shares = frame.div(total_pj.where(total_pj > 0, 1.0), axis=0) * 100
    shown = shares.loc[:, (shares >= 1).any()]
    shown = shown[shown.sum().sort_values(ascending=False, kind="stable").index]
    rest = (100 - shown.sum(axis=1)).clip(lower=0.0)
    with saved_figure(path, "energy_stack", (7.2, 1.5 + 0.42 * len(shown))) as (figure, files):
        axes = figure.subplots()
        _stacked(axes, shown.assign(other=rest) if (rest > 0.05).any() else shown, COMPONENT_COLOURS)
        for row, energy_pj in enumerate(total_pj):
            axes.text(101, row, units.si(energy_pj / units.PJ_PER_J, "J", 3), va="center")
        axes.set(xlim=(0, 100), xlabel="share of the energy per inference (%)")
        legend_below(figure, [axes], 2)
    return files


def critical_path_bar(critical_path: DataFrame, path: str | Path, n_layers: int = 15) -> list[Path]:
    """Draw the layers that hold the makespan longest, by kind of resource, in per cent of it.

    ``critical_path``: the table of a report. ``path``, return, errors: as ``cycles_against_batch``.
    """
    table = critical_path.pivot_table(index="layer", columns="kind", values="percent", aggfunc="sum", fill_value=0.0)
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    top, rest = table.iloc[:n_layers], table.iloc[n_layers:]
    top = top[top.sum().sort_values(ascending=False, kind="stable").index]
    top = top.loc[:, top.max() >= 0.005 * top.to_numpy().sum(axis=1).max(initial=0.0)]
    with saved_figure(path, "critical_path", (7.2, 1.4 + 0.27 * len(top))) as (figure, files):
        axes = figure.subplots()
        length = _stacked(axes, top, KIND_COLOURS)
        for row, share in enumerate(length):
            axes.text(share, row, f" {share:.1f}", va="center", fontsize=8)
        others = f"; {len(rest)} more layers take {rest.to_numpy().sum():.1f} %" if len(rest) else ""
        axes.set(xlabel=f"share of the makespan (%){others}", xlim=(0, 1.1 * length.max(initial=0.1)))
        legend_below(figure, [axes], 2)
    return files


def _stacked(axes: Axes, table: DataFrame, colours: Mapping[str, str]) -> np.ndarray[Any, Any]:
    """Draw a horizontal bar per row, a piece per column, the first row on top; return the lengths."""
    left = np.zeros(len(table))
    for column in table:
        width = table[column].to_numpy(float)
        colour = colours.get(str(column), GREY)
        axes.barh(table.index.astype(str), width, left=left, height=0.7, label=str(column), color=colour)
        left += width
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return left
