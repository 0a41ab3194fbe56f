"""Schemes against the better of both kinds of reprogramming, over write presets and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.experiments.crossovers import crossovers
from imcsim.experiments.run import execute, plan_for
from imcsim.experiments.workers import in_order
from imcsim.hardware.hardware import Hardware
from imcsim.hardware.preset import AnyHardware, Preset, loaded
from imcsim.mapping.plan import BasisMvm
from imcsim.mapping.schemes import load_scheme
from imcsim.reporting.closed_form import closed_form_cycles, line, waited_for
from imcsim.reporting.comparison import BASELINES, Comparison, Row, with_ratios
from imcsim.reporting.report import Report
from imcsim.reporting.run_spec import RunSpec
from imcsim.util.errors import DoesNotFit, ImcsimError, did_you_mean
from imcsim.util.progress import Progress, silent
from imcsim.workload.importers import as_workload
from imcsim.workload.workload import Workload

if TYPE_CHECKING:
    from imcsim.functional.trial import Trial

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # name in a comparison -> scheme and its options
    "static": ("static", {}),
    "reprogram": ("reprogram", {}),
    "reprogram_packed": ("reprogram", {"grouping": "packed"}),
    "reprogram_buffered": ("reprogram", {"grouping": "packed", "overlap": True}),
    "basisn_inferred": ("basisn_inferred", {}),
    "basis_broadcast": ("basis_broadcast", {}),
    "basis_exact": ("basis_broadcast", {"basis": "hadamard"}),
    "hybrid": ("hybrid", {}),
    "digital": ("digital", {}),
}
COSTED = tuple(name for name in VARIANTS if name != "basis_exact")  # the default without images
VALUED = ("static", "reprogram", "reprogram_packed", "basis_exact", "digital")  # the default with them
BASES = ("basisn_inferred", "basis_broadcast", "hybrid")  # that take a basis from a file
WRITES = ("ideal_single", "ember2b_word", "radar2b_serial")
BATCHES = (1, 16, 64, 256)


def compare(
    workload: str | Path | Workload,
    hardware: AnyHardware,
    *,
    writes: Sequence[str] = (),
    batches: Sequence[int] = (),
    schemes: Sequence[str] = (),
    engine: str = "fast",
    seed: int = 0,
    processes: int = 1,
    keep_runs: str | Path | None = None,
    trial: Trial | None = None,
    basis: str = "synthetic",
    progress: Progress = silent,
) -> Comparison:
    """Run every scheme with every write preset and batch, against the better of R0 and R1 at each batch.

    Parameters
    ----------
    workload : str, Path or Workload
        A shipped name, a trace, an ONNX or TensorFlow Lite model, or what ``load_workload`` returned.
    hardware : str, Path, Preset or Hardware
        A shipped name or a YAML file; a ``Preset`` where something is changed about it. Loaded hardware keeps its own
        write preset.
    writes : sequence of str
        Write presets; without any ``WRITES``.
    batches : sequence of int
        Images of one batch; without any ``BATCHES``, or 1 where there is a ``trial``.
    schemes : sequence of str
        Names of ``VARIANTS``, or of schemes or files with their default options; without any ``COSTED``, or ``VALUED``
        where there is a ``trial``.
    engine, seed
        As of ``run``.
    processes : int
        Runs at the same time; a script that asks for more than one needs the usual main guard.
    keep_runs : str or Path, optional
        Where the directory of each run is written too.
    trial : Trial, optional
        Images and cells, so that accuracies stand beside the ratios.
    basis : str
        A file of ``fit_basis`` for the schemes that combine a basis, which then have values too.
    progress : callable
        Is told of what is done, the total and the last row.

    Returns
    -------
    Comparison
        One row per write preset, batch and scheme; a network that does not fit a scheme is a row that says so.

    Raises
    ------
    ImcsimError
        For every kind of bad input.

    Examples
    --------
    >>> comparison = compare("resnet20_cifar", "rram-256", writes=["ember2b_word"], batches=[1, 16])
    >>> sorted(set(comparison.frame["baseline"]) - {"reprogram", "reprogram_packed"})
    []
    """
    network, sizes = as_workload(workload), batches or (BATCHES if trial is None else (1,))
    names = _checked(schemes or _usual(trial, basis))
    if trial:
        _check_trial(trial, names, basis)
    chips = _chips(hardware, writes)
    cases = [
        (write, name, RunSpec(network, chip, scheme, batch, options, engine, seed, trial=trial))
        for (write, chip), batch in product(chips.items(), _checked_batches(sizes))
        for name in names
        for scheme, options in [_variant(name, basis)]
    ]
    rows = []
    for row in in_order(partial(_row, keep_runs=keep_runs), cases, processes):
        rows.append(row)
        progress(len(rows), len(cases), f"{row.write}, batch {row.batch}, {row.scheme}")
    related = with_ratios(rows)
    chip, preset = next(iter(chips.values())), hardware if isinstance(hardware, Preset) else Preset("")
    settings = {
        "writes": list(chips), "batches": list(sizes), "schemes": names, "engine": engine, "seed": seed,
        "overrides": dict(preset.overrides), "ideal": list(preset.ideal), "hardware_hash": chip.hash,
        "trial": trial.settings() if trial else {}, "basis": basis,
    }  # fmt: skip
    return Comparison(network.name, chip.name, settings, tuple(related), tuple(crossovers(related)))


def _usual(trial: Trial | None, basis: str) -> tuple[str, ...]:
    """Return the schemes that are compared where none are named."""
    if trial is None:
        return COSTED
    return VALUED if basis == "synthetic" else (*VALUED, *BASES)


def _check_trial(trial: Trial, names: Sequence[str], basis: str) -> None:
    """Raise ImcsimError for settings of images and cells that concern a single scheme, or none that is compared."""
    if trial.calibration_file is not None:
        hint = "give a number of images, by which each is calibrated"
        raise ImcsimError(f"--calibration {trial.calibration_file}", "a file is of one scheme, here are several", hint)
    if trial.refit and not any("basis" in _variant(name, basis)[1] for name in names):
        raise ImcsimError("refit", "no scheme of the comparison has a basis", "give one with --basis, or basis_exact")


def _variant(name: str, basis: str) -> tuple[str, dict[str, Any]]:
    """Scheme and options of a name, with the basis where it takes one."""
    scheme, options = VARIANTS.get(name, (name, {}))
    return scheme, {**options, "basis": basis} if name in BASES and basis != "synthetic" else options


def _checked(schemes: Sequence[str]) -> list[str]:
    """The schemes to run, both kinds of reprogramming always among them; ImcsimError for an unknown one."""
    for name in schemes:
        if name not in VARIANTS:
            try:
                load_scheme(name, {})
            except ImcsimError as error:
                raise ImcsimError(error.where, error.problem, did_you_mean(name, VARIANTS)) from None
    return list(dict.fromkeys([*schemes, *BASELINES]))


def _checked_batches(batches: Sequence[int]) -> list[int]:
    wrong = [batch for batch in batches if batch < 1]
    if wrong or not batches:
        where = f"batch {wrong[0]}" if wrong else "batches"
        raise ImcsimError(where, "must be a whole number of images, at least 1", "give for example 1,16,64")
    return sorted(set(batches))


def _chips(hardware: AnyHardware, writes: Sequence[str]) -> dict[str, Hardware]:
    """Return the chip with each write preset, by its name."""
    if isinstance(hardware, Hardware) and not writes:
        return {hardware.cell.write.name: hardware}
    return {write: loaded(hardware, write) for write in writes or WRITES}


# -- runs --------------------------------------------------------------------------------------------------------------


def _row(case: tuple[str, str, RunSpec], keep_runs: str | Path | None) -> Row:
    """Simulate one case: write preset, name of the scheme in the comparison, and what to run."""
    write, name, spec = case
    try:
        report = execute(_without_idle_refit(spec))
    except DoesNotFit as error:
        return Row(write, spec.batch, name, error.problem, error.missing)
    if keep_runs is not None:
        report.write(keep_runs)
    return _row_of(write, name, report)


def _without_idle_refit(spec: RunSpec) -> RunSpec:
    """Return what to run, without a refit where the plan combines no basis."""
    trial = spec.trial
    if trial is None or not trial.refit:
        return spec
    combines = any(isinstance(operation, BasisMvm) for operation in plan_for(spec).operations())
    return replace(spec, trial=replace(trial, refit=combines))


ANSWERS = ("accuracy_frac", "accuracy_interval_95_frac", "agreement_frac")


def _row_of(write: str, name: str, report: Report) -> Row:
    summary = dict(report.summary)
    same: tuple[str, ...] = (
        "cycles_per_inference", "latency_ns", "interval_ns", "energy_pj", "edp_latency_pj_ns", "edp_throughput_pj_ns",
        "area_um2", "crossbars_used",
    )  # fmt: skip
    if summary["values"]["kind"] == "measured":
        summary |= {key: summary["values"][key] for key in ANSWERS}
        same += ANSWERS
    closed_form = closed_form_cycles(report.execution)
    return Row(
        write, report.execution.batch, name, closed_form_cycles=closed_form, line=line(report.execution),
        waited_for=waited_for(summary, closed_form),
        lifetime_inferences=summary["lifetime_inferences"].get("inferences"),
        **{key: summary[key] for key in same},
    )  # fmt: skip
