"""Name what stands in the memory of the event loop, one flat integer array.

There is a row for each operation, slot (one stage of one operation), edge and resource, with what is fixed and what
changes side by side, so that an event touches few cache lines. Rows refer to each other by their address in ``m``, and
functions take rows by address. One array instead of many also spares the calls much copying and reference counting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.util.compiling import compiled

Ints = NDArray[np.int64]
Givers = NDArray[np.int32]

# the head of m: the clock, heap of events (time, code), list of resources that may grant in this round, rows of ops
NOW, ROUND, N_EVENTS, EVENTS, N_ACTIVE, ACTIVE, OPS, N_OPS, HEAD_SIZE = range(9)
# an operation; counters are over all images; OUT lists the addresses of edges
N, TOTAL, CAPACITY, ADMITTED, RELEASED, LEFT, DONE, FIRST_SLOT, LAST_SLOT, IN, IN_END, OUT, OUT_END, OP_SIZE = range(14)
# a slot; HOLD_AT, LATENCY_AT: where each vector has its own; ORDER_AT: vectors by request, where they may overtake
OP, RESOURCE, BASE, HOLD, HOLD_AT, LATENCY, LATENCY_AT, ORDER_AT, REQUESTED, GRANTED, FINISHED, SLOT_SIZE = range(12)
# an edge; NEEDS and FREES: addresses of the tables
PRODUCER, CONSUMER, NEEDS, FREES, WAITS_FOR, FORGOTTEN, EDGE_SIZE = range(7)
# a resource; heaps of busy units (return time, task) and of the first tasks of its queues (round of request, task)
UNITS, N_BUSY, BUSY, N_HEADS, HEADS, IS_WOKEN, IS_ACTIVE, RESOURCE_SIZE = range(8)

# a task as one number, in the order of service: operation, then vector, then stage
VECTOR_SHIFT, OP_SHIFT = 8, 40
# an event: the address of a slot (with the vector above, where it stands for that one), or ~ the address of a resource
EVENT_SHIFT = 32

NONE = -1  # no address; no task; and a start that has not been requested, while a waiting one holds -2 - round
NO_UNIT = -2
UNLIMITED = np.iinfo(np.int64).max


@compiled
def vector_at(m: Ints, slot: int, position: int) -> int:
    """Return the vector that was the ``position``-th to request this slot."""
    vector: int = position if m[slot + ORDER_AT] == NONE else m[m[slot + ORDER_AT] + position]
    return vector


@compiled
def time_of(m: Ints, slot: int, column: int, vector: int) -> int:
    """Return a vector's HOLD or LATENCY, as ``column`` says, in ps."""
    table = m[slot + column + 1]
    time_ps: int = m[slot + column] if table == NONE else m[table + vector % m[m[slot + OP] + N]]
    return time_ps


@compiled
def pack(m: Ints, slot: int, vector: int) -> int:
    """Return a task as one number."""
    op = m[slot + OP]
    stage = (slot - m[op + FIRST_SLOT]) // SLOT_SIZE
    code: int = (op - m[OPS]) // OP_SIZE << OP_SHIFT | vector << VECTOR_SHIFT | stage
    return code


@compiled
def vector_of(code: int) -> int:
    """Return the vector of a packed task."""
    return (code & ((1 << OP_SHIFT) - 1)) >> VECTOR_SHIFT


@compiled
def slot_of(m: Ints, code: int) -> int:
    """Return the slot of a packed task."""
    op = m[OPS] + (code >> OP_SHIFT) * OP_SIZE
    slot: int = m[op + FIRST_SLOT] + (code & ((1 << VECTOR_SHIFT) - 1)) * SLOT_SIZE
    return slot
