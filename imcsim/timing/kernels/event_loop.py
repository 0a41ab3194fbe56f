"""Run the event loop of the fast engine, over the rows of ``event_memory.py``.

Three things keep events rare and the heap small:

- vectors wait in the order of their vector number unless latencies differ between vectors, so queues are two counters,
  and a waiting task keeps its round where its start time will stand;
- of the tasks in flight in a slot with one latency only the first stands in the heap;
- a resource is woken at the return of a unit only while somebody waits for it.
"""

from __future__ import annotations

from imcsim.timing.kernels import event_memory as at
from imcsim.timing.kernels.event_memory import Givers, Ints
from imcsim.timing.kernels.heap import drop, drop_event, push_event, sift_down, sift_up
from imcsim.util.compiling import compiled


@compiled
def run_events(m: Ints, starts: Ints, givers: Givers) -> None:
    """Run from time 0 until nothing is due; a start that is still negative then means a deadlock.

    ``m``: the memory. ``starts``: (n_tasks,) NONE, becomes the grants. ``givers``: (n_tasks,) NONE, becomes the task
    whose returned unit ended a wait, where there was one.
    """
    for i in range(m[at.N_OPS]):
        _admit(m, starts, m[at.OPS] + i * at.OP_SIZE)
    _grant_all(m, starts, givers)
    while m[at.N_EVENTS] > 0:
        _deliver_all(m, starts)
        _grant_all(m, starts, givers)


@compiled
def _deliver_all(m: Ints, starts: Ints) -> None:
    events = m[at.EVENTS]
    now = m[events]
    m[at.NOW] = now
    m[at.ROUND] += 1
    while m[at.N_EVENTS] > 0 and m[events] == now:
        code = m[events + 1]
        if code < 0:
            drop_event(m)
            m[~code + at.IS_WOKEN] = 0
            _activate(m, ~code)
        elif code < 1 << at.EVENT_SHIFT:
            _finish_first(m, starts, code)
        else:
            drop_event(m)
            _finish(m, starts, code & ((1 << at.EVENT_SHIFT) - 1), (code >> at.EVENT_SHIFT) - 1)


@compiled
def _finish_first(m: Ints, starts: Ints, slot: int) -> None:
    """End the first task in flight of a slot with one latency; the next one takes its place in the heap."""
    position = m[slot + at.FINISHED]
    m[slot + at.FINISHED] = position + 1
    if position + 1 < m[slot + at.GRANTED]:
        due = starts[m[slot + at.BASE] + at.vector_at(m, slot, position + 1)] + m[slot + at.LATENCY]
        sift_down(m, m[at.EVENTS], m[at.N_EVENTS], due, slot)
    else:
        drop_event(m)
    _finish(m, starts, slot, at.vector_at(m, slot, position))


@compiled
def _finish(m: Ints, starts: Ints, slot: int, vector: int) -> None:
    op = m[slot + at.OP]
    if slot == m[op + at.FIRST_SLOT]:
        _leave(m, starts, op, slot)
    if slot == m[op + at.LAST_SLOT]:
        _complete(m, starts, op, slot)
    else:
        _request(m, starts, slot + at.SLOT_SIZE, vector)


@compiled
def _prefix(m: Ints, starts: Ints, op: int, slot: int, count: int) -> int:
    """Return how many of the first vectors have finished this slot, given that ``count`` have."""
    while count < m[op + at.TOTAL]:
        start = starts[m[slot + at.BASE] + count]
        if start < 0 or start + at.time_of(m, slot, at.LATENCY, count) > m[at.NOW]:
            break
        count += 1
    return count


