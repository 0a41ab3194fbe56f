"""Turn the times of grants into totals: where the time went, for every engine alike.

The grants of a run decide everything else: when a vector was admitted, what it waited for, who held what. So engines
report grants (and who gave the unit that ended a wait), and the accounting is done once, here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.timing.engine.contract import Edge, Ints, Job, JobOp, OpTimes
from imcsim.timing.engine.flat import TaskNumbering, images_of


@dataclass(frozen=True)
class EngineRun:
    """Hold what an engine reports of ``n_images`` simulated images.

    ``starts``: (n_tasks,) int64, the grants. ``givers``: (n_tasks,) int32, the task whose returned unit ended the wait,
    or -1. ``memory``: the rows of ``engine.flat``, where the engine has made them.
    """

    job: Job
    layout: TaskNumbering
    starts: Ints
    givers: NDArray[np.int32]
    memory: Ints | None = None


@dataclass(frozen=True)
class OpLog:
    """Hold the times of one operation's vectors, image by image, all (n_vectors of all images,) int64 unless noted."""

    starts: Ints  # (n_stages, n_vectors)
    end: Ints
    exit: Ints  # from the first stage
    left: Ints  # when this vector and all before it had left their first stage
    done: Ints  # when this vector and all before it had completed
    ready: Ints  # when the inputs were there
    admitted: Ints


def logs_of(run: EngineRun) -> list[OpLog]:
    """Derive the times of every operation's vectors from the grants."""
    ops, n_images = run.job.operations, run.layout.n_images
    starts = [run.layout.slots_of(i, run.starts) for i in range(len(ops))]
    ends = [s[-1] + per_run(op.stages[-1].latency_ps, op, n_images) for s, op in zip(starts, ops, strict=True)]
    exits = [s[0] + per_run(op.stages[0].latency_ps, op, n_images) for s, op in zip(starts, ops, strict=True)]
    done, left = ([np.maximum.accumulate(times) for times in all_times] for all_times in (ends, exits))
    logs = []
    for i, op in enumerate(ops):
        ready = np.zeros(len(ends[i]), np.int64)
        for edge in op.edges:
            np.maximum(ready, _delivered(edge, ops[edge.producer], done[edge.producer]), out=ready)
        admitted = np.maximum.accumulate(np.maximum(ready, _room(run.job, i, left, done[i])))
        logs.append(OpLog(starts[i], ends[i], exits[i], left[i], done[i], ready, admitted))
    return logs


def per_run(times_ps: int | Ints, op: JobOp, n_images: int) -> int | Ints:
    """Return one stage's times for the vectors of all images: the number, or (n_vectors of all images,) int64."""
    return np.tile(times_ps, images_of(op, n_images)) if np.ndim(times_ps) else times_ps


def _delivered(edge: Edge, producer: JobOp, done: Ints) -> Ints:
    """Return when the producer had completed what each vector needs."""
    images = np.arange(0, len(done), producer.n_vectors)[:, None]
    times = done[np.maximum(images + edge.needs - 1, 0)]
    return np.where(edge.needs > 0, times, 0).ravel()


def _room(job: Job, index: int, left: list[Ints], done: Ints) -> Ints | int:
    """Return when enough had been released for each vector to have room."""
    op = job.operations[index]
    total = len(done)
    if op.capacity >= total:
        return 0
    times = np.zeros(total, np.int64)
    released = times[op.capacity :]  # the vector at number + capacity needs number + 1 released
    consumers = [(c, edge) for c, op_c in enumerate(job.operations) for edge in op_c.edges if edge.producer == index]
    for consumer, edge in consumers:
        exits = forgetting_exits(edge, op.n_vectors, job.operations[consumer].n_vectors)
        images = np.arange(0, len(left[consumer]), job.operations[consumer].n_vectors)[:, None]
        np.maximum(released, left[consumer][(images + exits).ravel()[: len(released)]], out=released)
    if not consumers:
        released[:] = done[: len(released)]
    return times


def forgetting_exits(edge: Edge, n_producer: int, n_consumer: int) -> Ints:
    """Return (n_producer,) the consumer's vector whose exit from its first stage frees each vector of the producer."""
    return np.minimum(np.searchsorted(edge.frees, np.arange(1, n_producer + 1)), n_consumer - 1)


@dataclass(frozen=True)
class Totals:
    """Hold the waiting by image: ``queued`` (n_operations, max_stages, n_images), the others (n_operations, n_images).

    What happens once per phase is booked on image 0.
    """

    queued: Ints
    starved: Ints
    blocked: Ints


def totals_of(run: EngineRun, logs: list[OpLog]) -> Totals:
    """Return how long every operation waited in each image, in ps."""
    ops, n_images = run.job.operations, run.layout.n_images
    shape = (len(ops), max(run.layout.stages, default=0), n_images)
    totals = Totals(np.zeros(shape, np.int64), np.zeros(shape[::2], np.int64), np.zeros(shape[::2], np.int64))
    for i, (op, log) in enumerate(zip(ops, logs, strict=True)):
        images = slice(images_of(op, n_images))
        request = log.admitted
        for stage, spec in enumerate(op.stages):
            totals.queued[i, stage, images] = _by_image(log.starts[stage] - request, op)
            request = log.starts[stage] + per_run(spec.latency_ps, op, n_images)
        before = np.concatenate([[0], log.admitted[:-1]])
        has_inputs = np.maximum(before, log.ready)
        totals.starved[i, images] = _by_image(has_inputs - before, op)
        totals.blocked[i, images] = _by_image(log.admitted - has_inputs, op)
    return totals


def _by_image(values: Ints, op: JobOp) -> Ints:
    sums: Ints = values.reshape(-1, op.n_vectors).sum(axis=1)
    return sums


def busy_of(job: Job, n_images: int) -> Ints:
    """Return (n_resources,) unit-picoseconds held by all images; holds are known before the run."""
    busy = np.zeros(len(job.resources), np.int64)
    for op in job.operations:
        for stage in op.stages:
            busy[stage.resource] += np.sum(np.broadcast_to(stage.hold_ps, op.n_vectors)) * images_of(op, n_images)
    return busy


def first_image_ps(job: Job, logs: list[OpLog], makespan_ps: int) -> int:
    """Return when the last vector of image 0 completed."""
    ends = [int(log.end[: op.n_vectors].max()) for op, log in zip(job.operations, logs, strict=True) if op.per_image]
    return max(ends, default=makespan_ps)


def times_of(job: Job, logs: list[OpLog]) -> tuple[OpTimes, ...]:
    """Return grants and completions by image."""
    return tuple(
        OpTimes(log.starts.reshape(len(op.stages), -1, op.n_vectors), log.end.reshape(-1, op.n_vectors))
        for op, log in zip(job.operations, logs, strict=True)
    )
