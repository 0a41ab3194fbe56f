"""Draw a device: errors of writes against target, drift over time, noise of reads against conductance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imcsim.hardware.devices import DeviceSpec
from imcsim.reporting.explain.device import AGES_S, Sample, closed_form_usiemens, first_age_s, holds, sample
from imcsim.reporting.figures.style import COLOURS, PANEL_INCHES, saved_figure
from imcsim.util.units import age

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_TARGETS, N_LEVELS, N_TIMES = 41, 5, 60
Z_95 = 1.6448536269514722  # 95 % of a normal distribution lie below so many standard deviations
TICKS_S = {0.0: "0", 1.0: "1 s", 60.0: "1 min", 3600.0: "1 h", 86_400.0: "1 d", 365 * 86_400.0: "1 y"}
LONGEST_S = AGES_S["1 y"]
DASHES = ("-", "--", "-.", ":")


def draw_device(device: DeviceSpec, folder: str | Path, seed: int = 0) -> list[Path]:
    """Draw three panels as ``device_KIND.png`` and ``.svg`` in a folder, which is made; sampled cells, none stuck.

    Returns the two files; raises ImcsimError where they cannot be written.
    """
    many, few = sample(device, N_TARGETS, seed), sample(device, N_LEVELS, seed)
    name = f"device_{device.kind}"
    with saved_figure(Path(folder) / name, name, (3 * PANEL_INCHES[0], PANEL_INCHES[1] + 0.8)) as (figure, files):
        panels = figure.subplots(1, 3)
        _writes(panels[0], many)
        _drift(panels[1], few)
        _reads(panels[2], many)
        for axes in panels:
            _legend(axes)
        figure.suptitle(_title(device), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return files


def _title(device: DeviceSpec) -> str:
    given = {key: value for key, value in device.model_dump(exclude_unset=True).items() if key != "kind"}
    return ", ".join([device.kind, *(f"{key} = {value}" for key, value in given.items())])


def _writes(axes: Axes, cells: Sample) -> None:
    """Draw quantiles of sampled errors, and where the closed form has 5 and 95 %."""
    targets, colour = cells.targets_usiemens, COLOURS[0]
    error = cells.cells.programmed_usiemens - targets[:, None]
    least, low, middle, high, most = np.quantile(error, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    axes.fill_between(targets, least, most, color=colour, alpha=0.18, lw=0, label="5 to 95 %, sampled")
    axes.fill_between(targets, low, high, color=colour, alpha=0.35, lw=0, label="25 to 75 %")
    levels = "" if cells.device.n_levels == "continuous" else "o"
    axes.plot(targets, middle, color=colour, marker=levels, markersize=4, label="median")
    sigma = closed_form_usiemens(cells.device, targets)
    if sigma is not None:
        label = "closed form, 5 and 95 %"
        axes.plot(targets, Z_95 * sigma, "--", color="#333333", lw=1, label=label)
        axes.plot(targets, np.maximum(-Z_95 * sigma, -targets), "--", color="#333333", lw=1)
    if not error.any():
        _nothing(axes, "every target is reached")
        axes.set_ylim(*(side * 0.05 * cells.device.g_max_usiemens for side in (-1, 1)))
    axes.set(xlabel="target (uS)", ylabel="programmed - target (uS)")
    axes.set_title("Programming error", loc="left")


def _drift(axes: Axes, cells: Sample) -> None:
    """Draw median and 5 to 95 % of the cells of each level over the ages at which the model holds."""
    for ages_s in _spans(cells.device):
        bands = np.quantile([cells.conductance_usiemens(at_s) for at_s in ages_s], [0.05, 0.5, 0.95], axis=2)
        for level, target in enumerate(cells.targets_usiemens):
            low, middle, high = bands[:, :, level]
            colour, label = COLOURS[level], f"{target:.4g} uS"
            if len(ages_s) == 1:
                reach = np.maximum([middle - low, high - middle], 0)
                axes.errorbar(ages_s, middle, reach, color=colour, marker="o", markersize=4, capsize=3, label=label)
            else:
                axes.fill_between(ages_s, low, high, color=colour, alpha=0.2, lw=0)
                axes.plot(ages_s, middle, color=colour, label=label)
    axes.set_xscale("symlog", linthresh=1, linscale=0.8)
    axes.set_xticks(list(TICKS_S), list(TICKS_S.values()))
    axes.minorticks_off()
    axes.set(xlim=(-0.3, 1.3 * LONGEST_S), xlabel="age", ylabel="conductance (uS)")
    axes.set_title("Drift: median, 5 to 95 % of cells", loc="left")
    if max(high for _, high in cells.device.ages_s) == 0:
        _nothing(axes, "the model holds at age 0 only")


def _spans(device: DeviceSpec) -> list[list[float]]:
    """Return ages to draw, for each interval in which the model holds, up to a year."""
    drawn = []
    for low, high in device.ages_s:
        begin, end = max(low, 1.0), min(high, LONGEST_S)
        later = list(np.geomspace(begin, end, N_TIMES)) if end > begin else []
        drawn.append(sorted({low, *np.clip(later, low, end)}))
    return drawn


def _reads(axes: Axes, cells: Sample) -> None:
    """Draw the standard deviation of a read against mean conductance, at several ages."""
    fresh = first_age_s(cells.device)
    ages_s = {f"fresh ({age(fresh)})": fresh, **{name: at for name, at in AGES_S.items() if holds(cells.device, at)}}
    noisy = False
    for number, (name, at_s) in enumerate(ages_s.items()):
        sigma = cells.read_sigma_usiemens(at_s)
        noisy |= bool(sigma.any())
        place = cells.conductance_usiemens(at_s).mean(axis=1)
        axes.plot(place, sigma, DASHES[number], color=COLOURS[number], label=name)
    if not noisy:
        _nothing(axes, "reads are without noise")
    top = axes.get_ylim()[1] if noisy else 0.05 * cells.device.g_max_usiemens
    axes.set(ylim=(0, top), xlabel="mean conductance (uS)", ylabel="standard deviation of a read (uS)")
    axes.set_title("Read noise", loc="left")


def _legend(axes: Axes) -> None:
    """Draw one entry for each label, below the panel."""
    entries = {label: handle for handle, label in reversed([*zip(*axes.get_legend_handles_labels(), strict=True)])}
    named = dict(reversed(entries.items()))
    columns = 2 if len(named) <= 4 else 3
    axes.legend(named.values(), named, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns, fontsize=8)


def _nothing(axes: Axes, sentence: str) -> None:
    axes.text(0.5, 0.75, sentence, transform=axes.transAxes, ha="center", color="#666666")
