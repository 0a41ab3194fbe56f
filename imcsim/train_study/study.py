"""The study itself: rates, trainings, ageing, cost, and everything into one directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from imcsim.files import new_file, run_directory
from imcsim.progress import Progress, silent
from imcsim.train_study.cost import Repair, repairs_of, step_of, workload_of
from imcsim.train_study.request import Request
from imcsim.train_study.text import report_text
from imcsim.training import figures
from imcsim.training.claims import Claim, Evidence, claims
from imcsim.training.export import order_of
from imcsim.training.options import TrainOptions
from imcsim.training.runs import Run, Task, execute, grid, key_of, tuned
from imcsim.training.tables import TABLES
from imcsim.training_step.report import StepReport

TUNING_SEED = 1_000_003  # of trainings that choose a rate; none of those that are reported
Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Study:
    """What came out. ``rates``: taken for each kind. ``tried``: validation accuracies of all rates, where several were.

    ``step``, ``repairs``: of the widest network.
    """

    request: Request
    data_name: str
    test_name: str
    rates: dict[str, float]
    tried: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    claims: list[Claim]
    step: StepReport
    repairs: list[Repair]
    warnings: list[str]


def study(request: Request, out: Path, progress: Progress = silent) -> Study:
    """Do all that is asked for and write it to the directory ``out``, whole or not at all.

    What was done so far lies in ``OUT.unfinished``, from where an interrupted study goes on. Raises ImcsimError for bad
    input, before anything is trained where that can be known.
    """
    task, unfinished = request.task(), out.with_name(f"{out.name}.unfinished")
    request = replace(request, options=replace(request.options, batch_s=_batch_s(request, task)))
    rates, tries = _rates(request, task, unfinished, progress)
    runs = list(_runs(request, rates))
    entries = execute(task, runs, unfinished, progress)
    found = _found(request, task, rates, tries, entries)
    with run_directory(out.parent, out.name) as folder:
        _write(found, folder)
        for run in runs:
            if run.kept:
                _keep(unfinished / key_of(task, run), folder / f"width-{run.width:g}")
    shutil.rmtree(unfinished, ignore_errors=True)
    return found


def _batch_s(request: Request, task: Task) -> float:
    """Simulated seconds of a step: as given, or as the chip takes for the first width, with assumed amounts."""
    if not isinstance(request.batch_s, str):
        return request.batch_s
    network = task.build(request.widths[0], 0)
    workload, order = workload_of(network, task.image_shape), order_of(network, task.image_shape)
    options = request.options
    return step_of(workload, order, request.hardware, options.batch, len(task.data.labels), {}, options.hybrid).step_s


def _rates(request: Request, task: Task, folder: Path, progress: Progress) -> tuple[dict[str, float], Entries]:
    """The best rate of each kind on validation images, at the first width."""
    chosen, tries = {}, list[dict[str, Any]]()
    for kind, rates in request.rates.items():
        options = replace(_base(request, kind), seed=TUNING_SEED)
        chosen[kind] = rates[0]
        if len(rates) > 1:
            chosen[kind], entries = tuned(task, Run(options, request.widths[0]), rates, folder, progress)
            tries += entries
    return chosen, tries


def _base(request: Request, kind: str) -> TrainOptions:
    return replace(request.options, weights=kind)  # type: ignore[arg-type]


def _runs(request: Request, rates: dict[str, float]) -> Iterator[Run]:
    """Every kind at every width with every seed; of hybrid networks the first seed is kept."""
    for run in grid(list(rates), request.widths, range(request.seeds), request.options, request.ageing):
        options = replace(run.options, rate=rates[run.options.weights])
        yield replace(run, options=options, kept=options.weights == "hybrid" and options.seed == 0)


def _found(request: Request, task: Task, rates: dict[str, float], tries: Entries, entries: Entries) -> Study:
    tables = {name: table(entries) for name, table in TABLES.items()}
    evidence = Evidence(tables["runs"], tables["ageing"], tables["wear"], pd.DataFrame())
    widest = max((entry for entry in entries if entry["weights"] == "hybrid"), key=lambda entry: entry["width"])
    network = task.build(widest["width"], 0)
    workload, order = workload_of(network, task.image_shape), order_of(network, task.image_shape)
    options, n_images = request.options, len(task.data.labels)
    step = step_of(workload, order, request.hardware, options.batch, n_images, widest, options.hybrid)
    warnings = list(dict.fromkeys(text for entry in entries for text in entry["warnings"]))
    return Study(
        request, task.data.name, task.test.name, rates, TABLES["runs"](tries), tables, claims(evidence), step,
        repairs_of(workload, step.hardware, request.ageing), warnings,
    )  # fmt: skip


def _write(found: Study, folder: Path) -> None:
    for name, table in found.tables.items():
        if len(table):
            with new_file(folder / f"{name}.csv") as partial:
                table.to_csv(partial, index=False, lineterminator="\n")
    _draw(found, folder)
    (folder / "report.md").write_text(report_text(found), encoding="utf-8")
    (folder / "step.json").write_text(json.dumps(found.step.summary, indent=2), encoding="utf-8")
    rates = {name: asdict(each) for name, each in found.step.rates.items()}
    (folder / "rates.json").write_text(json.dumps(rates, indent=2), encoding="utf-8")


def _draw(found: Study, folder: Path) -> None:
    title = f"{found.request.network_name} on {found.data_name}"
    figures.accuracy_against_size(found.tables["runs"], title, folder)
    if len(found.tables["ageing"]):
        widest = found.tables["ageing"]["width"].max()
        part = found.tables["ageing"].query("width == @widest")
        figures.accuracy_over_time(part, f"{title}, width {widest:g}", folder)
    wear = found.tables["histograms"]
    widest = wear["width"].max()
    updates = int(found.tables["runs"]["updates"].max())
    figures.wear_histogram(wear[wear["width"] == widest], updates, f"{title}, width {widest:g}", folder)


def _keep(made: Path, folder: Path) -> None:
    """Cells and weights of one network."""
    folder.mkdir()
    shutil.copyfile(made.with_suffix(".safetensors"), folder / "cells.safetensors")
    shutil.copyfile(made.with_suffix(".onnx"), folder / "network.onnx")
