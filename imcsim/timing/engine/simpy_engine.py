"""Run jobs readably: one process per operation that admits, one per vector that passes through the stages.

It says in SimPy what ``contract.py`` says in words, simulates every image, and is the one to extend when trying an
idea.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import simpy
from simpy.events import EventPriority

from imcsim.timing.engine.accounts import EngineRun
from imcsim.timing.engine.contract import UNLIMITED, Ints, Job, JobOp, JobResult, Resource, check
from imcsim.timing.engine.deadlock import deadlock
from imcsim.timing.engine.flat import TaskNumbering, images_of
from imcsim.timing.engine.results import result_of

AFTER_ALL_ELSE = EventPriority(2)  # SimPy's own events at one instant have priorities 0 and 1

Process = Generator[simpy.Event, object, None]
Task = tuple[int, int, int]  # operation, vector (over all images), stage: the order of service among equals


def run(job: Job, n_images: int, extrapolate: bool = True) -> JobResult:
    """Run ``n_images`` images, all of them whatever ``extrapolate`` says.

    Raises ValueError for a job against the contract, ImcsimError when buffers deadlock.
    """
    check(job)
    model = Model(job, n_images)
    model.env.run()
    if any(line.done.count < line.total for line in model.lines):
        admitted, done = [line.admitted for line in model.lines], [line.done.count for line in model.lines]
        raise deadlock(job, n_images, admitted, [model.released(i) for i in range(len(admitted))], done)
    return result_of(EngineRun(job, model.layout, model.starts, model.givers))


class Prefix:
    """Counts an unbroken prefix: 0, 1, .. count - 1 have all been added, in whatever order."""

    def __init__(self) -> None:
        self.count = 0
        self._overtakers: set[int] = set()

    def add(self, number: int) -> None:
        """Add a number; it counts once all before it are there."""
        self._overtakers.add(number)
        while self.count in self._overtakers:
            self._overtakers.remove(self.count)
            self.count += 1


@dataclass
class ActiveOperation:
    """Hold the state of an operation at work."""

    op: JobOp
    total: int
    news: simpy.Event  # of inputs or of room
    consumers: list[int]
    admitted: int = 0
    left: Prefix = field(default_factory=Prefix)  # the first stage
    done: Prefix = field(default_factory=Prefix)


@dataclass
class ResourcePool:
    """Hold the state of a resource at work."""

    resource: Resource
    busy: list[tuple[int, Task]] = field(default_factory=list)  # return times of used units, and who used them
    waiting: list[tuple[int, Task, int, int, simpy.Event]] = field(default_factory=list)  # see Model.request


class Model:
    """Hold the operations and resources of one run, and the times of every grant."""

    def __init__(self, job: Job, n_images: int) -> None:
        self.job, self.layout, self.env = job, TaskNumbering.of(job, n_images), simpy.Environment()
        self.starts = np.full(self.layout.n_tasks, -1, np.int64)
        self.givers = np.full(self.layout.n_tasks, -1, np.int32)
        self.pools = [ResourcePool(resource) for resource in job.resources]
        self.lines = [
            ActiveOperation(op, op.n_vectors * images_of(op, n_images), self.env.event(), self._consumers(i))
            for i, op in enumerate(job.operations)
        ]
        self.round, self.arbiter_is_called = 0, False
        for index in range(len(self.lines)):
            self.env.process(self.admit_all(index))

    def _consumers(self, index: int) -> list[int]:
        return [c for c, op in enumerate(self.job.operations) if any(e.producer == index for e in op.edges)]

    # an operation admits its vectors in order

    def admit_all(self, index: int) -> Process:
        """Admit the vectors of an operation in order, each when its inputs and its room are there."""
        line = self.lines[index]
        for number in range(line.total):
            while not (self.has_inputs(index, number) and number - self.released(index) < line.op.capacity):
                line.news = self.env.event()
                yield line.news
            line.admitted += 1
            self.env.process(self.pass_stages(index, number))

    def has_inputs(self, index: int, number: int) -> bool:
        """Say whether producers have delivered what a vector needs."""
        image, vector = divmod(number, self.lines[index].op.n_vectors)
        for edge in self.lines[index].op.edges:
            producer, needed = self.lines[edge.producer], edge.needs[vector]
            if needed > 0 and producer.done.count < image * producer.op.n_vectors + needed:
                return False
        return True

    def released(self, index: int) -> int:
        """Return how many of the operation's vectors every consumer has forgotten."""
        line = self.lines[index]
        forgotten = [
            self.forgotten(consumer, edge.frees, line.op.n_vectors)
            for consumer in line.consumers
            for edge in self.lines[consumer].op.edges
            if edge.producer == index
        ]
        return min(forgotten, default=line.done.count)

    def forgotten(self, consumer: int, frees: Ints, n_produced: int) -> int:
        """Return how many of a producer's vectors a consumer has forgotten."""
        image, vector = divmod(self.lines[consumer].left.count, len(frees))
        return image * n_produced + (int(frees[vector - 1]) if vector else 0)

    # a vector passes through its stages

    def pass_stages(self, index: int, number: int) -> Process:
        """Take a vector through its stages: request a unit, hold it, go on after the latency."""
        line = self.lines[index]
        for stage, spec in enumerate(line.op.stages):
            hold_ps, latency_ps = (
                int(times[number % line.op.n_vectors]) if isinstance(times, np.ndarray) else times
                for times in (spec.hold_ps, spec.latency_ps)
            )
            yield self.request(self.pools[spec.resource], (index, number, stage), hold_ps)
            yield self.env.timeout(latency_ps)
            if stage == 0:
                line.left.add(number)
                self.tell([edge.producer for edge in line.op.edges])
        line.done.add(number)
        self.tell(line.consumers or [index])

    def tell(self, indices: list[int]) -> None:
        """Wake the operations that wait for news."""
        for index in indices:
            if not self.lines[index].news.triggered:
                self.lines[index].news.succeed()

    # resources grant when all else at an instant has happened

    def request(self, pool: ResourcePool, task: Task, hold_ps: int) -> simpy.Event:
        """Queue for a unit; the event that is returned is its grant."""
        grant = self.env.event()
        heapq.heappush(pool.waiting, (self.round, task, int(self.env.now), hold_ps, grant))
        self.call_arbiter()
        return grant

    def call_arbiter(self) -> None:
        """Let resources grant when all else at this instant has happened."""
        if not self.arbiter_is_called:
            self.arbiter_is_called = True
            round_end = self.env.event()
            round_end._ok, round_end._value = True, None
            round_end.callbacks.append(lambda _: self.grant_all())
            self.env.schedule(round_end, AFTER_ALL_ELSE)

    def grant_all(self) -> None:
        """Grant what can be granted, resource by resource."""
        self.round, self.arbiter_is_called = self.round + 1, False
        for pool in self.pools:
            while pool.waiting and self.has_unit(pool):
                self.grant(pool)

    def has_unit(self, pool: ResourcePool) -> bool:
        """Say whether a unit is free now."""
        return len(pool.busy) < pool.resource.capacity or pool.busy[0][0] <= self.env.now

    def grant(self, pool: ResourcePool) -> None:
        """Grant a unit to the first in line, and note who gave it back."""
        _, task, since, hold_ps, grant = heapq.heappop(pool.waiting)
        if pool.busy and pool.busy[0][0] <= self.env.now:
            _, giver = heapq.heappop(pool.busy)
            if since < self.env.now:
                self.givers[self.task_number(task)] = self.task_number(giver)
        self.starts[self.task_number(task)] = self.env.now
        if pool.resource.capacity != UNLIMITED:
            heapq.heappush(pool.busy, (int(self.env.now) + hold_ps, task))
            self.env.timeout(hold_ps).callbacks.append(lambda _: self.call_arbiter())
        grant.succeed()

    def task_number(self, task: Task) -> int:
        """Return the number of a task among all tasks of the run."""
        op, number, stage = task
        return self.layout.bases[op] + stage * self.layout.vectors[op] + number