@compiled
def _leave(m: Ints, starts: Ints, op: int, slot: int) -> None:
    left = _prefix(m, starts, op, slot, m[op + at.LEFT])
    if left == m[op + at.LEFT]:
        return
    m[op + at.LEFT] = left
    image = left // m[op + at.N]
    vector = left - image * m[op + at.N]
    for edge in range(m[op + at.IN], m[op + at.IN_END], at.EDGE_SIZE):
        producer = m[edge + at.PRODUCER]
        freed = m[m[edge + at.FREES] + vector - 1] if vector > 0 else 0
        m[edge + at.FORGOTTEN] = image * m[producer + at.N] + freed
        _release(m, starts, producer)


@compiled
def _release(m: Ints, starts: Ints, op: int) -> None:
    released = m[op + at.DONE]
    if m[op + at.OUT] < m[op + at.OUT_END]:
        released = m[m[m[op + at.OUT]] + at.FORGOTTEN]
        for i in range(m[op + at.OUT] + 1, m[op + at.OUT_END]):
            released = min(released, m[m[i] + at.FORGOTTEN])
    was_full = m[op + at.ADMITTED] - m[op + at.RELEASED] >= m[op + at.CAPACITY]
    m[op + at.RELEASED] = released
    if was_full:
        _admit(m, starts, op)


@compiled
def _complete(m: Ints, starts: Ints, op: int, slot: int) -> None:
    before = m[op + at.DONE]
    done = _prefix(m, starts, op, slot, before)
    m[op + at.DONE] = done
    for i in range(m[op + at.OUT], m[op + at.OUT_END]):
        if before < m[m[i] + at.WAITS_FOR] <= done:
            _admit(m, starts, m[m[i] + at.CONSUMER])
    if m[op + at.OUT] == m[op + at.OUT_END]:
        _release(m, starts, op)


@compiled
def _admit(m: Ints, starts: Ints, op: int) -> None:
    while m[op + at.ADMITTED] < m[op + at.TOTAL]:
        number = m[op + at.ADMITTED]
        image = number // m[op + at.N]
        vector = number - image * m[op + at.N]
        has_inputs = True
        for edge in range(m[op + at.IN], m[op + at.IN_END], at.EDGE_SIZE):
            producer = m[edge + at.PRODUCER]
            needed = m[m[edge + at.NEEDS] + vector]
            m[edge + at.WAITS_FOR] = image * m[producer + at.N] + needed if needed > 0 else 0
            has_inputs &= m[edge + at.WAITS_FOR] <= m[producer + at.DONE]
        if not has_inputs or number - m[op + at.RELEASED] >= m[op + at.CAPACITY]:
            return
        m[op + at.ADMITTED] = number + 1
        _request(m, starts, m[op + at.FIRST_SLOT], number)


@compiled
def _request(m: Ints, starts: Ints, slot: int, vector: int) -> None:
    resource = m[slot + at.RESOURCE]
    position = m[slot + at.REQUESTED]
    m[slot + at.REQUESTED] = position + 1
    starts[m[slot + at.BASE] + vector] = -2 - m[at.ROUND]
    if m[slot + at.ORDER_AT] != at.NONE:
        position = _enqueue(m, starts, slot, vector, position)
    if position == m[slot + at.GRANTED]:
        _set_head(m, resource, slot, vector)
    if m[resource + at.IS_WOKEN] == 0:
        _activate(m, resource)


@compiled
def _enqueue(m: Ints, starts: Ints, slot: int, vector: int, position: int) -> int:
    """Insert among the requests of the same round by vector number; return the position that it got."""
    order, base, first = m[slot + at.ORDER_AT], m[slot + at.BASE], m[slot + at.GRANTED]
    while position > first:
        before = m[order + position - 1]
        if before < vector or starts[base + before] != starts[base + vector]:
            break
        m[order + position] = before
        position -= 1
    m[order + position] = vector
    return position


@compiled
def _set_head(m: Ints, resource: int, slot: int, vector: int) -> None:
    """Enter a queue's new first vector among the heads; one that overtook the head of its round takes its place."""
    index = m[resource + at.N_HEADS]
    if m[slot + at.REQUESTED] > m[slot + at.GRANTED] + 1:
        index = 0
        while at.slot_of(m, m[m[resource + at.HEADS] + 2 * index + 1]) != slot:
            index += 1
    else:
        m[resource + at.N_HEADS] = index + 1
    sift_up(m, m[resource + at.HEADS], index, m[at.ROUND], at.pack(m, slot, vector))


