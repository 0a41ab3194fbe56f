"""Schemes against the better of both kinds of reprogramming, over write presets and batches."""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imcsim import __version__
from imcsim.config import canonical_hash
from imcsim.engine.contract import Job
from imcsim.errors import ImcsimError, did_you_mean
from imcsim.files import run_directory
from imcsim.hardware import Hardware
from imcsim.importers import load_network
from imcsim.ledger import Trace
from imcsim.progress import Progress, silent
from imcsim.report import Report
from imcsim.run import Request, execute, prepare
from imcsim.schemes import load_scheme
from imcsim.schemes.base import blocks, crossbars_of
from imcsim.workload import Workload

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA_VERSION = 1
BASELINES = ("reprogram", "reprogram_packed")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # name in a comparison -> scheme and its options
    "static": ("static", {}),
    "reprogram": ("reprogram", {}),
    "reprogram_packed": ("reprogram", {"grouping": "packed"}),
    "reprogram_buffered": ("reprogram", {"grouping": "packed", "overlap": True}),
    "basisn_inferred": ("basisn_inferred", {}),
    "basis_broadcast": ("basis_broadcast", {}),
    "hybrid": ("hybrid", {}),
    "digital": ("digital", {}),
}
WRITES = ("ideal_single", "ember2b_word", "radar2b_serial")
BATCHES = (1, 16, 64, 256)


@dataclass(frozen=True)
class Line:
    """The closed form of a plan: cycles per inference = ``write_cycles`` / batch + ``image_cycles``."""

    write_cycles: float
    image_cycles: float

    def at(self, batch: float) -> float:
        return self.write_cycles / batch + self.image_cycles


@dataclass(frozen=True)
class Row:
    """One scheme with one write preset and batch; figures are None where the scheme cannot run the network.

    ``closed_form_cycles``: what crossbars, ADCs, write drivers and digital units need, phase by phase, when nothing
    waits for anything else. ``waited_for``: what else held the run, where it took more than 1 % longer.
    """

    write: str
    batch: int
    scheme: str
    refused: str = ""
    missing_crossbars: int = 0
    cycles_per_inference: float | None = None
    closed_form_cycles: float | None = None
    waited_for: str = ""
    latency_ns: float | None = None
    interval_ns: float | None = None
    energy_pj: float | None = None
    edp_latency_pj_ns: float | None = None
    edp_throughput_pj_ns: float | None = None
    area_um2: float | None = None
    crossbars_used: int | None = None
    lifetime_inferences: float | None = None
    line: Line | None = None  # None where writes overlap compute, so that no such identity holds
    baseline: str = ""  # the better of both kinds of reprogramming at this batch
    cycles_ratio: float | None = None
    edp_latency_ratio: float | None = None
    edp_throughput_ratio: float | None = None

    @property
    def excess_frac(self) -> float:
        """Simulated over closed-form cycles, less one; 0 where the scheme cannot run."""
        return (_ratio(self.cycles_per_inference, self.closed_form_cycles) or 1.0) - 1


@dataclass(frozen=True)
class Crossover:
    """The batch from which the baseline is faster than a scheme; None where there is none, with the reason in words."""

    write: str
    scheme: str
    analytic_batch: float | None
    analytic: str
    simulated_batch: float | None
    simulated: str


