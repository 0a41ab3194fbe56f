"""Decide how many vectors of its output each operation of a job may hold: shares of buffers, and registers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from imcsim.hardware.hardware import Hardware, SramBuffer
from imcsim.timing.engine.capacity import least_capacities
from imcsim.timing.engine.contract import UNLIMITED, JobOp, Resource
from imcsim.timing.feature_maps import Output
from imcsim.timing.job_draft import JobDraft


def size_buffers(draft: JobDraft, held: Mapping[int, Output], hardware: Hardware) -> set[str]:
    """Give each output in ``held`` its share of the buffers; return the layers whose share is smaller than they need.

    Those are granted what they need. Nobody gets room to run further ahead than one image. An operation that nobody
    reads from has registers instead.
    """
    read = {edge.producer for op in draft.ops for edge in op.edges}
    for index, op in enumerate(draft.ops):
        if op.per_image and index not in read:
            draft.ops[index] = _with_registers(op, draft.resources)
    if not isinstance(hardware.tile.buffer, SramBuffer):
        return set()
    held = {index: output for index, output in held.items() if index in read and output.bytes_per_vector}
    room, least = _rooms(held, hardware.tile.buffer.capacity_bytes), least_capacities(draft.ops)
    for index in held:
        most = least[index] + draft.ops[index].n_vectors
        draft.ops[index] = replace(draft.ops[index], capacity=min(max(least[index], room[index]), most))
    return {output.layer for index, output in held.items() if least[index] > room[index]}


def _rooms(held: Mapping[int, Output], capacity_bytes: int) -> dict[int, int]:
    """Return how many vectors of each output fit where all that lie in the same lane share its buffers evenly."""
    crowd = Counter(output.lane.key for output in held.values())
    return {
        index: int(capacity_bytes * output.lane.count * output.lane.tiles / crowd[output.lane.key]
                   / output.bytes_per_vector)
        for index, output in held.items()
    }  # fmt: skip


def _with_registers(op: JobOp, resources: Sequence[Resource]) -> JobOp:
    """Return an operation that takes in only what is in service at its stages, and as much again."""
    room = 0
    for stage in op.stages:
        hold, late, units = np.max(stage.hold_ps), np.max(stage.latency_ps), resources[stage.resource].capacity
        if units == UNLIMITED:
            return op
        room += units * max(1, -(-int(late) // int(hold)))
    return replace(op, capacity=2 * room)
