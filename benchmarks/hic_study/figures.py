"""The figures and tables of the study, from its committed results."""

from __future__ import annotations

from pathlib import Path

from results import SHOWN_WIDTH, read

from imcsim.train_study.text import ACCURACY_HEADS, accuracy_rows, age_heads, age_rows, mean_and_deviation, table, wear
from imcsim.training import figures
from imcsim.training.claims import Evidence, claims

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
        worst = read(name, "accumulators", "wear").query("part.str.startswith('bit')")
        cycles = worst.groupby(["variant", "seed"])["cycles_max"].max().rename("cycles").reset_index()
        both = kinds.merge(cycles, on=["variant", "seed"], sort=False)
        columns = [("accuracy_frac", "test accuracy (%)"), ("carries_per_weight", "carries per weight")]
        columns += [("cycles", "most cycles of a bit's cell")]
        text = f"Kinds of accumulators, HIC-style: {title}"
        figures.bars(both, columns, text, FOLDER / f"hic_{name}_accumulators")


def print_tables() -> None:
    """The tables of docs/training.md, in Markdown."""
    for name, title in TITLES.items():
        runs, ageing, worn = (read(name, "widths", kind) for kind in ("runs", "ageing", "wear"))
        if not len(runs):
            continue
        found = claims(Evidence(runs, ageing, worn, read(name, "accumulators", "runs")))
        print(f"\n## {title}\n\n{table(ACCURACY_HEADS, accuracy_rows(runs))}\n")
        print(table(("claim", "verdict", "evidence"), [(c.text, c.verdict, c.evidence) for c in found]))
        width = SHOWN_WIDTH[name]
        aged, cells = (rows[rows["width"] == width] if len(rows) else rows for rows in (ageing, worn))
        if len(aged):
            print(f"\nwidth {width:g}\n\n{table(age_heads(aged), age_rows(aged))}\n\n{wear(cells)}")
        for stage in ("effects", "accumulators"):
            variants = read(name, stage, "runs")
            if len(variants):
                of_each = variants.groupby("variant", sort=False)["accuracy_frac"]
                lines = [(variant, mean_and_deviation(part), len(part)) for variant, part in of_each]
                print(f"\n{stage}\n\n{table(('variant', 'test accuracy %', 'seeds'), lines)}")
