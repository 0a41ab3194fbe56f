"""Divide the critical path into shares, also where images repeat after the simulated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imcsim.timing.engine.accounts import EngineRun, OpLog
from imcsim.timing.engine.contract import Ints
from imcsim.timing.engine.flat import flatten
from imcsim.timing.kernels import event_memory as at
from imcsim.timing.kernels.critical import Times, walk_back


@dataclass(frozen=True)
class Period:
    """Images ``first`` .. ``first + images - 1`` are followed by ``repeats`` copies, each ``length_ps`` later.

    The simulated images behind them come after the last copy. From ``begin_ps`` on, everything that happens within
    ``length_ps`` happens again in each copy.
    """

    first: int
    images: int
    repeats: int
    length_ps: int
    begin_ps: int

    def weights(self, n_simulated: int) -> Ints:
        """Return (n_simulated,) how often each simulated image happens."""
        numbers = np.arange(n_simulated)
        return 1 + self.repeats * ((self.first <= numbers) & (numbers < self.first + self.images))


NO_PERIOD = Period(first=1, images=1, repeats=0, length_ps=0, begin_ps=0)


def critical_of(run: EngineRun, logs: list[OpLog], period: Period, makespan_ps: int) -> Ints:
    """Return (n_operations, max_stages) ps of the critical path of all images."""
    stages = run.layout.stages
    critical = np.zeros((len(logs), max(stages, default=0)), np.int64)
    if logs:
        shares = _shares(run, logs, period, makespan_ps)
        for i, part in enumerate(np.split(shares, np.cumsum(stages)[:-1])):
            critical[i, : len(part)] = part
    return critical


def _shares(run: EngineRun, logs: list[OpLog], period: Period, makespan_ps: int) -> Ints:
    """Return (n_slots,) ps of the critical path.

    What enabled a task looks the same in every copy, so once the path leaves a copy as it left one before, the copies
    between recur down to the first, and are added without walking through them.
    """
    m = flatten(run.job, run.layout.n_images) if run.memory is None else run.memory
    times, critical = _times(run, logs, m, period), np.zeros(sum(run.layout.stages), np.int64)
    op, vector = _last_completion(run, logs, period)
    slot, end_ps, copy = int(m[m[at.OPS] + op * at.OP_SIZE + at.LAST_SLOT]), makespan_ps, period.repeats
    seen: dict[tuple[int, int, int], tuple[int, Ints]] = {}
    while copy > 0:
        stop_ps = period.begin_ps + copy * period.length_ps
        slot, vector, end_ps = walk_back(m, times, critical, slot, vector, end_ps, stop_ps)
        n = int(m[m[slot + at.OP] + at.N])
        state = (slot, vector - copy * period.images * n, end_ps - stop_ps)
        if state in seen:
            copy_before, critical_before = seen[state]
            cycle = copy_before - copy
            cycles = copy // cycle
            critical += cycles * (critical - critical_before)
            vector -= cycles * cycle * period.images * n
            end_ps -= cycles * cycle * period.length_ps
            copy -= cycles * cycle
            seen = {}
        else:
            seen[state] = (copy, critical.copy())
            copy -= 1
    walk_back(m, times, critical, slot, vector, end_ps, 0)
    return critical


def _last_completion(run: EngineRun, logs: list[OpLog], period: Period) -> tuple[int, int]:
    """Return the highest operation that completes last, and its last vector that does, among all images."""
    last = max(range(len(logs)), key=lambda i: (logs[i].done[-1], i))
    op, log = run.job.operations[last], logs[last]
    vector = int(np.flatnonzero(log.end == log.done[-1])[-1])
    return last, vector + (period.repeats * period.images * op.n_vectors if op.per_image else 0)


def _times(run: EngineRun, logs: list[OpLog], m: Ints, period: Period) -> Times:
    end, done, exits, left = (
        np.concatenate([getattr(log, name) for log in logs]) for name in ("end", "done", "exit", "left")
    )
    first_slot = int(m[m[at.OPS] + at.FIRST_SLOT])
    slot_bases = m[first_slot + at.BASE :: at.SLOT_SIZE][: sum(run.layout.stages)].copy()
    vectors_at = np.cumsum([0, *run.layout.vectors])[:-1]
    repeated = np.array([period.first, period.images, period.repeats, period.length_ps])
    return Times(run.starts, run.givers, end, done, exits, left, vectors_at, slot_bases, repeated)
