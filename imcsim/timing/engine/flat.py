"""Lay a job out as the flat memory of the compiled loop, and number its tasks.

A *task* is one stage of one vector. Tasks are numbered by operation, stage, then vector (image by image); a *slot* is
one stage of one operation, so its tasks stand together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imcsim.timing.engine.contract import UNLIMITED, Ints, Job, JobOp
from imcsim.timing.kernels import event_memory as at


@dataclass(frozen=True)
class TaskNumbering:
    """Say where the tasks of each operation stand among all tasks of a run.

    ``vectors``: (n_operations,) of all images; ``stages``: (n_operations,); ``bases``: (n_operations,) first task.
    """

    n_images: int
    vectors: tuple[int, ...]
    stages: tuple[int, ...]
    bases: tuple[int, ...]
    n_tasks: int

    @staticmethod
    def of(job: Job, n_images: int) -> TaskNumbering:
        """Number the tasks of a job, operation by operation, stage by stage, vector by vector."""
        vectors = tuple(op.n_vectors * images_of(op, n_images) for op in job.operations)
        stages = tuple(len(op.stages) for op in job.operations)
        ends = np.cumsum([0, *(n * s for n, s in zip(vectors, stages, strict=True))])
        return TaskNumbering(n_images, vectors, stages, tuple(ends[:-1].tolist()), int(ends[-1]))

    def slots_of(self, op: int, per_task: Ints) -> Ints:
        """Return the entries of one operation, as a view of shape (n_stages, n_vectors of all images)."""
        base, n, stages = self.bases[op], self.vectors[op], self.stages[op]
        return per_task[base : base + n * stages].reshape(stages, n)


def images_of(op: JobOp, n_images: int) -> int:
    """Return how many times the operation runs."""
    return n_images if op.per_image else 1


def flatten(job: Job, n_images: int) -> Ints:
    """Return the memory ``m`` of the event loop for a checked job at time 0; ``event_memory`` names what is where."""
    memory = _Memory(job, TaskNumbering.of(job, n_images))
    memory.fill_ops()
    memory.fill_edges()
    memory.fill_slots()
    memory.fill_resources()
    return memory.close()


class _Memory:
    """Collect parts that will stand one after another; rows are filled by field once their addresses are known."""

    def __init__(self, job: Job, layout: TaskNumbering) -> None:
        self.job, self.layout = job, layout
        self._parts: list[Ints] = []
        self._size = 0
        self.n_edges_before = np.cumsum([0, *(len(op.edges) for op in job.operations)])
        self.n_slots_before = np.cumsum([0, *layout.stages])
        self.resource_of_slot, self.capacities = _private_where_unlimited(job)
        self.head, _ = self._rows(1, at.HEAD_SIZE)
        self.ops, self.op_at = self._rows(len(job.operations), at.OP_SIZE)
        self.edges, self.edge_at = self._rows(int(self.n_edges_before[-1]), at.EDGE_SIZE)
        self.slots, self.slot_at = self._rows(int(self.n_slots_before[-1]), at.SLOT_SIZE)
        self.resources, self.resource_at = self._rows(len(self.capacities), at.RESOURCE_SIZE)

    def _add(self, part: Ints) -> int:
        """Return the address of a new part."""
        address = self._size
        self._parts.append(part)
        self._size += part.size
        return address

    def _rows(self, count: int, size: int) -> tuple[Ints, Ints]:
        """Return new rows, and the address of each and of the end."""
        rows = np.zeros((count, size), np.int64)
        return rows, self._add(rows) + size * np.arange(count + 1)

    def fill_ops(self) -> None:
        ops, operations = self.ops, self.job.operations
        ops[:, at.N] = [op.n_vectors for op in operations]
        ops[:, at.TOTAL] = self.layout.vectors
        ops[:, at.CAPACITY] = [op.capacity for op in operations]
        ops[:, at.FIRST_SLOT] = self.slot_at[self.n_slots_before[:-1]]
        ops[:, at.LAST_SLOT] = self.slot_at[self.n_slots_before[1:] - 1]
        ops[:, at.IN] = self.edge_at[self.n_edges_before[:-1]]
        ops[:, at.IN_END] = self.edge_at[self.n_edges_before[1:]]
        producers = np.array([edge.producer for op in operations for edge in op.edges], np.int64)
        outs = self._add(self.edge_at[np.argsort(producers, kind="stable")])
        n_outs_before = np.cumsum([0, *np.bincount(producers, minlength=len(operations))])
        ops[:, at.OUT], ops[:, at.OUT_END] = outs + n_outs_before[:-1], outs + n_outs_before[1:]

    def fill_edges(self) -> None:
        pairs = [(consumer, edge) for consumer, op in enumerate(self.job.operations) for edge in op.edges]
        for row, (consumer, edge) in zip(self.edges, pairs, strict=True):
            row[at.PRODUCER], row[at.CONSUMER] = self.op_at[edge.producer], self.op_at[consumer]
            row[at.NEEDS], row[at.FREES] = self._add(edge.needs), self._add(edge.frees)

    def fill_slots(self) -> None:
        self.n_events = len(self.slots) + len(self.resources)
        for index, op in enumerate(self.job.operations):
            may_overtake = False
            for number, stage in enumerate(op.stages):
                slot = self.n_slots_before[index] + number
                row, total = self.slots[slot], self.layout.vectors[index]
                row[at.OP], row[at.RESOURCE] = self.op_at[index], self.resource_at[self.resource_of_slot[slot]]
                row[at.BASE] = self.layout.bases[index] + number * total
                row[at.HOLD], row[at.HOLD_AT] = self._times(stage.hold_ps)
                row[at.LATENCY], row[at.LATENCY_AT] = self._times(stage.latency_ps)
                row[at.ORDER_AT] = self._add(np.zeros(total, np.int64)) if may_overtake else at.NONE
                if row[at.LATENCY_AT] != at.NONE:
                    may_overtake = True
                    self.n_events += total

    def _times(self, times_ps: int | Ints) -> tuple[int, int]:
        """Return a number, and the address of one for each vector where they differ."""
        if not isinstance(times_ps, np.ndarray):
            return times_ps, at.NONE
        return int(times_ps[0]), self._add(times_ps) if np.ptp(times_ps) > 0 else at.NONE

    def fill_resources(self) -> None:
        tasks = np.repeat(self.layout.vectors, self.layout.stages)
        n_queues = np.bincount(self.resource_of_slot, minlength=len(self.resources))
        n_tasks = np.bincount(self.resource_of_slot, weights=tasks, minlength=len(self.resources)).astype(np.int64)
        for row, capacity, most, queues in zip(self.resources, self.capacities, n_tasks, n_queues, strict=True):
            row[at.UNITS] = capacity
            row[at.BUSY] = self._add(np.zeros(2 * min(capacity, most) if capacity != UNLIMITED else 0, np.int64))
            row[at.HEADS] = self._add(np.zeros(2 * queues, np.int64))

    def close(self) -> Ints:
        """Return everything in one array."""
        head = self.head[0]
        head[at.EVENTS] = self._add(np.zeros(2 * self.n_events, np.int64))
        head[at.ACTIVE] = self._add(np.zeros(len(self.resources), np.int64))
        head[at.OPS], head[at.N_OPS] = self.op_at[0], len(self.ops)
        return np.concatenate([part.ravel() for part in self._parts]).astype(np.int64, copy=False)


def _private_where_unlimited(job: Job) -> tuple[list[int], list[int]]:
    """Return a resource for each slot, and the capacities; nobody contends for an unlimited one: slots get one each."""
    capacities = [resource.capacity for resource in job.resources]
    of_slot = []
    for op in job.operations:
        for stage in op.stages:
            of_slot.append(stage.resource)
            if capacities[stage.resource] == UNLIMITED:
                of_slot[-1] = len(capacities)
                capacities.append(UNLIMITED)
    return of_slot, capacities
