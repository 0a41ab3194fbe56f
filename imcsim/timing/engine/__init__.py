"""Decide who waits for what, and when: all engines keep the contract in ``contract.py`` and agree on every time."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from importlib import import_module

from imcsim.timing.engine.contract import Job, JobResult
from imcsim.timing.engine.rounds import followed, repeated
from imcsim.util.errors import ImcsimError, did_you_mean

# modules with a function run(job, n_images, extrapolate), imported only when asked for
ENGINES = {
    "fast": "imcsim.timing.engine.fast_engine",
    "simpy": "imcsim.timing.engine.simpy_engine",
}


def run_in_groups(job: Job, n_images: int, in_flight: int, engine: str = "fast") -> JobResult:
    """Run ``n_images`` images of a job, ``in_flight`` of them together; a group enters when the one before has left.

    Every full group takes the same course from an empty chip, so it is run once. Raises as ``run`` does, and ValueError
    for several groups of a job with operations that happen once per phase.
    """
    if n_images > in_flight and not all(op.per_image for op in job.operations):
        raise ValueError(f"job {job.name}: what happens once per phase cannot happen in every group of images")
    groups, rest = divmod(n_images, in_flight)
    parts = [repeated(run(job, in_flight, engine), groups)] if groups else []
    return reduce(followed, parts + ([run(job, rest, engine)] if rest else []))


def run(job: Job, n_images: int, engine: str = "fast", extrapolate: bool = True) -> JobResult:
    """Run ``n_images`` images of a job.

    Raises ImcsimError for an unknown engine or when buffers deadlock, ValueError for a job against the contract.
    """
    if n_images < 1:
        raise ValueError(f"job {job.name}: n_images must be at least 1, not {n_images}")
    if engine not in ENGINES:
        raise ImcsimError("engine", f"unknown engine '{engine}'", did_you_mean(engine, ENGINES))
    chosen: Callable[..., JobResult] = import_module(ENGINES[engine]).run
    return chosen(job, n_images, extrapolate)
