"""Say what a run that is stuck waits for."""

from __future__ import annotations

from collections.abc import Sequence

from imcsim.timing.engine.contract import Job
from imcsim.util.errors import ImcsimError


def deadlock(
    job: Job, n_images: int, admitted: Sequence[int], released: Sequence[int], done: Sequence[int]
) -> ImcsimError:
    """Return the error to raise when nothing is due and vectors are left; counts are over all images, by operation."""
    blocked = []
    for i, op in enumerate(job.operations):
        if admitted[i] < op.n_vectors * (n_images if op.per_image else 1):
            blocked += _lacks_room(job, i, admitted[i] - released[i]) + _lacks_inputs(job, i, admitted[i], done)
    return ImcsimError(f"job {job.name}", f"deadlock: {'; '.join(blocked)}", "enlarge tile.buffer.capacity_bytes")


def _lacks_room(job: Job, index: int, held: int) -> list[str]:
    op = job.operations[index]
    if held < op.capacity:
        return []
    consumers = " and ".join(c.name for c in job.operations if any(edge.producer == index for edge in c.edges))
    return [f"{op.name} holds {held} of {op.capacity} vectors and waits for {consumers} to free some"]


def _lacks_inputs(job: Job, index: int, admitted: int, done: Sequence[int]) -> list[str]:
    op = job.operations[index]
    image, vector = divmod(admitted, op.n_vectors)
    texts = []
    for edge in op.edges:
        producer = job.operations[edge.producer]
        missing = image * producer.n_vectors + int(edge.needs[vector]) - done[edge.producer]
        if edge.needs[vector] > 0 and missing > 0:
            texts.append(f"{op.name} lacks {missing} vectors of {producer.name}")
    return texts
