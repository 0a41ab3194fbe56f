"""Show a training step on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from imcsim.training.step.report import StepReport
from imcsim.util.units import NS_PER_S, PJ_PER_J, UM2_PER_MM2, si

BAR_WIDTH = 18
BITS_PER_BYTE = 8


def print_step(report: StepReport, console: Console) -> None:
    """Print a step: headline, events, memory, the full product, what was assumed."""
    options = report.options
    title = Text.assemble(
        (report.workload.name, "bold"),
        " on ",
        (report.hardware.name, "bold"),
        f": a training step of {options.batch} images, one update per {options.update}, accumulator in "
        f"{options.accumulator}, outer products {_outer(report)}, transposed products with {_converters(report)}",
    )
    console.print(Group(title, _headline(report), _events(report), _memory(report), *_notes(report)))


def _outer(report: StepReport) -> str:
    options = report.options
    return "digital" if options.outer == "digital" else f"as pulses of {options.pulse_length} slots"


def _converters(report: StepReport) -> str:
    return "a second ADC bank" if report.options.transpose_adc == "bank" else "shared ADCs"


def _headline(report: StepReport) -> Table:
    step, epoch, counts = (report.summary[key] for key in ("step", "epoch", "counts"))
    used, there = report.summary["crossbars_used"], report.summary["crossbars_available"]
    rows = [
        ("cycles per step", f"{step['cycles']:,.0f}", "energy per step", _joule(step["energy_pj"])),
        ("time per step", _second(step["time_ns"]), "EDP per step", _edp(step["edp_pj_ns"])),
        (f"time per epoch of {epoch['images']:,}", _second(epoch["time_ns"]), "energy", _joule(epoch["energy_pj"])),
        (
            "forward products per image",
            f"{counts['forward_products_per_image']:,}",
            "transposed products",
            f"{counts['transposed_products_per_image']:,}",
        ),
        ("crossbars used", f"{used} of {there}", "area", f"{report.costs.area_um2 / UM2_PER_MM2:.4g} mm2"),
    ]
    table = Table(box=box.HORIZONTALS, show_header=False, padding=(0, 1), border_style="dim")
    for style in ("dim", "bold", "dim", "bold"):
        table.add_column(style=style, justify="right" if style == "bold" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _events(report: StepReport) -> Table:
    table = Table(
        title="Where the step goes: critical path, and energy of all that happens",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="dim",
    )
    for heading, justify in (("event", "left"), ("time", "right"), ("", "left"), ("energy", "right"), ("", "left")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in report.summary["events"]:
        percent = 100 * row["energy_pj"] / report.energy_pj
        table.add_row(
            row["event"], _second(row["time_ns"]), _bar(row["time_percent"]), _joule(row["energy_pj"]), _bar(percent)
        )
    return table


def _memory(report: StepReport) -> Table:
    memory = report.memory
    rows = [
        ("weights, devices of pairs", f"{memory['pair_devices']:,}"),
        ("accumulated gradients", _size(memory["accumulator_bits"])),
        ("sums of gradients over an image or a batch", _size(memory["gradient_sum_bits"])),
        ("inputs kept for the way back, per image", _size(memory["kept_input_bits_per_image"])),
    ]
    table = Table(title="Memory", title_justify="left", box=box.SIMPLE, show_header=False)
    table.add_column(style="dim")
    table.add_column(style="bold", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _notes(report: StepReport) -> list[RenderableType]:
    summary = report.summary
    both = [
        f"{name} {product['time_ns']:g} ns and {product['energy_pj'] / 1000:.4g} nJ"
        for name, product in summary["full_products"].items()
    ]
    size = f"{report.hardware.crossbar.rows} x {report.hardware.crossbar.columns}"
    lines = [f"a product with a full crossbar of {size}: {', '.join(both)}"]
    lines += [f"update rates: {source}" for source in summary["rates"]] + summary["notes"]
    lines.append(f"{len(summary['assumed'])} assumptions; --json lists them")
    return [Text(line) for line in lines]


def _bar(percent: float) -> Text:
    return Text.assemble(f"{percent:5.1f} % ", ("█" * round(percent / 100 * BAR_WIDTH)).ljust(BAR_WIDTH))


def _size(bits: float) -> str:
    return f"{bits:,.0f} bits ({bits / BITS_PER_BYTE / 1024:,.1f} KiB)"


def _joule(energy_pj: float) -> str:
    return si(energy_pj / PJ_PER_J, "J")


def _second(time_ns: float) -> str:
    return si(time_ns / NS_PER_S, "s")


def _edp(edp_pj_ns: float) -> str:
    return si(edp_pj_ns / PJ_PER_J / NS_PER_S, "J s")