@compiled
def _activate(m: Ints, resource: int) -> None:
    if m[resource + at.IS_ACTIVE] == 0:
        m[resource + at.IS_ACTIVE] = 1
        m[m[at.ACTIVE] + m[at.N_ACTIVE]] = resource
        m[at.N_ACTIVE] += 1


@compiled
def _grant_all(m: Ints, starts: Ints, givers: Givers) -> None:
    for i in range(m[at.N_ACTIVE]):
        resource = m[m[at.ACTIVE] + i]
        m[resource + at.IS_ACTIVE] = 0
        _grant(m, starts, givers, resource)
    m[at.N_ACTIVE] = 0


@compiled
def _grant(m: Ints, starts: Ints, givers: Givers, resource: int) -> None:
    """Grant to the first in line while there are waiting vectors and units."""
    heads = m[resource + at.HEADS]
    while m[resource + at.N_HEADS] > 0:
        giver = _take_unit(m, resource)
        if giver == at.NO_UNIT:
            if m[resource + at.IS_WOKEN] == 0:
                m[resource + at.IS_WOKEN] = 1
                push_event(m, m[m[resource + at.BUSY]], ~resource)
            return
        code = m[heads + 1]
        slot = at.slot_of(m, code)
        task = m[slot + at.BASE] + at.vector_of(code)
        if giver != at.NONE and m[heads] < m[at.ROUND]:  # no unit comes back between two rounds of one instant
            givers[task] = m[at.slot_of(m, giver) + at.BASE] + at.vector_of(giver)
        starts[task] = m[at.NOW]
        _start(m, resource, slot, giver, code)
        position = m[slot + at.GRANTED]
        if position < m[slot + at.REQUESTED]:
            following = at.vector_at(m, slot, position)
            mark = -2 - starts[m[slot + at.BASE] + following]
            sift_down(m, heads, m[resource + at.N_HEADS], mark, at.pack(m, slot, following))
        else:
            m[resource + at.N_HEADS] -= 1
            drop(m, heads, m[resource + at.N_HEADS])


@compiled
def _take_unit(m: Ints, resource: int) -> int:
    """Return the task that returned the unit which is taken, NONE for a fresh or unlimited one, or NO_UNIT."""
    busy = m[resource + at.BUSY]
    giver: int = at.NONE if m[resource + at.N_BUSY] < m[resource + at.UNITS] else at.NO_UNIT
    if m[resource + at.N_BUSY] > 0 and m[busy] <= m[at.NOW]:
        giver = m[busy + 1]
    return giver


@compiled
def _start(m: Ints, resource: int, slot: int, giver: int, code: int) -> None:
    """Hold the unit, and enter the end of the task among the events."""
    vector, position = at.vector_of(code), m[slot + at.GRANTED]
    m[slot + at.GRANTED] = position + 1
    if m[resource + at.UNITS] != at.UNLIMITED:
        until, n_busy = m[at.NOW] + at.time_of(m, slot, at.HOLD, vector), m[resource + at.N_BUSY]
        if giver == at.NONE:
            m[resource + at.N_BUSY] = n_busy + 1
            sift_up(m, m[resource + at.BUSY], n_busy, until, code)
        else:
            sift_down(m, m[resource + at.BUSY], n_busy, until, code)
    if m[slot + at.LATENCY_AT] != at.NONE:
        push_event(m, m[at.NOW] + at.time_of(m, slot, at.LATENCY, vector), slot | vector + 1 << at.EVENT_SHIFT)
    elif m[slot + at.FINISHED] == position:
        push_event(m, m[at.NOW] + m[slot + at.LATENCY], slot)
