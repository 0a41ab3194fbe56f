"""Write the report of a study in words and tables (Markdown)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import pandas as pd

from imcsim.training.hic.ageing import FIXES
from imcsim.training.hic.claims import COMPARABLE_POINTS, NEGLIGIBLE_POINTS, SMALL_FRAC, USUAL_CYCLES
from imcsim.training.hic.figures import AGE_NAMES, BITS_PER_KB
from imcsim.training.hic.layers import FOLLOWS
from imcsim.training.hic.options import SOURCES, HybridOptions
from imcsim.training.hic.physics import CONTRAST, LEVEL_USIEMENS, ON_USIEMENS, bit_error_frac
from imcsim.training.hic.wear import ENDURANCE_CYCLES, bound
from imcsim.util.units import NS_PER_S, PJ_PER_J, si

if TYPE_CHECKING:
    from imcsim.training.study.result import Study

PARAGRAPH = "\n\n"
Row = Sequence[object]


def report_text(study: Study) -> str:
    """Return the whole report."""
    spec = study.spec
    head = f"# HIC-style training: {spec.network_name} on {study.data_name}"
    accuracies = table(ACCURACY_HEADS, accuracy_rows(study.tables["runs"]))
    parts = [
        head, _summary(study), *study.warnings, "## What was assumed", _assumed(study), "## Accuracy and size",
        accuracies, "![](accuracy_against_size.png)", "## The six claims of HIC's abstract",
        table(("claim", "verdict", "evidence"), [(c.text, c.verdict, c.evidence) for c in study.claims]),
        "## Over time", *_over_time(study), "## Wear", _wear(study), "![](wear.png)", "## What a step costs",
        _step(study),
    ]  # fmt: skip
    return PARAGRAPH.join(parts) + "\n"


def table(heads: Row, rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def mean_and_deviation(values: pd.Series[float]) -> str:
    """Return mean and standard deviation of fractions, as per cent."""
    text = f"{100 * values.mean():.2f}"
    return f"{text} ± {100 * values.std():.2f}" if len(values) > 1 else text


ACCURACY_HEADS = ("weights", "width", "KB for inference", "rate", "seeds", "test accuracy %", "carries per weight")


def accuracy_rows(runs: pd.DataFrame) -> Iterator[Row]:
    """Return one row for each kind and width, over seeds."""
    for (kind, width), part in runs.groupby(["weights", "width"]):
        yield (
            kind,
            f"{width:g}",
            f"{part['bits'].iloc[0] / BITS_PER_KB:,.1f}",
            f"{part['rate'].iloc[0]:g}",
            len(part),
            mean_and_deviation(part["accuracy_frac"]),
            f"{part['carries_per_weight'].mean():.2f}" if kind == "hybrid" else "",
        )


def age_heads(ageing: pd.DataFrame) -> Row:
    """Return the heads of a table of ``age_rows``."""
    return ("drift", "repair", *(AGE_NAMES.get(age, f"{age:g} s") for age in sorted(ageing["age_s"].unique())))


def age_rows(ageing: pd.DataFrame) -> Iterator[Row]:
    """Return test accuracy by model of drift and repair, over seeds and draws."""
    times = sorted(ageing["age_s"].unique())
    for model in dict.fromkeys(ageing["model"]):
        for fix in (fix for fix in FIXES if fix in set(ageing["fix"])):
            part = ageing[(ageing["model"] == model) & (ageing["fix"] == fix)]
            yield (model, fix, *(mean_and_deviation(part[part["age_s"] == age]["accuracy_frac"]) for age in times))


def wear(parts: pd.DataFrame) -> str:
    """Tabulate write-erase cycles and SET pulses by part, over all layers and runs."""
    rows = [
        (
            part,
            f"{(cells['cycles_mean'] * cells['cells']).sum() / cells['cells'].sum():.1f}",
            f"{cells['cycles_tail'].max():,.0f}",
            f"{cells['cycles_max'].max():,}",
            f"{cells['sets_max'].max():,}",
        )
        for part, cells in parts.groupby("part", sort=False)
    ]
    return table(("part", "cycles, mean", "99.9 % of the cells of a layer", "most", "SET pulses, most"), rows)


def _summary(study: Study) -> str:
    options, runs = study.spec.options, study.tables["runs"]
    return (
        f"{study.data_name}, test: {study.test_name}. {options.epochs} epochs of batches of {options.batch}, "
        f"{runs['updates'].max():,} updates, the same for hybrid cells and 32-bit floats; "
        f"{_seeds(study.spec.seeds)}. Rates: {_rates(study)}. Nothing was chosen by the test images. "
        '"HIC-style": of the paper (arXiv 2102.05271) only the abstract could be read, the rest are choices of ours.'
    )


def _seeds(n: int) -> str:
    return "seed 0" if n == 1 else f"seeds 0 to {n - 1}"


def _rates(study: Study) -> str:
    said = []
    for kind, rate in study.rates.items():
        grid = study.spec.rates[kind]
        tried = f", best on validation images of {', '.join(f'{r:g}' for r in grid)}" if len(grid) > 1 else ""
        said.append(f"{kind} {rate:g}{tried}")
    return "; ".join(said)


def _assumed(study: Study) -> str:
    options = asdict(study.spec.options.hybrid)
    values = {**options.pop("physics"), **options}
    usual = asdict(HybridOptions())
    usual = {**usual.pop("physics"), **usual}
    rows: list[Row] = [
        (name, value, SOURCES[name] if value == usual[name] else f"given; else {usual[name]}: {SOURCES[name]}")
        for name, value in values.items()
    ]
    rows += _assumed_elsewhere(study)
    sure = f"Binary cells are taken to be read without error: one read in {1 / bit_error_frac():.0e} would be wrong."
    return PARAGRAPH.join([table(("option", "value", "source"), rows), sure])


def _assumed_elsewhere(study: Study) -> Iterator[Row]:
    """Yield what is assumed and no option of cells."""
    options, ageing = study.spec.options, study.spec.ageing
    step = f"a step on {study.spec.chip_name} before anything is counted, or as given"
    yield "batch_s", f"{options.step_s:.3g}", step
    yield "one carry", f"{LEVEL_USIEMENS} uS", "assumed: the curve's mean step is 0.88 uS over 8 pulses"
    yield "one write", f"at most {options.hybrid.most_writes} pulses, to {LEVEL_USIEMENS / 2} uS", "assumed"
    yield "binary cell", f"{ON_USIEMENS:g} uS, contrast {CONTRAST:g}", "assumed; the contrast as CrossSim's PCMJoshi"
    yield "ranges of converters", f"{FOLLOWS:g} of each batch", "assumed, as is usual for normalisations"
    yield "rate of digital numbers", f"{options.digital_rate:g}, momentum {options.momentum:g}", "assumed"
    yield "course of rates", "to 0 along a cosine", "assumed"
    yield "validation", f"{options.validation:.0%} of the training images", "assumed, or as given"
    yield "new normalisations", f"{ageing.calibration:,} images", "recalled of Nat. Commun. 2020, not verified"
    yield "drift models", ", ".join(ageing.models), "`imcsim explain MODEL` lists the sources of their constants"
    yield "comparable, negligible", f"{COMPARABLE_POINTS} points, {NEGLIGIBLE_POINTS:g} point", "assumed"
    yield "usual endurance", f"{USUAL_CYCLES:.0e} cycles, of which {SMALL_FRAC:.0%} is small", "assumed"


def _over_time(study: Study) -> Iterator[str]:
    ageing = study.tables["ageing"]
    if not len(ageing):
        yield "Not asked for."
        return
    n = f"at most {study.spec.ageing.images:,}"
    for width, part in ageing.groupby("width"):
        yield f"Width {width:g}, test accuracy in per cent, over seeds and draws of cells, of {n} test images:"
        yield table(age_heads(part), age_rows(part))
    yield "![](accuracy_over_time.png)"
    rows = [(r.fix, si(r.time_s, "s"), si(r.energy_pj / PJ_PER_J, "J"), r.what) for r in study.repairs]
    yield f"One repair of the widest network on {study.step.hardware.name}; no cell is written:"
    yield table(("repair", "time", "energy", "what"), rows)


def _wear(study: Study) -> str:
    updates = int(study.tables["runs"]["updates"].max())
    least, most = ENDURANCE_CYCLES
    text = (
        f"Cycles of write and erase. No training of {updates:,} updates can take more than {bound(updates):,} of an "
        f"accumulator's cell; PCM endures {least:.0e} to {most:.0e} as published."
    )
    return PARAGRAPH.join([text, wear(study.tables["wear"])])


def _step(study: Study) -> str:
    step = study.step
    totals, epoch = step.summary["step"], step.summary["epoch"]
    text = (
        f"One step of {step.options.batch} images of the widest network on {study.spec.chip_name}, with the updates "
        f"that were counted: {si(step.step_s, 's')}, {si(step.energy_pj / PJ_PER_J, 'J')}, "
        f"{totals['cycles']:,.0f} cycles, an EDP of {_edp(totals)}; an epoch takes "
        f"{si(epoch['time_ns'] / NS_PER_S, 's')} and {si(epoch['energy_pj'] / PJ_PER_J, 'J')}, an EDP of {_edp(epoch)}."
    )
    rows = [
        (row["event"], f"{row['time_percent']:.1f} %", f"{100 * row['energy_pj'] / step.energy_pj:.1f} %")
        for row in step.summary["events"]
    ]
    return PARAGRAPH.join([text, table(("event", "time", "energy"), rows)])


def _edp(cost: Mapping[str, float]) -> str:
    return si(cost["edp_pj_ns"] / PJ_PER_J / NS_PER_S, "J s")
