"""Walk back along the critical path, over the memory of the event loop and the times of a finished run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imcsim.timing.kernels import event_memory as at
from imcsim.timing.kernels.event_memory import Givers, Ints
from imcsim.util.compiling import compiled


class Times(NamedTuple):
    """Hold what a run left behind. Per vector: (n_vectors of all operations,) int64, operation by operation."""

    starts: Ints  # (n_tasks,)
    givers: Givers  # (n_tasks,)
    end: Ints
    done: Ints  # when this and all vectors before had completed
    exit: Ints  # when the vector left its first stage
    left: Ints  # when this and all vectors before had
    vectors_at: Ints  # (n_operations,) where each operation's vectors begin
    slot_bases: Ints  # (n_slots,) first task of each slot
    period: Ints  # (first image, images, repeats, length in ps) of what repeats after the simulated images


@compiled
def walk_back(
    m: Ints, times: Times, critical: Ints, slot: int, vector: int, end_ps: int, stop_ps: int
) -> tuple[int, int, int]:
    """Add to ``critical`` (n_slots,) the path's ps in each slot, back from a task that enabled something at ``end_ps``.

    Stops at the first task granted before ``stop_ps``, or at time 0. Returns that task and what it enabled when:
    (slot, vector, end_ps).
    """
    slots = m[m[at.OPS] + at.FIRST_SLOT]
    while True:
        index = (slot - slots) // at.SLOT_SIZE
        base, n = times.slot_bases[index], m[m[slot + at.OP] + at.N]
        simulated, later_ps = _simulated(times.period, vector, n)
        start_ps = times.starts[base + simulated] + later_ps
        if start_ps < stop_ps:
            return slot, vector, end_ps
        critical[index] += end_ps - start_ps
        end_ps = start_ps
        if start_ps == 0:
            return slot, vector, end_ps
        giver = times.givers[base + simulated]
        if giver != at.NONE:
            index = np.searchsorted(times.slot_bases, giver, side="right") - 1
            slot = slots + index * at.SLOT_SIZE
            images = (vector - simulated) // n
            vector = giver - times.slot_bases[index] + images * m[m[slot + at.OP] + at.N]
        elif slot != m[m[slot + at.OP] + at.FIRST_SLOT]:
            slot -= at.SLOT_SIZE
        else:
            slot, vector = _admission_cause(m, times, m[slot + at.OP], vector, start_ps)


@compiled
def _simulated(period: Ints, vector: int, n: int) -> tuple[int, int]:
    """Return the simulated vector that this one repeats, and how much later this one is."""
    first, images, repeats, length_ps = period
    passed = min(max((vector // n - first) // images, 0), repeats)
    return vector - passed * images * n, passed * length_ps


@compiled
def _time_of(m: Ints, times: Times, per_vector: Ints, op: int, vector: int) -> int:
    simulated, later_ps = _simulated(times.period, vector, m[op + at.N])
    time_ps: int = per_vector[times.vectors_at[(op - m[at.OPS]) // at.OP_SIZE] + simulated] + later_ps
    return time_ps


@compiled
def _last_at(m: Ints, times: Times, per_vector: Ints, op: int, vector: int, time_ps: int) -> int:
    """Return the last of the vectors up to this one to which something happened at ``time_ps``."""
    while _time_of(m, times, per_vector, op, vector) != time_ps:
        vector -= 1
    return vector


@compiled
def _admission_cause(m: Ints, times: Times, op: int, vector: int, time_ps: int) -> tuple[int, int]:
    """Return (slot, vector) of the task whose end admitted a vector at ``time_ps``."""
    while True:
        slot, cause = _delivery(m, times, op, vector, time_ps)
        if slot == at.NONE:
            slot, cause = _release(m, times, op, vector - m[op + at.CAPACITY], time_ps)
        if slot != at.NONE:
            return slot, cause
        vector -= 1  # it was admitted right after the one before


@compiled
def _delivery(m: Ints, times: Times, op: int, vector: int, time_ps: int) -> tuple[int, int]:
    image, vector = vector // m[op + at.N], vector % m[op + at.N]
    for edge in range(m[op + at.IN], m[op + at.IN_END], at.EDGE_SIZE):
        producer, needed = m[edge + at.PRODUCER], m[m[edge + at.NEEDS] + vector]
        last = image * m[producer + at.N] + needed - 1
        if needed > 0 and _time_of(m, times, times.done, producer, last) == time_ps:
            return m[producer + at.LAST_SLOT], _last_at(m, times, times.end, producer, last, time_ps)
    return at.NONE, at.NONE


@compiled
def _release(m: Ints, times: Times, op: int, released: int, time_ps: int) -> tuple[int, int]:
    """Return ``released``, the vector whose release made room; negative where the buffer had never been full."""
    if released < 0:
        return at.NONE, at.NONE
    image, number = released // m[op + at.N], released % m[op + at.N]
    for i in range(m[op + at.OUT], m[op + at.OUT_END]):
        edge = m[i]
        consumer, frees = m[edge + at.CONSUMER], m[edge + at.FREES]
        n = m[consumer + at.N]
        leaving = image * n + min(np.searchsorted(m[frees : frees + n], number + 1), n - 1)
        if _time_of(m, times, times.left, consumer, leaving) == time_ps:
            return m[consumer + at.FIRST_SLOT], _last_at(m, times, times.exit, consumer, leaving, time_ps)
    if m[op + at.OUT] == m[op + at.OUT_END] and _time_of(m, times, times.done, op, released) == time_ps:
        return m[op + at.LAST_SLOT], _last_at(m, times, times.end, op, released, time_ps)
    return at.NONE, at.NONE
