"""Show a run at a glance on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imcsim.reporting.format import (
    BAR_WIDTH,
    count,
    energy_delay,
    joule,
    second,
    section,
    share_bar,
    side_by_side,
    titled_table,
)
from imcsim.util.units import UM2_PER_MM2, age

if TYPE_CHECKING:
    from pandas import DataFrame

    from imcsim.reporting.report import Report

TOP_LAYERS = 8


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a run: headline figures, energy by component, bottlenecks, layers, notes."""
    (console or Console()).print(report_view(report))


# -- one run -----------------------------------------------------------------------------------------------------------


def report_view(report: Report) -> RenderableType:
    """Return what ``print_report`` prints, for 100 columns."""
    s = report.summary
    title = Text.assemble(
        (s["workload"], "bold"),
        " on ",
        (s["hardware"], "bold"),
        f" ({s['write']}), scheme ",
        (s["scheme"], "bold"),
        f", batch {s['batch']}",
    )
    parts: list[RenderableType] = [title, _headline(s), side_by_side(_energy(s), _critical(s))]
    if s["bottleneck"]:
        sentences = [f"{number}. {stage['sentence']}" for number, stage in enumerate(s["bottleneck"], 1)]
        parts.append(section("What holds the time", "\n".join(sentences)))
    if len(s["values"].get("chips", ())) > 1:
        parts.append(_ages(s["values"]))
    parts.append(_layers(report.layers, s["values"].get("layers", ())))
    parts.append(section("Notes", "\n".join(_notes(s))))
    return Group(*parts)


