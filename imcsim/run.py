"""The steps of a run, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from imcsim import engine as engines
from imcsim.costs import CostTable
from imcsim.errors import ImcsimError, did_you_mean
from imcsim.hardware import Hardware, load_hardware
from imcsim.importers import load_network
from imcsim.jobs import compile_plan
from imcsim.ledger import Trace
from imcsim.plan import Phase, Plan
from imcsim.progress import Progress, silent
from imcsim.report import Report, build_report
from imcsim.schemes import load_scheme
from imcsim.timing import Activity, Context
from imcsim.workload import Workload
from imcsim.write_work import Works, drawn_work

if TYPE_CHECKING:
    from imcsim.values import Trial


@dataclass(frozen=True)
class Request:
    """Everything that decides the result of a run."""

    workload: Workload
    hardware: Hardware
    scheme: str = "reprogram"
    batch: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "fast"
    seed: int = 0
    sampled_writes: bool = False
    trial: Trial | None = None  # images to compute values for


def run(
    workload: str | Path | Workload,
    hardware: str | Path | Hardware,
    scheme: str = "reprogram",
    *,
    write: str | None = None,
    batch: int = 1,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    ideal: Sequence[str] = (),
    engine: str = "fast",
    seed: int = 0,
    sampled_writes: bool = False,
    allow_unknown: bool = False,
    trial: Trial | None = None,
    progress: Progress = silent,
) -> Report:
    """Simulate ``batch`` images of a workload on a chip under a scheme.

    ``workload`` and ``hardware`` are shipped names, files or loaded objects. ``write`` names a write preset,
    ``overrides`` sets hardware values by dotted key, ``options`` are the scheme's own, ``ideal`` names parts that
    nothing waits for. ``trial`` gives images and cells: then the report says what the network answers.
    Raises ImcsimError for every kind of bad input, before anything is simulated.

    >>> report = run("resnet18", "rram-256", "basis_broadcast", write="ember2b_word", options={"q": 8})
    >>> report.summary["scheme"]
    'basis_broadcast'
    """
    loaded = workload if isinstance(workload, Workload) else load_network(workload, allow_unknown=allow_unknown)
    chip = prepare(hardware, overrides, write, ideal)
    request = Request(loaded, chip, scheme, batch, dict(options or {}), engine, seed, sampled_writes, trial)
    return execute(request, progress)


def prepare(
    hardware: str | Path | Hardware, overrides: Mapping[str, Any] | None, write: str | None, ideal: Sequence[str]
) -> Hardware:
    """The chip that a user means; ImcsimError where a loaded one is to be changed again."""
    if not isinstance(hardware, Hardware):
        return load_hardware(str(hardware), dict(overrides or {}), write, tuple(ideal))
    if overrides or write or ideal:
        hint = "give them to load_hardware, or give a name here"
        raise ImcsimError(hardware.name, "overrides, write and ideal change a preset while it is loaded", hint)
    return hardware


def execute(request: Request, progress: Progress = silent) -> Report:
    """Plan, price, compute values, simulate, report; ``progress`` is told of every phase."""
    _check(request)
    plan = plan_for(request)
    costs = CostTable.of(request.hardware)
    if request.trial is None:
        return build_report(simulate(plan, request, progress), costs, request)
    from imcsim.values import measure

    found = measure(request.trial, plan, request.hardware, request.seed, progress)
    trace = simulate(plan, request, progress, found.works, found.activity)
    report = build_report(trace, costs, request, found)
    found.journal.forget()
    return report


def _check(request: Request) -> None:
    if isinstance(request.batch, bool) or not isinstance(request.batch, int) or request.batch < 1:
        hint = "leave it out for one image"
        raise ImcsimError(f"batch {request.batch}", "must be a whole number of images, at least 1", hint)
    if request.seed < 0:
        raise ImcsimError(f"seed {request.seed}", "must not be negative", "leave it out for seed 0")
    if request.engine not in engines.ENGINES:
        hint = did_you_mean(request.engine, engines.ENGINES)
        raise ImcsimError(f"engine '{request.engine}'", "there is no such engine", hint)


def plan_for(request: Request) -> Plan:
    """What the scheme decides."""
    scheme = load_scheme(request.scheme, request.options)
    return scheme.plan(request.workload, request.hardware, request.batch, request.seed)


def simulate(
    plan: Plan,
    request: Request,
    progress: Progress = silent,
    works: Works = MappingProxyType({}),
    activity: Mapping[str, Activity] = MappingProxyType({}),
) -> Trace:
    """Recipes, jobs, engine; ``works`` and ``activity``: what values told of writes and layers."""
    if request.sampled_writes and not works:
        works = {op: drawn_work(op, request.hardware, request.seed) for op in plan.programs()}
    context = Context(request.hardware, request.workload, works, activity)
    compiled = compile_plan(plan, context, request.batch)
    in_flight = request.batch if plan.in_flight == "all" else plan.in_flight
    results = []
    for number, job in enumerate(compiled.jobs):
        progress(number, len(compiled.jobs), job.name)
        results.append(engines.run_in_groups(job, request.batch, in_flight, request.engine))
    setup = compile_plan(Plan("setup", (Phase("setup", plan.setup),), 0, 0), context, 1).jobs if plan.setup else ()
    setup_results = tuple(engines.run(job, 1, request.engine) for job in setup)
    return Trace(
        request.workload, request.hardware, plan, request.batch, compiled.jobs, tuple(results), compiled.spilled,
        setup, setup_results, compiled.overfull, works,
    )  # fmt: skip
