"""Make the result of a run, with what repeats after the simulated images."""

from __future__ import annotations

import numpy as np

from imcsim.timing.engine.accounts import EngineRun, OpLog, busy_of, first_image_ps, logs_of, times_of, totals_of
from imcsim.timing.engine.contract import UNLIMITED, Ints, JobOp, JobResult
from imcsim.timing.engine.critical import NO_PERIOD, Period, critical_of


def is_ahead(op: JobOp) -> bool:
    """Say whether nothing ever holds up the operation's admissions, so that all images are admitted at time 0."""
    return op.per_image and op.capacity == UNLIMITED and not op.edges


def result_of(run: EngineRun, logs: list[OpLog] | None = None, period: Period = NO_PERIOD) -> JobResult:
    """Return all totals of a run and of the repetitions that follow."""
    logs = logs or logs_of(run)
    job, n_simulated = run.job, run.layout.n_images
    n_images = n_simulated + period.images * period.repeats
    totals, weights = totals_of(run, logs), period.weights(n_simulated)
    makespan_ps = max((int(log.done[-1]) for log in logs), default=0) + period.repeats * period.length_ps
    return JobResult(
        n_images=n_images,
        n_simulated=n_simulated,
        makespan_ps=makespan_ps,
        first_image_ps=first_image_ps(job, logs, makespan_ps),
        times=times_of(job, logs),
        busy_ps=busy_of(job, n_images),
        queued_ps=totals.queued @ weights + _queued_ahead(run, period),
        starved_ps=totals.starved @ weights,
        blocked_ps=totals.blocked @ weights,
        critical_ps=critical_of(run, logs, period, makespan_ps),
    )


def _queued_ahead(run: EngineRun, period: Period) -> Ints:
    """Return (n_operations, max_stages) what the copies wait longer where all images were admitted at time 0."""
    k, behind = period.repeats, run.layout.n_images - period.first
    later_ps = period.length_ps * (period.images * k * (k - 1) // 2 + k * behind)
    extra = np.zeros((len(run.job.operations), max(run.layout.stages, default=0)), np.int64)
    for i, op in enumerate(run.job.operations):
        if is_ahead(op):
            extra[i, 0] = op.n_vectors * later_ps
    return extra
