"""Find how much output buffer an operation needs at least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imcsim.timing.engine.contract import JobOp


def least_capacities(operations: Sequence[JobOp]) -> list[int]:
    """Return for each operation the output buffer, in vectors, with which one image passes in a demand-driven order.

    The order pulls the next vector of the sink that is least advanced, and for it, recursively, what it needs; each
    vector is admitted, leaves and completes before the next is begun. The capacity is the most that is ever admitted
    and not released, the vector being made included. Edges are those of a checked job.

    With these capacities every greedy run completes, whatever the latencies and resources. Suppose one is stuck: then
    nothing is in flight, for a task holds a unit for a fixed time and waits for nothing while it does. Let x be the
    first vector of the order above that has not been admitted. All vectors before x in that order were admitted, hence
    have completed and left their first stage. So the inputs of x are there, no less of its operation's output has been
    released than in the order at that point, and no more has been admitted, because operations are in order: x has
    room, and would have been admitted. At the end of an image everything is released, so the same order, repeated,
    serves any number of images.
    """
    from imcsim.timing.kernels.capacity import peak_occupancy

    edges = [edge for op in operations for edge in op.edges]
    producers = np.array([edge.producer for edge in edges], np.int64)
    starts = np.cumsum([0, *(len(edge.needs) for edge in edges)])
    needs, frees = (
        np.concatenate([np.zeros(0, np.int64), *(getattr(edge, name) for edge in edges)]) for name in ("needs", "frees")
    )
    peaks = peak_occupancy(
        np.array([op.n_vectors for op in operations], np.int64),
        np.cumsum([0, *(len(op.edges) for op in operations)]),
        producers,
        starts[:-1],
        np.cumsum([0, *np.bincount(producers, minlength=len(operations))]),
        np.argsort(producers, kind="stable"),
        needs.astype(np.int64),
        frees.astype(np.int64),
    )
    return [int(peak) for peak in peaks]
