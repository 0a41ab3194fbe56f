"""The oracle: time advances one picosecond at a time, and everything is looked at every time.

Written from ``contract.py`` alone, for jobs of a few vectors and small times.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from imcsim.timing.engine.contract import UNLIMITED, Job


@dataclass
class Vector:
    """One vector of one operation; lists have an entry for each stage."""

    op: int
    number: int  # image by image
    admitted: int | None = None
    requested: list[int | None] = field(default_factory=list)
    round: list[int | None] = field(default_factory=list)
    granted: list[int | None] = field(default_factory=list)
    giver: list[tuple[int, int, int] | None] = field(default_factory=list)
    finished: list[int | None] = field(default_factory=list)


class Ticking:
    """Runs on construction. Afterwards holds vectors, makespan and totals under the names of ``JobResult``."""

    def __init__(self, job: Job, n_images: int) -> None:
        self.job, self.n_images, self.now, self.round = job, n_images, 0, 0
        self.vectors = []
        for o, op in enumerate(job.operations):
            count = op.n_vectors * (n_images if op.per_image else 1)
            blank = [[None] * len(op.stages) for _ in range(5 * count)]
            self.vectors.append([Vector(o, v, None, *blank[5 * v : 5 * v + 5]) for v in range(count)])
        shape = (len(job.operations), max(len(op.stages) for op in job.operations))
        self.busy_ps = np.zeros(len(job.resources), np.int64)
        self.queued_ps, self.critical_ps = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.starved_ps, self.blocked_ps = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int64)
        self.units: list[dict] = [{} for _ in job.resources]  # unit number -> (return time, task) of its last use
        self.is_stuck = False
        self.run()

    def run(self) -> None:
        while not self.all_done():
            while self.do_round():
                pass
            if self.all_done():
                break
            if self.is_idle():
                self.is_stuck = True
                return
            self.count_tick()
            self.now += 1
        for r, units in enumerate(self.units):  # units still held when the last vector is done
            self.busy_ps[r] += sum(max(0, back - self.now) for back, _ in units.values())
        self.makespan_ps = self.now
        image_0 = [v for line in self.vectors for v in line if self.op(v).per_image and v.number < self.op(v).n_vectors]
        self.first_image_ps = max((v.finished[-1] for v in image_0), default=self.now)
        self.walk_back()

    def op(self, vector: Vector):
        return self.job.operations[vector.op]

    def all_done(self) -> bool:
        return all(v.finished[-1] is not None for line in self.vectors for v in line)

    def is_idle(self) -> bool:
        """Nothing is in service, nothing waits for a resource."""
        return all(v.admitted is None or v.finished[-1] is not None for line in self.vectors for v in line)

    # one round: deliver until nothing more follows, then grant

    def do_round(self) -> bool:
        delivered = False
        while self.deliver():
            delivered = True
        granted = self.grant()
        self.round += 1
        return delivered or granted

    def deliver(self) -> bool:
        changed = False
        for line in self.vectors:
            for v in line:
                changed |= self.finish_stages(v)
            changed |= self.admit_next(line)
        return changed

    def finish_stages(self, v: Vector) -> bool:
        changed = False
        for s, stage in enumerate(self.op(v).stages):
            is_over = v.granted[s] is not None and v.granted[s] + self.one(stage.latency_ps, v) <= self.now
            if is_over and v.finished[s] is None:
                v.finished[s], changed = self.now, True
                if s + 1 < len(v.granted):
                    v.requested[s + 1], v.round[s + 1] = self.now, self.round
        return changed

    def one(self, times_ps, v: Vector) -> int:
        return int(times_ps[v.number % self.op(v).n_vectors]) if np.ndim(times_ps) else int(times_ps)

    def admit_next(self, line: list[Vector]) -> bool:
        for v in line:
            if v.admitted is None:
                if self.has_inputs(v) and self.has_room(v):
                    v.admitted = v.requested[0] = self.now
                    v.round[0] = self.round
                    return True
                return False
        return False

    def prefix(self, o: int, stage: int) -> int:
        """How many first vectors have all finished a stage."""
        count = 0
        for v in self.vectors[o]:
            if v.finished[stage] is None:
                break
            count += 1
        return count

    def has_inputs(self, v: Vector) -> bool:
        return all(self.prefix(producer, -1) > last for producer, last in self.inputs(v))

    def inputs(self, v: Vector) -> list[tuple[int, int]]:
        """(producer, the last vector that is needed) for each edge that asks for something."""
        image, number = divmod(v.number, self.op(v).n_vectors)
        return [
            (e.producer, image * self.job.operations[e.producer].n_vectors + int(e.needs[number]) - 1)
            for e in self.op(v).edges
            if e.needs[number] > 0
        ]

    def has_room(self, v: Vector) -> bool:
        return v.number - self.released(v.op) < self.op(v).capacity

    def released(self, o: int) -> int:
        counts = []
        for c, consumer in enumerate(self.job.operations):
            for edge in consumer.edges:
                if edge.producer == o:
                    image, left = divmod(self.prefix(c, 0), consumer.n_vectors)
                    counts.append(image * self.job.operations[o].n_vectors + (int(edge.frees[left - 1]) if left else 0))
        return min(counts, default=self.prefix(o, -1))

    def grant(self) -> bool:
        granted = False
        for r, resource in enumerate(self.job.resources):
            for v, s in sorted(self.waiting(r), key=lambda w: (w[0].round[w[1]], w[0].op, w[0].number, w[1])):
                hold = self.one(self.op(v).stages[s].hold_ps, v)
                if resource.capacity == UNLIMITED:
                    self.busy_ps[r] += hold
                elif not self.take_unit(r, v, s, hold):
                    break
                v.granted[s], granted = self.now, True
        return granted

    def waiting(self, r: int) -> list[tuple[Vector, int]]:
        return [
            (v, s)
            for line in self.vectors
            for v in line
            for s, stage in enumerate(self.op(v).stages)
            if stage.resource == r and v.requested[s] is not None and v.granted[s] is None
        ]

    def take_unit(self, r: int, v: Vector, s: int, hold: int) -> bool:
        """Take the unit that was returned first (of equals, by the first task), or a fresh one."""
        units, task = self.units[r], (v.op, v.number, s)
        back = [(time, by, u) for u, (time, by) in units.items() if time <= self.now]
        if back:
            _, by, u = min(back)
            v.giver[s] = by if v.requested[s] < self.now else None
        elif len(units) < self.job.resources[r].capacity:
            u = len(units)
        else:
            return False
        units[u] = (self.now + hold, task)
        return True

    def count_tick(self) -> None:
        """Who spends the time from now to now + 1 how."""
        for r, units in enumerate(self.units):
            self.busy_ps[r] += sum(time > self.now for time, _ in units.values())
        for line in self.vectors:
            for v in line:
                for s in range(len(v.granted)):
                    self.queued_ps[v.op, s] += v.requested[s] is not None and v.granted[s] is None
            pending = [v for v in line if v.admitted is None]
            if pending:
                self.starved_ps[pending[0].op] += not self.has_inputs(pending[0])
                self.blocked_ps[pending[0].op] += self.has_inputs(pending[0])

    # the critical path, from what was noted on the way

    def walk_back(self) -> None:
        everything = [v for line in self.vectors for v in line]
        v = max(everything, key=lambda v: (v.finished[-1], v.op, v.number))
        s, until = len(v.granted) - 1, v.finished[-1]
        while True:
            self.critical_ps[v.op, s] += until - v.granted[s]
            until = v.granted[s]
            if until == 0:
                return
            if v.giver[s] is not None:
                o, number, s = v.giver[s]
                v = self.vectors[o][number]
            elif s > 0:
                s -= 1
            else:
                v, s = self.admission_cause(v)

    def admission_cause(self, v: Vector) -> tuple[Vector, int]:
        for producer, last in self.inputs(v):
            if (cause := self.latest(producer, -1, last)).finished[-1] == v.admitted:
                return cause, len(cause.finished) - 1
        for o, stage, last in self.releases(v):
            if (cause := self.latest(o, stage, last)).finished[stage] == v.admitted:
                return cause, stage % len(cause.finished)
        return self.admission_cause(self.vectors[v.op][v.number - 1])

    def latest(self, o: int, stage: int, last: int) -> Vector:
        """Of the vectors up to ``last`` the one that finished a stage last, and of those the last."""
        return max(self.vectors[o][: last + 1], key=lambda v: (v.finished[stage], v.number))

    def releases(self, v: Vector) -> list[tuple[int, int, int]]:
        """(operation, stage, vector) whose finishing releases what makes room for the vector, for each edge."""
        freed, n = v.number - self.op(v).capacity, self.op(v).n_vectors
        if freed < 0:
            return []
        consumers = [(c, e, op) for c, op in enumerate(self.job.operations) for e in op.edges if e.producer == v.op]
        exits = []
        for c, edge, consumer in consumers:
            image, number = divmod(freed, n)
            enough = [x for x in range(consumer.n_vectors) if edge.frees[x] > number or x == consumer.n_vectors - 1]
            exits.append((c, 0, image * consumer.n_vectors + enough[0]))
        return exits or [(v.op, -1, freed)]
