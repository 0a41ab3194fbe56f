"""Show a comparison on the terminal: schemes against the baseline, and crossovers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imcsim.reporting.format import count, energy_delay, joule, titled_table
from imcsim.util.units import UM2_PER_MM2

if TYPE_CHECKING:
    from pandas import DataFrame

    from imcsim.reporting.comparison import Comparison


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print a comparison: one table per write preset, then the crossover batches."""
    (console or Console()).print(comparison_view(comparison))


def comparison_view(comparison: Comparison) -> RenderableType:
    """Return what ``print_comparison`` prints, for 100 columns."""
    frame = comparison.frame
    area = f", {frame['area_um2'].max() / UM2_PER_MM2:.4g} mm2"
    title = Text.assemble((comparison.workload, "bold"), " on ", (comparison.hardware, "bold"), area)
    tables = [_compared(str(write), part) for write, part in frame.groupby("write", sort=False)]
    crossovers = comparison.crossover_frame
    return Group(title, *tables, *([_crossovers(crossovers)] if len(crossovers) else []))


def _compared(write: str, frame: DataFrame) -> Table:
    """Return all schemes of one write preset, batch by batch; with accuracies where images were given."""
    valued = bool(frame["accuracy_frac"].notna().any())
    columns = VALUED_COLUMNS if valued else COSTED_COLUMNS
    table = titled_table(f"Write circuit {write}; ratios to the better of both kinds of reprogramming (*)")
    table.add_column("batch", justify="right")
    table.add_column("scheme", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right", overflow="fold")
    for batch, part in frame.groupby("batch", sort=False):
        for number, row in enumerate(part.to_dict("records")):
            name = f"{row['scheme']} *" if row["scheme"] == row["baseline"] else row["scheme"]
            figures = [] if row["refused"] else [show(row) for show in columns.values()]
            if row["refused"]:
                missing = Text(f"needs {row['missing_crossbars']:,} more", style="dim")
                figures = [missing, *[Text("")] * (len(columns) - 1)]
            table.add_row("" if number else str(batch), name, *figures, end_section=number == len(part) - 1)
    if valued:
        table.caption = "EDP: x latency; accuracy: with its 95 % interval over images like these"
    return table


def _lifetime_of(row: Mapping[Any, Any]) -> Text:
    life = row["lifetime_inferences"]
    return Text("unlimited" if life is None or life != life else count(life))


def _accuracy_of(row: Mapping[Any, Any]) -> Text:
    low, high = row["accuracy_interval_95_frac"]
    return Text(f"{100 * row['accuracy_frac']:.1f} ({100 * low:.0f}-{100 * high:.0f})")


_CYCLES: dict[str, Callable[[Mapping[Any, Any]], Text]] = {
    "cycles / inference": lambda row: Text(f"{row['cycles_per_inference']:,.0f}"),
    "ratio": lambda row: _ratio(row["cycles_ratio"]),
    "energy": lambda row: Text(joule(row["energy_pj"], 3)),
}


COSTED_COLUMNS = {
    **_CYCLES,
    "EDP ratio latency": lambda row: _ratio(row["edp_latency_ratio"]),
    "EDP ratio time/image": lambda row: _ratio(row["edp_throughput_ratio"]),
    "lifetime": _lifetime_of,
}


VALUED_COLUMNS = {
    **_CYCLES,
    "EDP": lambda row: Text(energy_delay(row["edp_latency_pj_ns"])),
    "ratio of EDP": lambda row: _ratio(row["edp_latency_ratio"]),
    "lifetime": _lifetime_of,
    "accuracy, %": _accuracy_of,
}


def _ratio(value: float | None) -> Text:
    """Colour a ratio: green where a scheme beats the baseline, red where it loses."""
    if value is None or value != value:
        return Text("")
    text = f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"
    return Text(text, style="green" if value < 0.995 else "red" if value > 1.005 else "")


def _crossovers(frame: DataFrame) -> Table:
    table = titled_table("From which batch on the baseline is faster")
    for heading in ("write", "scheme"):
        table.add_column(heading, no_wrap=True)
    table.add_column("analytic")
    table.add_column("simulated")
    for row in frame.to_dict("records"):
        table.add_row(str(row["write"]), str(row["scheme"]), str(row["analytic"]), str(row["simulated"]))
    return table
