"""Keep binary heaps of pairs (key, code) inside the event loop's memory, the least first.

``heap`` is the address of the first pair, ``size`` the number of pairs.
"""

from __future__ import annotations

from imcsim.timing.kernels import event_memory as at
from imcsim.timing.kernels.event_memory import Ints
from imcsim.util.compiling import compiled


@compiled
def drop(m: Ints, heap: int, size: int) -> None:
    """Remove the first entry; ``size`` are left."""
    sift_down(m, heap, size, m[heap + 2 * size], m[heap + 2 * size + 1])


@compiled
def sift_up(m: Ints, heap: int, index: int, key: int, code: int) -> None:
    """Place an entry of a heap of pairs at ``index``, or above it where it comes before its ancestors."""
    while index > 0:
        above = heap + 2 * (index - 1 >> 1)
        if m[above] < key or (m[above] == key and m[above + 1] <= code):
            break
        m[heap + 2 * index], m[heap + 2 * index + 1] = m[above], m[above + 1]
        index = index - 1 >> 1
    m[heap + 2 * index], m[heap + 2 * index + 1] = key, code


@compiled
def sift_down(m: Ints, heap: int, size: int, key: int, code: int) -> None:
    """Replace the first of ``size`` entries of a heap of pairs."""
    hole, end = heap, heap + 2 * size
    low = heap + 2
    while low < end:
        other = low + 2
        if other < end and (m[other] < m[low] or (m[other] == m[low] and m[other + 1] < m[low + 1])):
            low = other
        if key < m[low] or (key == m[low] and code <= m[low + 1]):
            break
        m[hole], m[hole + 1] = m[low], m[low + 1]
        hole, low = low, 2 * low - heap + 2
    m[hole], m[hole + 1] = key, code


@compiled
def push_event(m: Ints, time_ps: int, code: int) -> None:
    """Enter an event."""
    m[at.N_EVENTS] += 1
    sift_up(m, m[at.EVENTS], m[at.N_EVENTS] - 1, time_ps, code)


@compiled
def drop_event(m: Ints) -> None:
    """Remove the first event."""
    m[at.N_EVENTS] -= 1
    drop(m, m[at.EVENTS], m[at.N_EVENTS])
