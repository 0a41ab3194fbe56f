"""Run jobs by the default engine: the compiled event loop, and proven extrapolation of long batches."""

from __future__ import annotations

import numpy as np

from imcsim.timing.engine.accounts import EngineRun, logs_of
from imcsim.timing.engine.contract import Job, JobResult, check
from imcsim.timing.engine.deadlock import deadlock
from imcsim.timing.engine.flat import TaskNumbering, flatten
from imcsim.timing.engine.results import result_of
from imcsim.timing.engine.steady import find_period
from imcsim.timing.kernels import event_memory as at
from imcsim.timing.kernels.event_loop import run_events

FIRST_TRY_IMAGES = 8


def run(job: Job, n_images: int, extrapolate: bool = True) -> JobResult:
    """Run ``n_images`` images, or as many as prove a period where ``extrapolate``.

    Raises ValueError for a job against the contract, ImcsimError when buffers deadlock.
    """
    check(job)
    n_simulated = min(n_images, FIRST_TRY_IMAGES) if extrapolate else n_images
    while True:
        simulated = simulate(job, n_simulated)
        if n_simulated == n_images:
            return result_of(simulated)
        logs = logs_of(simulated)
        period = find_period(simulated, logs, n_images)
        if period is None:
            n_simulated = 2 * n_simulated if 2 * n_simulated < n_images else n_images
        elif (n_images - n_simulated) % period.images:
            n_simulated += (n_images - n_simulated) % period.images
        else:
            return result_of(simulated, logs, period)


def simulate(job: Job, n_images: int) -> EngineRun:
    """Return every grant of ``n_images`` images of a checked job. Raises ImcsimError when buffers deadlock."""
    layout = TaskNumbering.of(job, n_images)
    memory = flatten(job, n_images)
    starts = np.full(layout.n_tasks, at.NONE, np.int64)
    givers = np.full(layout.n_tasks, at.NONE, np.int32)
    run_events(memory, starts, givers)
    ops = memory[memory[at.OPS] :][: at.OP_SIZE * len(job.operations)].reshape(-1, at.OP_SIZE)
    if (ops[:, at.DONE] < ops[:, at.TOTAL]).any():
        admitted, released, done = (ops[:, column].tolist() for column in (at.ADMITTED, at.RELEASED, at.DONE))
        raise deadlock(job, n_images, admitted, released, done)
    return EngineRun(job, layout, starts, givers, memory)