def _headline(s: Mapping[str, Any]) -> Table:
    setup, area_mm2 = s["setup"], s["area_um2"] / UM2_PER_MM2
    used = f"{s['crossbars_used']:,} of {s['crossbars_available']:,}"
    rows = [
        ("cycles per inference", f"{s['cycles_per_inference']:,.0f}", "energy per inference", joule(s["energy_pj"])),
        ("latency, first image", second(s["latency_ns"]), "EDP, x latency", energy_delay(s["edp_latency_pj_ns"])),
        (
            "interval of images",
            second(s["interval_ns"]),
            "EDP, x time per image",
            energy_delay(s["edp_throughput_pj_ns"]),
        ),
        ("area", f"{area_mm2:.4g} mm2", "lifetime", _lifetime(s["lifetime_inferences"])),
        ("crossbars used", used, "crossbars for all weights", f"{s['crossbars_needed']:,}"),
        ("cells written per batch", count(s["cells_written"]), "ADC conversions", count(s["adc_conversions"])),
    ]
    if s["values"]["kind"] == "measured":
        rows += _answers_at_first(s["values"])
    if setup["cells_written"]:
        rows.append(("setup, once", second(setup["time_ns"]), "setup energy, once", joule(setup["energy_pj"])))
    table = Table(box=box.HORIZONTALS, show_header=False, padding=(0, 1), border_style="dim")
    for style in ("dim", "bold", "dim", "bold"):
        table.add_column(style=style, justify="right" if style == "bold" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _answers_at_first(values: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Yield rows of the headline: what the network answers at the first age."""
    low, high = values["accuracy_interval_95_frac"]
    accuracy = f"{100 * values['accuracy_frac']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    cells = f"{values['device']['kind']}, {age(values['age_s'])}"
    exact, agreement = (f"{100 * values[key]:.1f} %" for key in ("exact_accuracy_frac", "agreement_frac"))
    return [
        (f"accuracy, {values['images']:,} images", accuracy, "accuracy without errors", exact),
        ("device, age", cells, "answers as without errors", agreement),
        *_refits(values["refits"]),
    ]


def _refits(refits: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Yield a row of the headline: errors of weights behind a measured basis, mean over the chips."""
    if not refits:
        return []
    before, after = (
        f"{100 * sum(refit[f'weight_error_{when}_frac'] for refit in refits) / len(refits):.1f} %"
        for when in ("before", "after")
    )
    return [("error of weights, as written", before, "error of weights, refitted", after)]


def _ages(values: Mapping[str, Any]) -> Table:
    """Return accuracies of several chips or ages."""
    n_chips = len({chip["seed"] for chip in values["chips"]})
    table = titled_table(f"Accuracy by age ({n_chips} chip{'s' if n_chips > 1 else ''}, {values['images']:,} images)")
    for heading in ("age", "mean, %", "95 % interval", "worst to best chip", "answers as without errors, %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in values["ages"]:
        mean, agreement = (f"{100 * row[key]:.1f}" for key in ("accuracy_frac", "agreement_frac"))
        spans = [
            f"{100 * row[key][0]:.1f} to {100 * row[key][1]:.1f}"
            for key in ("accuracy_interval_95_frac", "accuracy_range_frac")
        ]
        table.add_row(age(row["age_s"]), mean, *spans, agreement)
    table.caption = "interval: of the accuracy on all images like these; rewritten crossbars are always fresh"
    return table


def _lifetime(lifetime: Mapping[str, Any]) -> str:
    if lifetime["kind"] == "unlimited":
        return "unlimited"
    return f"{count(lifetime['inferences'])} inferences"


def _energy(s: Mapping[str, Any]) -> Table:
    parts = sorted(s["energy_by_component_pj"].items(), key=lambda item: -item[1])
    table = _shares("Energy per inference", "component")
    for name, energy_pj in parts:
        share = 100 * energy_pj / s["energy_pj"] if s["energy_pj"] else 0.0
        if share >= 0.05:
            table.add_row(name, joule(energy_pj), f"{share:.1f} %", share_bar(share, "green"))
    return table


def _critical(s: Mapping[str, Any]) -> Table:
    table = _shares("Critical path", "resource")
    for kind, share in s["critical_percent_by_kind"].items():
        if share >= 0.05:
            time = second(share / 100 * s["makespan_ns"])
            table.add_row(kind, time, f"{share:.1f} %", share_bar(share, "magenta"))
    return table


def _shares(title: str, first: str) -> Table:
    table = titled_table(title)
    table.add_column(first, no_wrap=True)
    for heading in ("", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", width=BAR_WIDTH // 2, no_wrap=True)
    return table


def _layers(layers: DataFrame, answers: Sequence[Mapping[str, Any]]) -> Table:
    """Return the layers that hold the critical path longest; with values, signal to noise in place of kinds."""
    top = layers.sort_values(["critical_percent", "energy_pj"], ascending=False, kind="stable").head(TOP_LAYERS)
    table = titled_table(f"Layers by share of the time ({len(top)} of {len(layers)})")
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=26)
    table.add_column("SNR, dB" if answers else "kind", justify="right" if answers else "left", no_wrap=True)
    for heading in ("time", "cycles", "busy", "energy", "queued", "starved", "blocked"):
        table.add_column(heading, justify="right")
    snrs = {layer["layer"]: _snr(layer["snr"]) for layer in answers}
    for row in top.to_dict("records"):
        busy, second = row["crossbar_utilisation_frac"], snrs.get(row["layer"], "") if answers else str(row["kind"])
        waits = [count(row[f"{kind}_cycles"]) for kind in ("queued", "starved", "blocked")]
        cells = (f"{row['critical_percent']:.1f} %", count(row["span_cycles"]), f"{100 * busy:.0f} %")
        shown = cells if busy == busy else (*cells[:2], "")  # no crossbars: NaN
        table.add_row(str(row["layer"]), second, *shown, joule(row["energy_pj"], 3), *waits)
    table.caption = (
        "cycles: of the batch; busy: of its crossbars; queued: for units, of all vectors; starved: no inputs; "
        "blocked: no room"
    )
    return table


def _snr(snr: Mapping[str, Any]) -> str:
    return f"{snr['db']:z.1f}" if snr["kind"] == "noisy" else str(snr["kind"])


def _notes(s: Mapping[str, Any]) -> list[str]:
    notes = [f"- {note}" for note in s["notes"]]
    if s["unknown_layers"]:
        notes.append(f"- free because their operator is not known: {', '.join(s['unknown_layers'])}")
    if s["assumed"]:
        where = "key 'assumed' of report.json, or `imcsim explain`"
        notes.append(f"- {len(s['assumed'])} numbers are assumed, not published: {where}")
    return notes or ["- none"]


# -- a comparison ------------------------------------------------------------------------------------------------------


# -- pieces ------------------------------------------------------------------------------------------------------------
