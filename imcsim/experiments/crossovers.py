"""From which batch on the baseline is faster than a scheme: by the closed forms, and between simulated batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

from imcsim.experiments.run import plan_for
from imcsim.reporting.closed_form import ClosedForm, line
from imcsim.reporting.comparison import BASELINES, Crossover, Row, cycles
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.compile import compile_plan
from imcsim.timing.execution import Execution
from imcsim.timing.recipes import Context


def crossovers(rows: Sequence[Row]) -> Iterator[Crossover]:
    """One crossover for every scheme that ran with a write preset and is no baseline."""
    for write in dict.fromkeys(row.write for row in rows):
        here = [row for row in rows if row.write == write and not row.refused]
        bases = [row.line for row in here if row.scheme in BASELINES and row.line]
        for scheme in dict.fromkeys(row.scheme for row in here if row.scheme not in BASELINES):
            rows_of_scheme = [row for row in here if row.scheme == scheme]
            lines = [row.line for row in rows_of_scheme]
            yield Crossover(write, scheme, *analytic_batch(lines, bases), *simulated_batch(rows_of_scheme))


def line_of(spec: RunSpec) -> ClosedForm | None:
    """Return the closed form of what a scheme plans, without simulating it; ImcsimError as for a run."""
    plan, hardware = plan_for(spec), spec.hardware
    jobs = compile_plan(plan, Context(hardware, spec.workload, {}, {}), spec.batch).jobs
    return line(Execution(spec.workload, hardware, plan, spec.batch, jobs, (), ()))


def analytic_batch(forms: Sequence[ClosedForm | None], bases: Sequence[ClosedForm]) -> tuple[float | None, str]:
    """The first batch at which the lowest baseline line is below the lowest line of a scheme, and that in words.

    Each plan of a scheme, such as those for different batches, has a line of its own. None: never, or from batch 1 on.
    """
    lines = [form for form in forms if form]
    if not lines:
        return None, "no closed form: writes overlap compute"
    crossings = [
        (b.write_cycles - s.write_cycles) / (s.image_cycles - b.image_cycles)
        for s, b in product(lines, bases)
        if s.image_cycles > b.image_cycles
    ]
    for batch in sorted({1.0, *(crossing for crossing in crossings if crossing > 1)}):
        after = batch * (1 + 1e-9)
        if min(base.at(after) for base in bases) < min(line.at(after) for line in lines):
            return (batch, f"{batch:.3g}, from (W_b - W) / (c - c_b)") if batch > 1 else (None, "ahead from batch 1")
    return None, "never"


def simulated_batch(rows: Sequence[Row]) -> tuple[float | None, str]:
    """Find the crossover between two simulated batches of a scheme, interpolated in 1 / batch; rows have ratios."""
    points = sorted((row.batch, cycles(row) * (1 - 1 / (row.cycles_ratio or 1.0))) for row in rows)
    if points[0][1] > 0:
        return None, f"ahead from batch {points[0][0]}"
    for (low, before), (high, after) in pairwise(points):
        if after > 0:
            share = -before / (after - before)
            batch = 1 / (1 / low + share * (1 / high - 1 / low))
            return batch, f"{batch:.3g}, interpolated in 1 / batch between {low} and {high}"
    return None, f"not up to batch {points[-1][0]}"
