"""What the cost stages of the basis study share: networks, chips, one measured run, rows that survive interruption."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from imcsim.experiments.run import plan_for
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.reporting.closed_form import closed_form_cycles
from imcsim.reporting.report import build_report
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing import engine as engines
from imcsim.timing.compile import compile_plan
from imcsim.timing.engine.contract import Job, JobResult
from imcsim.timing.execution import Execution
from imcsim.timing.recipes import Context
from imcsim.util.files import new_file
from imcsim.util.journal import Journal
from imcsim.util.progress import Progress
from imcsim.workload.workload import load_workload

NETWORKS = ("resnet18", "resnet34", "resnet50", "densenet121", "resnet18_cifar100", "densenet121_cifar100")
BASELINES: dict[str, dict[str, Any]] = {"reprogram": {}, "reprogram_packed": {"grouping": "packed"}}
HARDWARE, SEED = "rram-256", 0  # the seed of the random coefficients
TIMES_S: dict[str, float] = {}  # processor seconds of each stage of this process
RESULTS_KEPT = 400
_RESULTS: dict[str, JobResult] = {}

Rows = list[dict[str, Any]]


def chip(write: str, crossbars: int = 256, **overrides: Any) -> Hardware:
    """The chip of the study with so many crossbars, 8 in a tile."""
    return load_hardware(HARDWARE, {"chip.n_tiles": crossbars // 8, **overrides}, write)


def request(network: str, hardware: Hardware, scheme: str, options: Mapping[str, Any], batch: int) -> RunSpec:
    """A run of the study."""
    return RunSpec(load_workload(network), hardware, scheme, batch, dict(options), seed=SEED)


def measured(asked: RunSpec) -> dict[str, Any]:
    """Simulated cycles, energy and both products of a run, per inference, and the slots of its time multiplexing."""
    trace = _simulated(asked)
    summary = build_report(trace, CostTable.of(asked.hardware), asked).summary
    names = ("energy_pj", "edp_latency_pj_ns", "edp_throughput_pj_ns")
    slots = {key: value for key, value in trace.plan.facts.items() if key.startswith("slots_")}
    return {
        "cycles": summary["cycles_per_inference"], "closed_form_cycles": closed_form_cycles(trace),
        **{name: summary[name] for name in names}, "slots": slots,
        "writes_per_batch": summary["lifetime_inferences"].get("writes_per_batch", 0),
        "pulses_per_image": summary["write_pulses"] / asked.batch,
    }  # fmt: skip


def _simulated(asked: RunSpec) -> Execution:
    """As ``simulate``, with jobs that an earlier run had too (only writes differ) taken from there."""
    plan = plan_for(asked)
    compiled = compile_plan(plan, Context(asked.hardware, asked.workload, {}, {}), asked.batch)
    in_flight = asked.batch if plan.in_flight == "all" else plan.in_flight
    results = tuple(_of_job(job, asked.batch, in_flight) for job in compiled.jobs)
    return Execution(asked.workload, asked.hardware, plan, asked.batch, compiled.jobs, results, compiled.spilled)


def _of_job(job: Job, batch: int, in_flight: int) -> JobResult:
    key = hashlib.sha256(pickle.dumps((job, batch, in_flight))).hexdigest()
    if key not in _RESULTS:
        if len(_RESULTS) >= RESULTS_KEPT:
            _RESULTS.clear()
        _RESULTS[key] = engines.run_in_groups(job, batch, in_flight)
    return _RESULTS[key]


def kept(results: Path, stage: str, cases: Mapping[str, Callable[[], Any]], progress: Progress) -> dict[str, Any]:
    """What every case found, in their order; those of an interrupted run are not computed again."""
    journal, begin = Journal(results / "unfinished", stage), time.process_time()
    for number, (key, work) in enumerate(cases.items()):
        progress(number, len(cases), key)
        if key not in journal.entries:
            journal.add(key, work())
    TIMES_S[stage] = TIMES_S.get(stage, 0.0) + time.process_time() - begin
    return {key: journal.entries[key] for key in cases}


def save(results: Path, stage: str, rows: Rows) -> None:
    """Write the table of a stage; its unfinished rows are no longer needed."""
    with new_file(results / f"{stage}.csv") as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, float_format="%.8g", lineterminator="\n")
    Journal(results / "unfinished", stage).forget()


def alone(stage: str, run: Callable[[Path, Progress], None], draw: Callable[[Path, Path], None] | None = None) -> None:
    """A stage as a command: its table, then its figure."""
    from imcsim.util.progress import bar

    here = Path(__file__).resolve().parent
    with bar(stage) as progress:
        run(here / "results", progress)
    if draw:
        draw(here / "results", here.parents[1] / "docs" / "figures")
    print("processor seconds:", {stage: round(seconds) for stage, seconds in TIMES_S.items()})
