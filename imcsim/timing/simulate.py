"""Simulate a plan: recipes become jobs, an engine runs them, and what happened is kept."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.activity import Activity
from imcsim.mapping.plan import Phase, Plan
from imcsim.mapping.write_work import Works, drawn_work
from imcsim.timing import engine as engines
from imcsim.timing.compile import compile_plan
from imcsim.timing.execution import Execution
from imcsim.timing.recipes import Context
from imcsim.util.progress import Progress, silent
from imcsim.workload.workload import Workload


def simulate(
    plan: Plan,
    workload: Workload,
    hardware: Hardware,
    batch: int,
    engine: str = "fast",
    progress: Progress = silent,
    *,
    write_seed: int | None = None,
    works: Works = MappingProxyType({}),
    activity: Mapping[str, Activity] = MappingProxyType({}),
) -> Execution:
    """Run ``batch`` images of a plan through recipes, jobs and an engine, and return all that happened.

    ``works`` and ``activity`` are what the values pass told of writes and layers. Writes of which nothing is known take
    their expected time, or one that is drawn from ``write_seed``. Raises ImcsimError where buffers deadlock.
    """
    if write_seed is not None and not works:
        works = {op: drawn_work(op, hardware, write_seed) for op in plan.programs()}
    context = Context(hardware, workload, works, activity)
    compiled = compile_plan(plan, context, batch)
    in_flight = batch if plan.in_flight == "all" else plan.in_flight
    results = []
    for number, job in enumerate(compiled.jobs):
        progress(number, len(compiled.jobs), job.name)
        results.append(engines.run_in_groups(job, batch, in_flight, engine))
    setup = compile_plan(Plan("setup", (Phase("setup", plan.setup),), 0, 0), context, 1).jobs if plan.setup else ()
    setup_results = tuple(engines.run(job, 1, engine) for job in setup)
    return Execution(
        workload,
        hardware,
        plan,
        batch,
        jobs=compiled.jobs,
        results=tuple(results),
        spilled=compiled.spilled,
        setup_jobs=setup,
        setup_results=setup_results,
        overfull=compiled.overfull,
        works=works,
    )
