"""Task 1 after task 2 against the strength of consolidation: binarised and multi-level, with and without device errors.

    python benchmarks/metaplastic.py --mnist TRAIN TEST --fashion TRAIN TEST
    python benchmarks/metaplastic.py --draw

TRAIN, TEST: whatever ``load_dataset`` reads. Sequences: MNIST then Fashion-MNIST over m, three seeds;
split MNIST (pairs of digits in turn) and permuted MNIST (three orders of the pixels) without consolidation and with.
One hidden layer of 256 units and 3 epochs per task, and longer runs of 512 and 10 (assumed; published are larger and
longer ones), all else as in the public code of the binarised rule. The rule for many levels is inferred. Rows that are
there already are kept, so an interrupted run goes on. Results: ``metaplastic.csv`` and docs/figures/metaplastic.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from imcsim.hardware.devices import load_device
from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.training.metaplastic import Images, LearningTask, Options, learn, load_rule, permuted, split
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file
from imcsim.workload.datasets import load_dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
TABLE, FIGURE = HERE / "metaplastic.csv", HERE.parent / "docs" / "figures" / "metaplastic"
SIZES = {"": (256, 3), ", longer": (512, 10)}  # hidden units, epochs per task; assumed
SEEDS = (0, 1, 2)
LONGER, LONGER_RULES = (
    "mnist, fashion, longer",
    (("binarised", 2, 8.0), ("multi_level", 4, 3.0), ("multi_level", 4, 2.0)),
)
DEVICE = "rram_milo2021"  # the multi-level HfO2 cells at hand; those of arXiv 2306.12142 are HfO2 too
STRENGTHS = {("binarised", 2): (0.0, 2.0, 4.0, 8.0, 16.0), ("multi_level", 4): (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)}
STRONG = {("binarised", 2): 8.0, ("multi_level", 4): 3.0}
MORE_LEVELS = (8, 16)
ORDERS = 3
KEYS = ["sequence", "rule", "n_levels", "m", "device", "seed"]

Case = tuple[str, str, int, float, str, int]


def cases() -> Iterator[Case]:
    """All runs, the main curve first."""
    for (rule, levels), seed, device in product(STRENGTHS, SEEDS, ("exact", DEVICE)):
        for m in STRENGTHS[rule, levels]:
            yield "mnist, fashion", rule, levels, m, device, seed
    for levels in MORE_LEVELS:
        yield "mnist, fashion", "multi_level", levels, 3.0, "exact", 0
    for sequence, (rule, levels), seed in product(("split mnist", "permuted mnist"), STRENGTHS, SEEDS):
        for m in (0.0, STRONG[rule, levels]):
            yield sequence, rule, levels, m, "exact", seed
    for rule, levels, m in LONGER_RULES:
        yield LONGER, rule, levels, m, DEVICE, 0


def measured(tasks: Sequence[LearningTask], case: Case) -> dict[str, Any]:
    """One run: accuracies in per cent, and the writes of a cell."""
    sequence, rule, levels, m, device, seed = case
    hidden, epochs = SIZES[", longer" if sequence == LONGER else ""]
    spec = load_rule(rule, m=m) if rule == "binarised" else load_rule(rule, m=m, n_levels=levels)
    options = Options(hidden=(hidden,), epochs=epochs, seed=seed)
    done = learn(tasks, spec, options, None if device == "exact" else load_device(device))
    percent = 100 * done.accuracy_frac
    return {
        **dict(zip(KEYS, case, strict=True)), "hidden": hidden, "epochs": epochs, "tasks": len(tasks),
        "test_images": len(tasks[0].test.labels),
        "first_when_learnt_percent": percent[0, 0], "first_at_the_end_percent": percent[-1, 0],
        "last_percent": percent[-1, -1], "mean_at_the_end_percent": percent[-1].mean(), "updates": done.updates,
        **{f"writes_{name}": value for name, value in done.writes_per_cell.items()},
    }  # fmt: skip


def run(mnist: LearningTask, fashion: LearningTask) -> None:
    """Every case that has no row yet; the table is saved after each."""
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    known = {tuple(row[key] for key in KEYS) for row in rows}
    for case in cases():
        if case in known:
            continue
        of_sequence = {"split mnist": lambda: split(mnist), "permuted mnist": lambda: permuted(mnist, ORDERS)}
        begin = time.perf_counter()
        rows.append(measured(of_sequence.get(case[0], lambda: [mnist, fashion])(), case))
        print(*case, f"{rows[-1]['first_at_the_end_percent']:.1f} {rows[-1]['last_percent']:.1f} %",
              f"{time.perf_counter() - begin:.0f} s", flush=True)  # fmt: skip
        with new_file(TABLE) as partial:
            pd.DataFrame(rows).round(4).to_csv(partial, index=False)


# -- the figure --------------------------------------------------------------------------------------------------------

TITLES = {"binarised": "binarised, rule published", "multi_level": "metaplastic, rule inferred: 4 levels"}
LINES = {"first_at_the_end_percent": ("o-", "task 1 (MNIST) after task 2"), "last_percent": ("s--", "task 2 (Fashion)")}


def draw() -> None:
    """Accuracies against m with exact cells and with those of the device; below them the writes of a cell."""
    table = pd.read_csv(TABLE)
    table = table[(table["sequence"] == "mnist, fashion") & table["n_levels"].isin([2, 4])]
    with saved_figure(FIGURE, "metaplastic", (8.4, 6.2)) as (figure, _):
        panels = figure.subplots(2, 2, sharey="row")
        for (above, below), (rule, title) in zip(panels.T, TITLES.items(), strict=True):
            own = table[table["rule"] == rule]
            _accuracies(above, own)
            _writes(below, own[own["device"] == "exact"])
            above.set_title(title, loc="left")
            below.set_xlabel("strength of consolidation m")
        panels[0, 0].set_ylabel("accuracy (%): mean, least, most")
        panels[1, 0].set_ylabel("writes of a cell, both tasks")
        panels[0, 0].legend(fontsize=7)
        panels[1, 0].legend(fontsize=7, loc=(0.52, 0.66))


def _accuracies(axes: Axes, table: pd.DataFrame) -> None:
    for (device, own), colour in zip(table.groupby("device"), COLOURS, strict=False):
        for column, (look, label) in LINES.items():
            by_m = own.groupby("m")[column]
            mean = by_m.mean()
            spread = np.stack([mean - by_m.min(), by_m.max() - mean])
            axes.errorbar(mean.index, mean, spread, fmt=look, color=colour, markersize=3.5, capsize=2, linewidth=1.2,
                          label=f"{label}, {'exact cells' if device == 'exact' else device}")  # fmt: skip


def _writes(axes: Axes, table: pd.DataFrame) -> None:
    names = {"max": "most", "p99_9": "99.9 % of the cells at most", "mean": "mean"}
    for (name, label), colour in zip(names.items(), COLOURS[2:], strict=False):
        mean = table.groupby("m")[f"writes_{name}"].mean()
        axes.plot(mean.index, mean, "o-", color=colour, markersize=3.5, linewidth=1.2, label=label)
    axes.axhline(table["updates"].iloc[0], color="#000000", linewidth=0.8, linestyle=":", label="updates")
    axes.set_yscale("log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, nargs=2, metavar=("TRAIN", "TEST"))
    parser.add_argument("--fashion", type=Path, nargs=2, metavar=("TRAIN", "TEST"))
    parser.add_argument("--draw", action="store_true", help="only draw what the table holds")
    arguments = parser.parse_args()
    if not arguments.draw and not (arguments.mnist and arguments.fashion):
        parser.error("give --mnist and --fashion, or --draw")
    try:
        if not arguments.draw:
            run(*(LearningTask(name, *(Images.of(load_dataset(path)) for path in getattr(arguments, name)))
                  for name in ("mnist", "fashion")))  # fmt: skip
        draw()
    except ImcsimError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
