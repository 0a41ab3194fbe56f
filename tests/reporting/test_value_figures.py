"""Do the figures of a run with images show what was measured, and only where there is something to show?"""

from __future__ import annotations

import io
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

import imcsim
from imcsim.functional.chip import WrittenChip
from imcsim.functional.evaluate import EvaluationResult
from imcsim.functional.reading import Reading
from imcsim.functional.trial import Trial
from imcsim.hardware.devices import Cells, Floats, load_device
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.reporting.figures import cells as cell_figures
from imcsim.reporting.figures import values as value_figures
from imcsim.reporting.report import Report
from imcsim.reporting.terminal import run as tables
from imcsim.util.journal import Journal
from tests.functional.test_evaluate import DATA, MODEL
from tests.reporting.test_report import documented

DPI = 200
OHMS = {f"crossbar.wires.{name}_ohm": ohm for name, ohm in
        {"wordline": 2.0, "bitline": 1.0, "driver": 100.0, "sense": 50.0}.items()}  # fmt: skip
PLAIN, WIRED = load_hardware("rram-256"), load_hardware("rram-256", {"crossbar.wires.kind": "resistive", **OHMS})
DEVICE = load_device("pcm_iterative")
LEVELS = np.linspace(0.0, DEVICE.g_max_usiemens, 4)
RNG = np.random.default_rng(3)


def at_age(age_s: float, low: float, high: float) -> dict[str, Any]:
    mean = (low + high) / 2
    return {"age_s": age_s, "accuracy_frac": mean, "accuracy_interval_95_frac": [mean - 0.2, mean + 0.1],
            "accuracy_range_frac": [low, high], "agreement_frac": 0.75}  # fmt: skip


AGES = [at_age(3600.0, 0.6, 0.8), at_age(0.0, 0.9, 0.9), at_age(20.0, 0.8, 0.9)]
SNRS = [{"kind": "noisy", "db": 21.5}, {"kind": "exact"}, {"kind": "noisy", "db": -3.0}]
LAYERS = [{"layer": name, "snr": snr, "saturated_frac": saturated} for name, snr, saturated in
          zip("abc", SNRS, (0.25, 0.0, 0.5), strict=True)]  # fmt: skip
ENTRY = {
    "device": {"kind": "pcm_iterative"}, "images": 40, "age_s": 0.0, "exact_accuracy_frac": 0.925, "ages": AGES,
    "chips": [{"seed": seed} for seed in (0, 1) for _ in AGES], "layers": LAYERS,
}  # fmt: skip


def chip(pulses: object = (5, 0, 100, 1), wear: Mapping[int, int] | None = None) -> WrittenChip:
    """Return two crossbars of a layer ``a``, the first 8 x 6, the second with less to lose; none written in a batch."""
    cells = {("a", 0): DEVICE.program(RNG.choice(LEVELS, (8, 6)), RNG), ("a", 1): DEVICE.program(np.zeros((4, 4)), RNG)}
    programmings = {bar: np.array([[0, most], [0, 0]]) for bar, most in (wear or {}).items()}
    return WrittenChip(cells, {}, programmings, np.array(pulses, np.int64))


def measured(
    of: WrittenChip, hardware: Hardware = PLAIN, age_s: float = 0.0, entry: Mapping[str, Any] = ENTRY
) -> EvaluationResult:
    reading = Reading(hardware, DEVICE, age_s=age_s)
    return EvaluationResult(dict(entry), {}, {}, of, reading, frozenset(), Journal("nowhere", ""))


def filled(fill: Callable[..., None], *given: object) -> Figure:
    figure = Figure()
    fill(figure, *given)
    return figure


def programmed(_: str, cells: Cells) -> Floats:
    return cells.programmed_usiemens


# -- all chips ---------------------------------------------------------------------------------------------------------


def test_accuracy_is_drawn_in_order_of_age_with_interval_range_and_exact_integers() -> None:
    figure = filled(value_figures.accuracy_over_time, ENTRY)
    axes = figure.axes[0]
    exact, mean = axes.lines[0], axes.lines[1]
    assert np.allclose(exact.get_ydata(), 92.5)
    assert np.allclose(mean.get_xydata(), [(0, 90), (20, 85), (3600, 70)])
    band, bars = axes.collections[0], axes.containers[0].lines[2][0]
    assert np.allclose([(ends[0][1], ends[1][1]) for ends in bars.get_segments()], [(70, 100), (65, 95), (50, 80)])
    corners = set(map(tuple, band.get_paths()[0].vertices.round(9)))
    assert corners == {(0, 90), (20, 80), (20, 90), (3600, 60), (3600, 80)}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0 s", "20 s", "1 h"]
    assert axes.get_xlim()[0] < 0 < 3600 < axes.get_xlim()[1]
    assert {"without errors, 92.5 %", "worst to best chip"} < {text.get_text() for text in figure.legends[0].texts}


