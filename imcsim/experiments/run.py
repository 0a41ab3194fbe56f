"""The steps of a run, in order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.preset import AnyHardware, loaded
from imcsim.mapping.plan import Plan
from imcsim.mapping.schemes import load_scheme
from imcsim.reporting.report import Report, build_report
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing import engine as engines
from imcsim.timing.simulate import simulate
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.progress import Progress, silent
from imcsim.workload.importers import as_workload
from imcsim.workload.workload import Workload

if TYPE_CHECKING:
    from imcsim.functional.trial import Trial


def run(
    workload: str | Path | Workload,
    hardware: AnyHardware,
    scheme: str = "reprogram",
    *,
    write: str | None = None,
    batch: int = 1,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    engine: str = "fast",
    seed: int = 0,
    sampled_writes: bool = False,
    trial: Trial | None = None,
    progress: Progress = silent,
) -> Report:
    """Simulate a batch of images of a workload on a chip under a scheme.

    Parameters
    ----------
    workload : str, Path or Workload
        A shipped name, a trace, an ONNX or TensorFlow Lite model, or what ``load_workload`` returned.
    hardware : str, Path, Preset or Hardware
        A shipped name or a YAML file; a ``Preset`` or loaded hardware where more is changed about it than a few values.
    scheme : str
        A shipped scheme or a Python file with one.
    write : str, optional
        A write preset instead of the one of the hardware.
    batch : int
        Images of one batch.
    overrides : mapping of str to value, optional
        Values of the hardware by dotted key, such as ``{"tile.adc.bits": 6}``.
    options : mapping of str to value, optional
        Options of the scheme.
    engine : {'fast', 'simpy'}
        Which engine executes the plan; both report the same.
    seed : int
        Seed of everything random.
    sampled_writes : bool
        Draw the times of writes; else they are expected ones.
    trial : Trial, optional
        Images and cells: then the report says what the network answers.
    progress : callable
        Is told of what is done, the total and the next step.

    Returns
    -------
    Report
        Times in ns, energies in pJ, areas in um2, as tables and as a summary; ``Report.write`` makes its files.

    Raises
    ------
    ImcsimError
        For every kind of bad input, before anything is simulated.

    Examples
    --------
    >>> report = run("resnet18", "rram-256", "basis_broadcast", write="ember2b_word", options={"q": 8})
    >>> report.summary["scheme"]
    'basis_broadcast'
    """
    network, chip = as_workload(workload), loaded(hardware, write, overrides)
    spec = RunSpec(network, chip, scheme, batch, dict(options or {}), engine, seed, sampled_writes, trial)
    return execute(spec, progress)


def execute(spec: RunSpec, progress: Progress = silent) -> Report:
    """Plan, price, compute values, simulate, report; ``progress`` is told of every phase."""
    _check(spec)
    plan, costs = plan_for(spec), CostTable.of(spec.hardware)
    simulated = partial(simulate, plan, spec.workload, spec.hardware, spec.batch, spec.engine, progress)
    if spec.trial is None:
        return build_report(simulated(write_seed=spec.seed if spec.sampled_writes else None), costs, spec)
    from imcsim.functional.evaluate import evaluate

    result = evaluate(spec.trial, plan, spec.hardware, spec.seed, progress)
    report = build_report(simulated(works=result.works, activity=result.activity), costs, spec, result)
    result.journal.forget()
    return report


def _check(spec: RunSpec) -> None:
    if isinstance(spec.batch, bool) or not isinstance(spec.batch, int) or spec.batch < 1:
        hint = "leave it out for one image"
        raise ImcsimError(f"batch {spec.batch}", "must be a whole number of images, at least 1", hint)
    if spec.seed < 0:
        raise ImcsimError(f"seed {spec.seed}", "must not be negative", "leave it out for seed 0")
    if spec.engine not in engines.ENGINES:
        hint = did_you_mean(spec.engine, engines.ENGINES)
        raise ImcsimError(f"engine '{spec.engine}'", "there is no such engine", hint)


def plan_for(spec: RunSpec) -> Plan:
    """Return what the scheme decides; raises ImcsimError for an unknown scheme and where the network does not fit."""
    scheme = load_scheme(spec.scheme, spec.options)
    return scheme.plan(spec.workload, spec.hardware, spec.batch, spec.seed)
