"""Draw the flow of data as arrows from producers to consumers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from imcsim.reporting.perfetto.events import Event, whole_ns
from imcsim.reporting.perfetto.phase import PlacedPhase, VectorAt

Arrow = tuple[VectorAt, VectorAt]
"""From a vector to the one that needs it."""


def arrows_of(phase: PlacedPhase) -> list[Arrow]:
    """Return arrows from a producer's first vector to the first that needs it, past operations that are not drawn."""
    result: list[Arrow] = []
    for i, op in enumerate(phase.job.operations):
        drawn = phase.drawn_stages(op)
        for edge in op.edges if drawn else ():
            vector = int(np.searchsorted(edge.needs, 1))
            for producer in _drawn_producers(phase, edge.producer) if vector < op.n_vectors else ():
                last = phase.drawn_stages(phase.job.operations[producer])[-1]
                result.append(((producer, last, 0), (i, drawn[0], vector)))
    for op_index, stage, vector in (end for arrow in result for end in arrow):
        phase.wanted.setdefault((op_index, stage), set()).add(vector)
    return result


def _drawn_producers(phase: PlacedPhase, index: int) -> set[int]:
    op = phase.job.operations[index]
    if phase.drawn_stages(op):
        return {index}
    return {drawn for edge in op.edges for drawn in _drawn_producers(phase, edge.producer)}


def flow_events(phases: list[PlacedPhase], arrows: list[list[Arrow]], ids: list[tuple[int, int]]) -> Iterator[Event]:
    """Yield the two ends of every arrow as events."""
    number = 0
    for phase, ends in zip(phases, arrows, strict=True):
        for source, target in ends:
            number += 1
            for kind, vector_at, extra in (("s", source, ""), ("f", target, ', "bp": "e"')):
                track, ps = phase.drawn_at[vector_at]
                (pid, tid), ns = ids[track], int(whole_ns(ps))
                where = f'"pid": {pid}, "tid": {tid}, "ts": {ns / 1000}'
                text = f'{{"ph": "{kind}", "id": {number}, {where}, "name": "data", "cat": "flow"{extra}}}'
                yield Event(ns, 3 if kind == "s" else 4, text)