def test_one_chip_has_no_range_and_close_ages_share_a_tick() -> None:
    ages = [at_age(age_s, 0.5, 0.5) for age_s in (1.0, 1.5, 2.0, 2.5, 100.0)]
    axes = filled(value_figures.accuracy_over_time, {**ENTRY, "ages": ages, "chips": [{"seed": 0}]}).axes[0]
    assert len(axes.collections) == 1  # the bars
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1 s", "2.5 s", "100 s"]


def test_noise_and_saturation_of_every_layer() -> None:
    left, right = filled(value_figures.snr_by_layer, ENTRY).axes
    assert [bar.get_width() for bar in left.patches] == [21.5, 0, -3]
    assert [bar.get_width() for bar in right.patches] == [25, 0, 50]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["a", "b", "c"]
    words = [[text.get_text().strip() for text in axes.texts] for axes in (left, right)]
    assert words == [["21.5", "exact", "-3.0"], ["25", "0", "50"]]


# -- the first chip ----------------------------------------------------------------------------------------------------


def test_pulses_are_counted_on_a_logarithmic_axis() -> None:
    axes = filled(value_figures.pulses_per_cell, np.array([5, 0, 100, 1, 0])).axes[0]
    drawn = axes.patches[0].get_data()
    assert (drawn.values.tolist(), drawn.edges.tolist()) == ([5, 0, 100, 1], [-0.5, 0.5, 1.5, 2.5, 3.5])
    assert axes.get_yscale() == "log"
    assert axes.lines[0].get_xdata()[0] == pytest.approx((100 * 2 + 3) / 106)


def test_wear_lies_where_its_crossbar_lies() -> None:
    worn = chip(wear={0: 3, 9: 7})
    drawn = filled(value_figures.wear, worn, PLAIN).axes[0].collections[0].get_array()
    assert drawn.shape == (32, 8)
    assert (drawn[0, 0], drawn[1, 1]) == (3, 7)
    assert np.ma.masked_invalid(drawn).count() == 2


def test_every_cell_is_in_the_distribution_of_its_target() -> None:
    result = measured(chip())
    targets, counts, edges = cell_figures.by_target(result.chip, result.reading, programmed)
    assert np.allclose(targets, LEVELS)
    for target, row in zip(targets, counts, strict=True):
        conductances = np.concatenate([
            cells.programmed_usiemens[np.isclose(cells.target_usiemens, target)] for cells in result.chip.cells.values()
        ])  # fmt: skip
        assert np.array_equal(row, np.histogram(conductances, edges)[0])
    axes = filled(cell_figures.conductances, result).axes
    assert [panel.get_title(loc="left") for panel in axes] == ["As programmed"]
    assert np.allclose(axes[0].lines[0].get_xdata(), LEVELS)
    medians = [np.searchsorted(row.cumsum(), row.sum() / 2) for row in counts]
    assert np.allclose(axes[0].lines[0].get_ydata(), (edges[1:] + edges[:-1])[medians] / 2)


def test_cells_are_drawn_at_the_age_at_which_they_are_read() -> None:
    aged = measured(chip(), age_s=86_400.0)
    fresh = replace(aged, rewritten=frozenset("a"))
    then, now = (axes.lines[0].get_ydata() for axes in filled(cell_figures.conductances, aged).axes)
    assert np.all(now[1:] < 0.9 * then[1:])
    assert len(filled(cell_figures.conductances, fresh).axes) == 1


def test_many_targets_are_drawn_as_a_map() -> None:
    hardware = load_hardware("rram-256", {"crossbar.bits_per_cell": 8})
    result = measured(chip(), hardware)
    axes = filled(cell_figures.conductances, result).axes[0]
    _, counts, _ = cell_figures.by_target(result.chip, result.reading, programmed)
    assert np.array_equal(np.ma.filled(axes.collections[0].get_array(), 0), counts.T)
    assert np.array_equal(*axes.lines[0].get_data())


def test_cells_that_are_all_alike_are_drawn() -> None:
    alike = DEVICE.program(np.zeros((3, 3)), RNG)
    still = replace(alike, programmed_usiemens=np.zeros((3, 3)))
    only = WrittenChip({("a", 0): still}, {}, {}, np.zeros(0))
    _, counts, _ = cell_figures.by_target(only, Reading(PLAIN, DEVICE), programmed)
    assert counts.sum() == counts.max() == 9


def test_the_map_of_losses_is_that_of_the_worst_crossbar() -> None:
    written, wires = chip(), WIRED.crossbar.wires
    worst = cell_figures.most_lost(written, wires)
    assert (worst.content, worst.number) == ("a", 0)
    assert 0 < worst.lost_frac < 0.1
    figure = filled(cell_figures.ir_drop, written, Reading(WIRED, DEVICE), wires)
    drawn = figure.axes[0].images[0].get_array()
    g_usiemens = written.cells["a", 0].programmed_usiemens
    conducts = g_usiemens > LEVELS[1] / 2
    assert np.array_equal(~np.ma.getmaskarray(drawn), conducts)
    assert np.allclose(drawn[conducts], 100 * worst.effective_usiemens[conducts] / g_usiemens[conducts])
    assert "a, crossbar 0" in figure.axes[0].get_title(loc="left")


