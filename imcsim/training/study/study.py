"""Do the study itself: rates, trainings, ageing, cost, and everything into one directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from imcsim.training.hic import figures
from imcsim.training.hic.claims import Evidence, claims
from imcsim.training.hic.export import order_of
from imcsim.training.hic.options import TrainOptions
from imcsim.training.hic.runs import TrainingRun, choose_rate, execute, grid, key_of
from imcsim.training.hic.tables import TABLES
from imcsim.training.images import split
from imcsim.training.step.report import StepReport
from imcsim.training.study.cost import Repair, large_enough, repairs_of, step_of, workload_of
from imcsim.training.study.result import Study
from imcsim.training.study.spec import StudySpec
from imcsim.training.study.text import report_text
from imcsim.training.tasks import Task, is_normalised
from imcsim.util.config import canonical_hash
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file, run_directory
from imcsim.util.progress import Progress, silent

TUNING_SEED = 1_000_003  # of trainings that choose a rate; none of those that are reported
REPORT = ("report.md", "step.json")  # by which an earlier report is known
Entries = list[dict[str, Any]]


def train(spec: StudySpec | None = None, out: str | Path | None = None, progress: Progress = silent) -> Study:
    """Train networks on cells and on 32-bit floats, age them, price their steps; the study behind ``imcsim train``.

    Parameters
    ----------
    spec : StudySpec, optional
        Network, images, and what varies; without any a small one on 8x8 digits.
    out : str or Path, optional
        A directory for the report and the trained networks, written whole or not at all. What was done so far lies
        below ``OUT.unfinished``, from where the same study goes on if interrupted. Without it nothing is kept.
    progress : callable
        Is told of what is done, the total and the next step.

    Returns
    -------
    Study
        Accuracies, ageing, wear and claims as DataFrames, and a ``StepReport`` of the widest network.

    Raises
    ------
    ImcsimError
        For bad input, before anything is trained where that can be known.
    """
    spec = spec or StudySpec()
    if out is None:
        with tempfile.TemporaryDirectory() as temporary:
            return _carried_out(spec, Path(temporary), progress)[0]
    place = Path(os.path.abspath(out))
    check_out(place)
    unfinished = place.with_name(f"{place.name}.unfinished") / canonical_hash(asdict(spec))
    study, runs, task = _carried_out(spec, unfinished, progress)
    with run_directory(place.parent, place.name) as folder:
        _write(study, folder)
        for run in runs:
            if run.kept:
                _keep(unfinished / key_of(task, run), folder / f"width-{run.width:g}")
    shutil.rmtree(unfinished, ignore_errors=True)
    with contextlib.suppress(OSError):  # another study was interrupted there, and may go on
        unfinished.parent.rmdir()
    return study


def _carried_out(spec: StudySpec, unfinished: Path, progress: Progress) -> tuple[Study, list[TrainingRun], Task]:
    """Do all that is asked for; what is done lies in ``unfinished``. Return what came out, and the trainings."""
    task = spec.task()
    spec = _with_repairs(spec, task)
    steps = [_step(spec, task, width, {}) for width in spec.widths]  # tells whether the chip can hold them
    step_s = steps[0].step_s if isinstance(spec.step_s, str) else spec.step_s
    spec = replace(spec, options=replace(spec.options, step_s=step_s))
    rates, tries, failed = _rates(spec, task, unfinished, progress)
    runs = list(_runs(spec, rates))
    entries = execute(task, runs, unfinished, progress)
    return _result(spec, task, rates, tries, entries, failed), runs, task


def _with_repairs(spec: StudySpec, task: Task) -> StudySpec:
    """Return the options without new normalisations where the network has none."""
    if is_normalised(task.build(max(spec.widths), 0)):
        return spec
    fixes = tuple(fix for fix in spec.ageing.fixes if fix != "normalisation")
    return replace(spec, ageing=replace(spec.ageing, fixes=fixes))


def check_out(out: Path) -> None:
    """Refuse a directory that holds anything but an earlier report, which is replaced."""
    if not out.name or (out.is_dir() and any(out.iterdir()) and not all((out / name).is_file() for name in REPORT)):
        raise ImcsimError(f"--out {out}", "is a directory that holds other things", "name a new one")


def _step(spec: StudySpec, task: Task, width: float, entry: Mapping[str, Any]) -> StepReport:
    """Simulate a step at a width on the chip, with assumed amounts where there is no entry of a training."""
    network = task.build(width, 0)
    workload, order = workload_of(network, task.image_shape), order_of(network, task.image_shape)
    options, images = spec.options, len(split(task.data, spec.options)[0].labels)
    chip = large_enough(workload, spec.hardware, spec.overrides)
    return step_of(workload, order, chip, options.batch, images, entry, options.hybrid)


def _rates(
    spec: StudySpec, task: Task, folder: Path, progress: Progress
) -> tuple[dict[str, float], Entries, list[str]]:
    """Return the best rate of each kind on validation images, at the first width; all that were tried; what failed."""
    chosen, tries, failed = {}, list[dict[str, Any]](), list[str]()
    for kind, rates in spec.rates.items():
        options = replace(_base(spec, kind), seed=TUNING_SEED)
        chosen[kind] = rates[0]
        if len(rates) > 1:
            chosen[kind], entries, said = choose_rate(
                task, TrainingRun(options, spec.widths[0]), rates, folder, progress
            )
            tries, failed = tries + entries, failed + said
    return chosen, tries, failed


def _base(spec: StudySpec, kind: str) -> TrainOptions:
    return replace(spec.options, weights=kind)  # type: ignore[arg-type]


def _runs(spec: StudySpec, rates: dict[str, float]) -> Iterator[TrainingRun]:
    """Run every kind at every width with every seed; of hybrid networks the first seed is kept."""
    for run in grid(list(rates), spec.widths, range(spec.seeds), spec.options, spec.ageing):
        options = replace(run.options, rate=rates[run.options.weights])
        yield replace(run, options=options, kept=options.weights == "hybrid" and options.seed == 0)


def _result(
    spec: StudySpec, task: Task, rates: dict[str, float], tries: Entries, entries: Entries, failed: list[str]
) -> Study:
    tables = {name: table(entries) for name, table in TABLES.items()}
    evidence = Evidence(tables["runs"], tables["ageing"], tables["wear"], pd.DataFrame())
    widest = max((entry for entry in entries if entry["weights"] == "hybrid"), key=lambda entry: entry["width"])
    step = _step(spec, task, widest["width"], widest)
    said = [text for entry in entries for text in entry["warnings"]]
    return Study(
        spec, task.data.name, task.test.name, rates, TABLES["runs"](tries), tables, claims(evidence), step,
        _repairs(spec, task, step), list(dict.fromkeys([*failed, *said])),
    )  # fmt: skip


def _repairs(spec: StudySpec, task: Task, step: StepReport) -> list[Repair]:
    """Return what each repair takes."""
    images = min(spec.ageing.calibration, len(split(task.data, spec.options)[0].labels))
    return repairs_of(step.workload, step.hardware, spec.ageing.fixes, images)


def _write(result: Study, folder: Path) -> None:
    for name, table in (result.tables | {"tried": result.tried}).items():
        if len(table):
            with new_file(folder / f"{name}.csv") as partial:
                table.to_csv(partial, index=False, lineterminator="\n")
    _draw(result, folder)
    (folder / "report.md").write_text(report_text(result), encoding="utf-8")
    (folder / "step.json").write_text(json.dumps(result.step.summary, indent=2), encoding="utf-8")
    rates = {name: asdict(layer_rates) for name, layer_rates in result.step.rates.items()}
    (folder / "rates.json").write_text(json.dumps(rates, indent=2), encoding="utf-8")


def _draw(result: Study, folder: Path) -> None:
    title = f"{result.spec.network_name} on {result.data_name}"
    figures.accuracy_against_size(result.tables["runs"], title, folder)
    if len(result.tables["ageing"]):
        widest = result.tables["ageing"]["width"].max()
        part = result.tables["ageing"].query("width == @widest")
        figures.accuracy_over_time(part, f"{title}, width {widest:g}", folder)
    wear = result.tables["histograms"]
    widest = wear["width"].max()
    updates = int(result.tables["runs"]["updates"].max())
    figures.wear_histogram(wear[wear["width"] == widest], updates, f"{title}, width {widest:g}", folder)


def _keep(trained: Path, folder: Path) -> None:
    """Keep cells and weights of one network."""
    folder.mkdir()
    shutil.copyfile(trained.with_suffix(".safetensors"), folder / "cells.safetensors")
    shutil.copyfile(trained.with_suffix(".onnx"), folder / "network.onnx")
