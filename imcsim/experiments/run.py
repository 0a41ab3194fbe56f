"""The steps of a run, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.mapping.plan import Plan
from imcsim.mapping.schemes import load_scheme
from imcsim.reporting.report import Report, build_report
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing import engine as engines
from imcsim.timing.simulate import simulate
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.progress import Progress, silent
from imcsim.workload.importers import load_network
from imcsim.workload.workload import Workload

if TYPE_CHECKING:
    from imcsim.functional.evaluate import Trial


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
    request = RunSpec(loaded, chip, scheme, batch, dict(options or {}), engine, seed, sampled_writes, trial)
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


def execute(request: RunSpec, progress: Progress = silent) -> Report:
    """Plan, price, compute values, simulate, report; ``progress`` is told of every phase."""
    _check(request)
    plan = plan_for(request)
    costs = CostTable.of(request.hardware)
    spec = (plan, request.workload, request.hardware, request.batch, request.engine, progress)
    if request.trial is None:
        drawn = request.seed if request.sampled_writes else None
        return build_report(simulate(*spec, write_seed=drawn), costs, request)
    from imcsim.functional.evaluate import evaluate

    found = evaluate(request.trial, plan, request.hardware, request.seed, progress)
    trace = simulate(*spec, works=found.works, activity=found.activity)
    report = build_report(trace, costs, request, found)
    found.journal.forget()
    return report


def _check(request: RunSpec) -> None:
    if isinstance(request.batch, bool) or not isinstance(request.batch, int) or request.batch < 1:
        hint = "leave it out for one image"
        raise ImcsimError(f"batch {request.batch}", "must be a whole number of images, at least 1", hint)
    if request.seed < 0:
        raise ImcsimError(f"seed {request.seed}", "must not be negative", "leave it out for seed 0")
    if request.engine not in engines.ENGINES:
        hint = did_you_mean(request.engine, engines.ENGINES)
        raise ImcsimError(f"engine '{request.engine}'", "there is no such engine", hint)


def plan_for(request: RunSpec) -> Plan:
    """What the scheme decides."""
    scheme = load_scheme(request.scheme, request.options)
    return scheme.plan(request.workload, request.hardware, request.batch, request.seed)