# -- which figures -----------------------------------------------------------------------------------------------------


def test_all_figures_are_documented_in_order() -> None:
    everything = measured(chip(wear={0: 3}), WIRED)
    assert [drawing.name for drawing in value_figures.drawings(everything)] == documented("Figures")


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (measured(chip(wear={0: 3}), WIRED, entry={**ENTRY, "ages": AGES[:1]}), {"accuracy_over_time"}),
        (measured(chip(wear={0: 3}, pulses=()), WIRED), {"pulses_per_cell"}),
        (measured(chip(), WIRED), {"wear"}),
        (measured(chip(wear={0: 0}), WIRED), {"wear"}),
        (measured(chip(wear={0: 3}), PLAIN), {"ir_drop"}),
        (measured(WrittenChip({}, {}, {}, np.zeros(0)), WIRED), {"pulses_per_cell", "wear", "conductances", "ir_drop"}),
    ],
)
def test_what_has_nothing_to_show_is_not_drawn(shown: EvaluationResult, missing: set[str]) -> None:
    assert [drawing.name for drawing in value_figures.drawings(shown)] == [
        name for name in documented("Figures") if name not in missing
    ]


# -- a real run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Report:
    trial = Trial(MODEL, DATA, images=6, device="rram_wan2022", ages_s=(1.0, 86_400.0), chips=2)
    return imcsim.run(MODEL, PLAIN, "static", trial=trial)


def test_a_run_writes_its_figures(real: Report, tmp_path: Path) -> None:
    folder = real.write(tmp_path)
    assert not isinstance(real.measured, str)
    sizes = {drawing.name: drawing.inches for drawing in value_figures.drawings(real.measured)}
    assert {"accuracy_over_time", "snr_by_layer", "conductances"} <= set(sizes)
    assert {path.stem for path in folder.glob("*.png")} == {path.stem for path in folder.glob("*.svg")} == set(sizes)
    for name, inches in sizes.items():
        head = (folder / f"{name}.png").read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert struct.unpack(">II", head[16:]) == tuple(int(DPI * side) for side in inches)
        ElementTree.parse(folder / f"{name}.svg")


def test_ages_hold_means_over_the_chips(real: Report) -> None:
    values = real.summary["values"]
    for row in values["ages"]:
        chips = [chip["accuracy_frac"] for chip in values["chips"] if chip["age_s"] == row["age_s"]]
        assert len(chips) == 2
        assert row["accuracy_frac"] == pytest.approx(np.mean(chips))
        assert row["accuracy_range_frac"] == [min(chips), max(chips)]
    assert [row["age_s"] for row in values["ages"]] == [1, 86_400]
    assert {key: values[key] for key in values["ages"][0]} == values["ages"][0]


def test_layers_have_their_noise(real: Report, tmp_path: Path) -> None:
    by_layer = {row["layer"]: row for row in real.summary["values"]["layers"]}
    table = real.layers.set_index("layer")
    assert set(table.index[table["saturated_frac"].notna()]) == set(by_layer)
    for name, row in by_layer.items():
        assert np.array_equal(table["snr_db"][name], row["snr"].get("db", np.nan), equal_nan=True)
        assert table["saturated_frac"][name] == row["saturated_frac"]
    read = pd.read_parquet(real.write(tmp_path) / "layers.parquet")
    pd.testing.assert_frame_equal(read, real.layers)


def test_the_terminal_says_what_was_measured(real: Report) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    tables.print_report(real, console)
    text, values = console.export_text(), real.summary["values"]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "…" not in text
    lines = [line.split() for line in text.splitlines()]
    percent = [f"{100 * values[key]:.1f}" for key in ("exact_accuracy_frac", "agreement_frac")]
    assert any(line[-5:] == ["accuracy", "without", "errors", percent[0], "%"] for line in lines)
    assert any(line[-6:] == ["answers", "as", "without", "errors", percent[1], "%"] for line in lines)
    assert "Accuracy by age (2 chips, 6 images)" in text
    for age, row in zip(("1 s", "1 d"), values["ages"], strict=True):
        ends = [row[key][i] for key in ("accuracy_interval_95_frac", "accuracy_range_frac") for i in (0, 1)]
        numbers = [f"{100 * frac:.1f}" for frac in (row["accuracy_frac"], *ends, row["agreement_frac"])]
        assert [*age.split(), *numbers] in [[word for word in line if word != "to"] for line in lines]
    noisy = {row["layer"]: row["snr"].get("db") for row in values["layers"]}
    shown = {line[0]: line[1] for line in lines if line and line[0] in noisy}
    assert shown
    assert shown == {name: f"{noisy[name]:z.1f}" for name in shown}