@dataclass(frozen=True)
class Comparison:
    """Rows and crossovers of a comparison; ``frame`` and ``crossover_frame`` are DataFrames.

    Cycles and energies are per inference; ratios are to the baseline of the same write preset and batch.
    """

    workload: str
    hardware: str
    settings: Mapping[str, Any]  # all that decides the result, beside workload and hardware
    rows: tuple[Row, ...]
    crossovers: tuple[Crossover, ...]

    @cached_property
    def frame(self) -> DataFrame:
        """One row per write preset, batch and scheme."""
        from pandas import DataFrame

        names = [field.name for field in fields(Row) if field.name != "line"]
        return DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names)

    @cached_property
    def crossover_frame(self) -> DataFrame:
        """The batch from which the baseline is faster, per write preset and scheme."""
        from pandas import DataFrame

        return DataFrame([asdict(crossover) for crossover in self.crossovers])

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "schema_version": SCHEMA_VERSION, "imcsim_version": __version__, "workload": self.workload,
            "hardware": self.hardware, **self.settings, "rows": [asdict(row) for row in self.rows],
            "crossovers": [asdict(crossover) for crossover in self.crossovers],
        }  # fmt: skip

    @property
    def waits(self) -> list[str]:
        """A sentence for every row that took more than 1 % longer than its closed form."""
        return [
            f"{row.write}, batch {row.batch}, {row.scheme}: {100 * row.excess_frac:.1f} % above the closed form; "
            f"{row.waited_for}"
            for row in self.rows
            if row.waited_for
        ]

    @property
    def name(self) -> str:
        """The name of its directory: workload, hardware and a hash of all that matters."""
        content = [self.workload, self.hardware, dict(self.settings), __version__]
        return f"compare-{self.workload}-{self.hardware}-{canonical_hash(content)}"

    def write(self, out_dir: str | Path) -> Path:
        """Write compare.json, compare.csv, crossovers.csv and the figures, whole or not at all; returns the directory.

        Raises ImcsimError where it cannot be written.
        """
        from imcsim import figures

        with run_directory(Path(out_dir), self.name) as folder:
            text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
            (folder / "compare.json").write_text(text, encoding="utf-8")
            self.frame.to_csv(folder / "compare.csv", index=False)
            self.crossover_frame.to_csv(folder / "crossovers.csv", index=False)
            figures.cycles_against_batch(self, folder)
        return Path(out_dir) / self.name


