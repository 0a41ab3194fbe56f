"""Schemes against the better of both kinds of reprogramming, over write presets and batches."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.experiments.crossovers import crossovers
from imcsim.experiments.run import execute, plan_for, prepare
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import BasisMvm
from imcsim.mapping.schemes import load_scheme
from imcsim.mapping.schemes.base import crossbars_of, layer_groups
from imcsim.reporting.closed_form import closed_form_cycles, line, waited_for
from imcsim.reporting.comparison import BASELINES, Comparison, Row, with_ratios
from imcsim.reporting.report import Report
from imcsim.reporting.run_spec import RunSpec
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.progress import Progress, silent
from imcsim.workload.importers import load_network
from imcsim.workload.workload import Workload

if TYPE_CHECKING:
    from imcsim.functional.evaluate import Trial

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
    hardware: str | Path | Hardware,
    *,
    writes: Sequence[str] = (),
    batches: Sequence[int] = BATCHES,
    schemes: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    ideal: Sequence[str] = (),
    engine: str = "fast",
    seed: int = 0,
    processes: int = 1,
    keep_runs: str | Path | None = None,
    allow_unknown: bool = False,
    trial: Trial | None = None,
    basis: str = "synthetic",
    progress: Progress = silent,
) -> Comparison:
    """Run every scheme with every write preset and batch; the baseline is the better of R0 and R1 for each batch.

    ``schemes``: names of ``VARIANTS``, or of schemes or files with their default options; without any ``COSTED``, or
    ``VALUED`` where a ``trial`` gives images, so that accuracies stand beside the ratios. ``basis``: a file of ``imcsim
    basis fit`` for the schemes that combine a basis, which then have values too. ``writes``: presets, by default
    ``WRITES`` (or the one of a loaded ``hardware``). ``processes``: runs at the same time (a script that asks for more
    than one needs the usual main guard). ``keep_runs``: where the directory of each run is written too.
    Raises ImcsimError for bad input; a network that does not fit a scheme is a row that says so.

    >>> comparison = compare("resnet20_cifar", "rram-256", writes=["ember2b_word"], batches=[1, 16])
    >>> sorted(set(comparison.frame["baseline"]) - {"reprogram", "reprogram_packed"})
    []
    """
    loaded = workload if isinstance(workload, Workload) else load_network(workload, allow_unknown=allow_unknown)
    usual = (*VALUED, *BASES) if trial and basis != "synthetic" else VALUED if trial else COSTED
    names = _checked(schemes or usual)
    if trial and trial.refit and not any("basis" in _variant(name, basis)[1] for name in names):
        raise ImcsimError("refit", "no scheme of the comparison has a basis", "give one with --basis, or basis_exact")
    chips = _chips(hardware, writes, overrides, ideal)
    cases = [
        (write, name, RunSpec(loaded, chip, scheme, batch, options, engine, seed, trial=trial))
        for (write, chip), batch in product(chips.items(), _checked_batches(batches))
        for name in names
        for scheme, options in [_variant(name, basis)]
    ]
    rows = []
    for row in _in_order(partial(_row, keep_runs=keep_runs), cases, processes):
        rows.append(row)
        progress(len(rows), len(cases), f"{row.write}, batch {row.batch}, {row.scheme}")
    related = with_ratios(rows)
    chip = next(iter(chips.values()))
    settings = {
        "writes": list(chips), "batches": list(batches), "schemes": names, "engine": engine, "seed": seed,
        "overrides": dict(overrides or {}), "ideal": list(ideal), "hardware_hash": chip.hash,
        "trial": _settings(trial) if trial else {}, "basis": basis,
    }  # fmt: skip
    return Comparison(loaded.name, chip.name, settings, tuple(related), tuple(crossovers(related)))


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


def _chips(
    hardware: str | Path | Hardware, writes: Sequence[str], overrides: Mapping[str, Any] | None, ideal: Sequence[str]
) -> dict[str, Hardware]:
    """The chip with each write preset."""
    if isinstance(hardware, Hardware) and not writes:
        return {hardware.cell.write.name: prepare(hardware, overrides, None, ideal)}
    return {write: prepare(hardware, overrides, write, ideal) for write in writes or WRITES}


# -- runs --------------------------------------------------------------------------------------------------------------

Case = tuple[str, str, RunSpec]


def _in_order(work: partial[Row], cases: list[Case], processes: int) -> Iterator[Row]:
    """The rows of all cases in their order, some at the same time; workers leave Ctrl-C to their parent."""
    if processes < 2:
        yield from map(work, cases)
        return
    with _ignored_interrupts():
        pool = multiprocessing.get_context("spawn").Pool(min(processes, len(cases)))
    with pool:
        yield from pool.imap(work, cases)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Processes that are started inside ignore Ctrl-C all their life."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _row(case: Case, keep_runs: str | Path | None) -> Row:
    """Simulate one case."""
    write, name, request = case
    needed = crossbars_of(layer_groups(request.workload, request.hardware))
    missing = needed - request.hardware.n_crossbars
    try:
        report = execute(_with_what_it_has(request))
    except ImcsimError as error:
        if name != "static" or missing <= 0:
            raise
        return Row(write, request.batch, name, error.problem, missing)
    if keep_runs is not None:
        report.write(keep_runs)
    return _row_of(write, name, report)


def _with_what_it_has(request: RunSpec) -> RunSpec:
    """A request whose plan combines no basis refits none."""
    trial = request.trial
    if trial is None or not trial.refit:
        return request
    combines = any(isinstance(operation, BasisMvm) for operation in plan_for(request).operations())
    return replace(request, trial=replace(trial, refit=combines))


ANSWERS = ("accuracy_frac", "accuracy_interval_95_frac", "agreement_frac")


def _settings(trial: Trial) -> dict[str, Any]:
    """What decides the answers."""
    return {key: value for key, value in asdict(trial).items() if key != "journal"}


def _row_of(write: str, name: str, report: Report) -> Row:
    summary = dict(report.summary)
    same: tuple[str, ...] = (
        "cycles_per_inference", "latency_ns", "interval_ns", "energy_pj", "edp_latency_pj_ns", "edp_throughput_pj_ns",
        "area_um2", "crossbars_used",
    )  # fmt: skip
    if summary["values"]["kind"] == "measured":
        summary |= {key: summary["values"][key] for key in ANSWERS}
        same += ANSWERS
    closed_form = closed_form_cycles(report.trace)
    return Row(
        write, report.trace.batch, name, closed_form_cycles=closed_form, line=line(report.trace),
        waited_for=waited_for(summary, closed_form),
        lifetime_inferences=summary["lifetime_inferences"].get("inferences"),
        **{key: summary[key] for key in same},
    )  # fmt: skip
