"""The figures and tables of the study, from its committed results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from results import SHOWN_WIDTH, read

from imcsim.training.hic import figures
from imcsim.training.hic.claims import Evidence, claims
from imcsim.training.study.text import (
    ACCURACY_HEADS,
    accuracy_rows,
    age_heads,
    age_rows,
    mean_and_deviation,
    table,
    wear,
)

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "figures"
TITLES = {
    "mnist": "MNIST, small CNN",
    "fashion": "Fashion-MNIST, small CNN",
    "cifar": "CIFAR-10 (JPEG), ResNet-8",
}


def draw_all() -> None:
    """All figures that there are results for."""
    for name, title in TITLES.items():
        runs = read(name, "widths", "runs")
        if not len(runs):
            continue
        figures.accuracy_against_size(runs, title, FOLDER / f"hic_{name}_size")
        width = SHOWN_WIDTH[name]
        ageing = read(name, "widths", "ageing").query("width == @width")
        if len(ageing):
            figures.accuracy_over_time(ageing, f"{title}, width {width:g}", FOLDER / f"hic_{name}_time")
        counts = read(name, "widths", "histograms").query("width == @width")
        updates = int(runs.query("width == @width")["updates"].max())
        figures.wear_histogram(counts, updates, f"{title}, width {width:g}", FOLDER / f"hic_{name}_wear")
        _bars(name, title)


def _bars(name: str, title: str) -> None:
    effects, kinds = read(name, "effects", "runs"), read(name, "accumulators", "runs")
    if len(effects):
        columns = [("accuracy_frac", "test accuracy (%)"), ("carries_per_weight", "carries per weight")]
        text = f"One effect at a time, HIC-style: {title}"
        figures.bars(effects, columns, text, FOLDER / f"hic_{name}_effects")
    if len(kinds):
        both = _with_cycles(name, "accumulators", kinds)
        columns = [("accuracy_frac", "test accuracy (%)"), ("carries_per_weight", "carries per weight")]
        columns += [("cycles_max", "most cycles of a bit's cell")]
        text = f"Kinds of accumulators, HIC-style: {title}"
        figures.bars(both, columns, text, FOLDER / f"hic_{name}_accumulators")


def _with_cycles(name: str, stage: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs, and the write-erase cycles of their accumulators: of all bits of a weight on average, of the worst cell."""
    bits = read(name, stage, "wear").query("part.str.startswith('bit')")
    n = bits[bits["part"] == "bit 0"].groupby(["variant", "seed"])["cells"].sum()  # one for each weight
    total = (bits["cycles_mean"] * bits["cells"]).groupby([bits["variant"], bits["seed"]]).sum()
    most = bits.groupby(["variant", "seed"])["cycles_max"].max()
    cycles = pd.DataFrame({"cycles_of_weight": total / n, "cycles_max": most}).reset_index()
    return runs.merge(cycles, on=["variant", "seed"], sort=False)


def print_tables() -> None:
    """The tables of docs/training.md, in Markdown."""
    for name, title in TITLES.items():
        runs, ageing, worn = (read(name, "widths", kind) for kind in ("runs", "ageing", "wear"))
        if not len(runs):
            continue
        found = claims(Evidence(runs, ageing, worn, read(name, "accumulators", "runs")))
        print(f"\n## {title}\n\n{table(ACCURACY_HEADS, accuracy_rows(runs))}\n")
        print(table(("claim", "verdict", "evidence"), [(c.text, c.verdict, c.evidence) for c in found]))
        for width, aged in ageing.groupby("width"):
            cells = worn[worn["width"] == width]
            print(f"\nwidth {width:g}\n\n{table(age_heads(aged), age_rows(aged))}\n\n{wear(cells)}")
        for stage in ("effects", "accumulators"):
            variants = read(name, stage, "runs")
            if not len(variants):
                continue
            runs = _with_cycles(name, stage, variants)
            for seeds, part in (("all seeds", runs), ("seed 0", runs[runs["seed"] == 0])):  # which all variants have
                print(f"\n{stage}, {seeds}\n\n{table(VARIANT_HEADS, _variant_rows(part))}")


VARIANT_HEADS = ("variant", "test accuracy %", "seeds", "carries per weight", "cycles of a weight's bits", "worst bit")


def _variant_rows(runs: pd.DataFrame) -> Iterator[Sequence[object]]:
    """One row a variant, over its seeds."""
    for variant, part in runs.groupby("variant", sort=False):
        yield (
            variant, mean_and_deviation(part["accuracy_frac"]), len(part), f"{part['carries_per_weight'].mean():.1f}",
            f"{part['cycles_of_weight'].mean():,.0f}", f"{part['cycles_max'].max():,}",
        )  # fmt: skip