def compare(
    workload: str | Path | Workload,
    hardware: str | Path | Hardware,
    *,
    writes: Sequence[str] = (),
    batches: Sequence[int] = BATCHES,
    schemes: Sequence[str] = tuple(VARIANTS),
    overrides: Mapping[str, Any] | None = None,
    ideal: Sequence[str] = (),
    engine: str = "fast",
    seed: int = 0,
    processes: int = 1,
    keep_runs: str | Path | None = None,
    allow_unknown: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """Run every scheme with every write preset and batch; the baseline is the better of R0 and R1 for each batch.

    ``schemes``: names of ``VARIANTS``, or of schemes or files with their default options. ``writes``: presets, by
    default ``WRITES`` (or the one of a loaded ``hardware``). ``processes``: runs at the same time (a script that asks
    for more than one needs the usual main guard). ``keep_runs``: where the directory of each run is written too.
    Raises ImcsimError for bad input; a network that does not fit a scheme is a row that says so.

    >>> comparison = compare("resnet20_cifar", "rram-256", writes=["ember2b_word"], batches=[1, 16])
    >>> sorted(set(comparison.frame["baseline"]) - {"reprogram", "reprogram_packed"})
    []
    """
    loaded = workload if isinstance(workload, Workload) else load_network(workload, allow_unknown=allow_unknown)
    names = _checked(schemes)
    chips = _chips(hardware, writes, overrides, ideal)
    cases = [
        (write, name, Request(loaded, chip, scheme, batch, options, engine, seed))
        for (write, chip), batch in product(chips.items(), _checked_batches(batches))
        for name in names
        for scheme, options in [VARIANTS.get(name, (name, {}))]
    ]
    rows = []
    for row in _in_order(partial(_row, keep_runs=keep_runs), cases, processes):
        rows.append(row)
        progress(len(rows), len(cases), f"{row.write}, batch {row.batch}, {row.scheme}")
    related = _related(rows)
    chip = next(iter(chips.values()))
    settings = {
        "writes": list(chips), "batches": list(batches), "schemes": list(schemes), "engine": engine, "seed": seed,
        "overrides": dict(overrides or {}), "ideal": list(ideal), "hardware_hash": chip.hash,
    }  # fmt: skip
    return Comparison(loaded.name, chip.name, settings, tuple(related), tuple(_crossovers(related)))


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

Case = tuple[str, str, Request]


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
    needed = crossbars_of(blocks(request.workload, request.hardware))
    missing = needed - request.hardware.n_crossbars
    try:
        report = execute(request)
    except ImcsimError as error:
        if name != "static" or missing <= 0:
            raise
        return Row(write, request.batch, name, error.problem, missing)
    if keep_runs is not None:
        report.write(keep_runs)
    return _row_of(write, name, report)


def _row_of(write: str, name: str, report: Report) -> Row:
    summary = report.summary
    same = (
        "cycles_per_inference", "latency_ns", "interval_ns", "energy_pj", "edp_latency_pj_ns", "edp_throughput_pj_ns",
        "area_um2", "crossbars_used",
    )  # fmt: skip
    closed_form = closed_form_cycles(report.trace)
    return Row(
        write, report.trace.batch, name, closed_form_cycles=closed_form, line=line(report.trace),
        waited_for=_waited_for(summary, closed_form),
        lifetime_inferences=summary["lifetime_inferences"].get("inferences"),
        **{key: summary[key] for key in same},
    )  # fmt: skip


# -- closed forms ------------------------------------------------------------------------------------------------------

COUNTED = ("crossbar", "adc", "write", "digital")  # kinds of resources whose work the closed forms count
CLOSE_FRAC = 0.01  # a run that takes so much longer than its closed form has waited for something else


def closed_form_cycles(trace: Trace) -> float:
    """Cycles per inference where every phase takes what its busiest crossbars, ADCs, drivers or digital units need."""
    return sum(_busiest_ps(job, trace.batch) for job in trace.jobs) / trace.hardware.period_ps / trace.batch


def line(trace: Trace) -> Line | None:
    """The closed form as a function of the batch; None where a phase both writes and computes."""
    writes = images = 0.0
    for job in trace.jobs:
        kinds = {op.per_image for op in job.operations if any(_is_work(job, stage.resource) for stage in op.stages)}
        if len(kinds) > 1:
            return None
        if True in kinds:
            images += max(_work_ps(job, 1).values(), default=0.0)
        else:
            writes += _busiest_ps(job, 1)
    return Line(writes / trace.hardware.period_ps, images / trace.hardware.period_ps)


def _is_work(job: Job, resource: int) -> bool:
    return job.resources[resource].kind in COUNTED


def _work_ps(job: Job, batch: int) -> dict[int, float]:
    """Time that all units of each counted resource need for their work, shared evenly."""
    work: dict[int, float] = defaultdict(float)
    for op in job.operations:
        for stage in op.stages:
            if _is_work(job, stage.resource):
                held = float(np.broadcast_to(stage.hold_ps, op.n_vectors).sum()) * (batch if op.per_image else 1)
                work[stage.resource] += held / job.resources[stage.resource].capacity
    return work


def _busiest_ps(job: Job, batch: int) -> float:
    """The same in whole turns: ceil(vectors / units) of the shortest vector, and no less than the longest vector."""
    turns: list[float] = []
    for op in job.operations:
        n_vectors = op.n_vectors * (batch if op.per_image else 1)
        for stage in op.stages:
            if _is_work(job, stage.resource):
                n_turns = -(-n_vectors // job.resources[stage.resource].capacity)
                turns += [n_turns * float(np.min(stage.hold_ps)), float(np.max(stage.hold_ps))]
    return max([*turns, *_work_ps(job, batch).values()], default=0.0)


def _waited_for(summary: Mapping[str, Any], closed_form: float) -> str:
    """What held a run that took longer than its closed form."""
    if summary["cycles_per_inference"] <= closed_form * (1 + CLOSE_FRAC):
        return ""
    shares = {kind: share for kind, share in summary["critical_percent_by_kind"].items() if share >= 100 * CLOSE_FRAC}
    others = {kind: share for kind, share in shares.items() if kind not in COUNTED}
    reasons = [f"{share:.0f} % of the time goes to {kind}" for kind, share in others.items()]
    excess = 100 * (1 - closed_form / summary["cycles_per_inference"])
    if sum(others.values()) < excess / 2:
        reasons.append("layers wait for the first results of the layers before them")
    return ", ".join(reasons)


# -- against the baseline ----------------------------------------------------------------------------------------------


def _related(rows: Sequence[Row]) -> list[Row]:
    """The rows with their ratios to the better of both kinds of reprogramming."""
    best: dict[tuple[str, int], Row] = {}
    for row in rows:
        if row.scheme in BASELINES:
            other = best.get((row.write, row.batch), row)
            best[row.write, row.batch] = min(other, row, key=_cycles)
    return [_against(row, best[row.write, row.batch]) for row in rows]


def _cycles(row: Row) -> float:
    assert row.cycles_per_inference is not None
    return row.cycles_per_inference


def _against(row: Row, base: Row) -> Row:
    return replace(
        row,
        baseline=base.scheme,
        cycles_ratio=_ratio(row.cycles_per_inference, base.cycles_per_inference),
        edp_latency_ratio=_ratio(row.edp_latency_pj_ns, base.edp_latency_pj_ns),
        edp_throughput_ratio=_ratio(row.edp_throughput_pj_ns, base.edp_throughput_pj_ns),
    )


def _ratio(mine: float | None, base: float | None) -> float | None:
    return mine / base if mine is not None and base else None


# -- crossovers --------------------------------------------------------------------------------------------------------


def _crossovers(rows: Sequence[Row]) -> Iterator[Crossover]:
    """One crossover for every scheme that ran with a write preset and is no baseline."""
    for write in dict.fromkeys(row.write for row in rows):
        here = [row for row in rows if row.write == write and not row.refused]
        bases = [row.line for row in here if row.scheme in BASELINES and row.line]
        for scheme in dict.fromkeys(row.scheme for row in here if row.scheme not in BASELINES):
            own = [row for row in here if row.scheme == scheme]
            yield Crossover(write, scheme, *_analytic([row.line for row in own], bases), *_simulated(own))


def _analytic(own: Sequence[Line | None], bases: Sequence[Line]) -> tuple[float | None, str]:
    """The first batch at which the lowest baseline line is below the lowest line of the scheme."""
    lines = [each for each in own if each]
    if not lines:
        return None, "no closed form: writes overlap compute"
    crossings = [
        (b.write_cycles - s.write_cycles) / (s.image_cycles - b.image_cycles)
        for s, b in product(lines, bases)
        if s.image_cycles > b.image_cycles
    ]
    for batch in sorted({1.0, *(crossing for crossing in crossings if crossing > 1)}):
        after = batch * (1 + 1e-9)
        if min(each.at(after) for each in bases) < min(each.at(after) for each in lines):
            return (batch, f"{batch:.3g}, from (W_b - W) / (c - c_b)") if batch > 1 else (None, "ahead from batch 1")
    return None, "never"


def _simulated(own: Sequence[Row]) -> tuple[float | None, str]:
    """Between two simulated batches, by interpolation of the difference in cycles, which is linear in 1 / batch."""
    points = sorted((row.batch, _cycles(row) * (1 - 1 / (row.cycles_ratio or 1.0))) for row in own)
    if points[0][1] > 0:
        return None, f"ahead from batch {points[0][0]}"
    for (low, before), (high, after) in pairwise(points):
        if after > 0:
            share = -before / (after - before)
            batch = 1 / (1 / low + share * (1 / high - 1 / low))
            return batch, f"{batch:.3g}, interpolated in 1 / batch between {low} and {high}"
    return None, f"not up to batch {points[-1][0]}"
