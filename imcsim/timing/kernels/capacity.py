"""Find the peak buffer occupancy of a demand-driven schedule, one vector at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.util.compiling import compiled

Ints = NDArray[np.int64]


@compiled
def peak_occupancy(
    n_vectors: Ints, ins: Ints, producers: Ints, tables: Ints, outs: Ints, out_edges: Ints, needs: Ints, frees: Ints
) -> Ints:
    """Return (n_operations,) the most vectors of each operation that are admitted and not released.

    ``ins``, ``outs``: (n_operations + 1,) where the edges into and out of each operation begin; those out of it are
    listed in ``out_edges``. ``producers``, ``tables``: (n_edges,), the latter pointing into ``needs`` and ``frees``.
    """
    n_ops = len(n_vectors)
    done, released, peak = np.zeros(n_ops, np.int64), np.zeros(n_ops, np.int64), np.ones(n_ops, np.int64)
    forgotten = np.zeros(len(producers), np.int64)
    stack = np.empty(n_ops, np.int64)
    while True:
        op = _next_wanted(n_vectors, outs, done)
        if op < 0:
            return peak
        stack[0], depth = op, 1
        while depth > 0:
            op = stack[depth - 1]
            missing = _missing_input(op, done, ins, producers, tables, needs)
            if missing >= 0:
                stack[depth], depth = missing, depth + 1
                continue
            depth -= 1
            peak[op] = max(peak[op], done[op] + 1 - released[op])
            done[op] += 1
            is_last = done[op] == n_vectors[op]
            for edge in range(ins[op], ins[op + 1]):
                producer = producers[edge]
                forgotten[edge] = n_vectors[producer] if is_last else frees[tables[edge] + done[op] - 1]
                released[producer] = _least(forgotten, out_edges[outs[producer] : outs[producer + 1]])
            if outs[op] == outs[op + 1]:
                released[op] = done[op]


@compiled
def _next_wanted(n_vectors: Ints, outs: Ints, done: Ints) -> int:
    """Return the sink that is least advanced; then whatever no sink asked for, consumers first; -1 at the end."""
    best, best_frac = -1, 1.0
    for op in range(len(done)):
        frac = done[op] / n_vectors[op]
        if outs[op] == outs[op + 1] and frac < best_frac:
            best, best_frac = op, frac
    if best < 0:
        for op in range(len(done)):
            if done[op] < n_vectors[op]:
                best = op
    return best


@compiled
def _missing_input(op: int, done: Ints, ins: Ints, producers: Ints, tables: Ints, needs: Ints) -> int:
    """Return a producer that has not delivered what the operation's next vector needs, or -1."""
    for edge in range(ins[op], ins[op + 1]):
        if done[producers[edge]] < needs[tables[edge] + done[op]]:
            producer: int = producers[edge]
            return producer
    return -1


@compiled
def _least(values: Ints, indices: Ints) -> int:
    least: int = values[indices[0]]
    for index in indices[1:]:
        least = min(least, values[index])
    return least
