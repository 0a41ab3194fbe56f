"""Write slices, tracks and counters as Chrome trace events in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from imcsim.reporting.perfetto.tracks import Canvas, Floats, Slices
from imcsim.timing.engine.contract import Ints
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.util import units

_BEHIND_TILES = [kind for kind in ResourceKind if kind not in (ResourceKind.WRITE, ResourceKind.NONE)]
ORDER = ("phases", "counters", ResourceKind.WRITE, "tile", *_BEHIND_TILES, "waiting")


class Event(NamedTuple):
    """Hold one event as JSON text, and where it sorts: ``ts_ns``, then ``rank``."""

    ts_ns: int
    rank: int
    text: str


def counter_events(name: str, unit: str, when_ns: Ints, level: Floats) -> list[Event]:
    """Return events where the level changes."""
    changes = np.flatnonzero(np.diff(level, prepend=np.nan) != 0)
    head = f'{{"ph": "C", "pid": {ORDER.index("counters")}, "tid": 0, "name": {json.dumps(name)}, "ts": '
    return [
        Event(t, 1, f'{head}{t / 1000}, "args": {{"{unit}": {value!r}}}}}')
        for t, value in zip(when_ns[changes].tolist(), level[changes].tolist(), strict=True)
    ]


def track_ids(canvas: Canvas) -> list[tuple[int, int]]:
    """Return (pid, tid) of each track; processes in the order in which a reader looks for them."""
    processes = list(dict.fromkeys(process for process, _ in canvas.tracks))
    places = {kind: place for place, kind in enumerate(ORDER)}
    processes.sort(key=lambda process: places.get(process.split()[0], len(ORDER)))
    pids = {process: number + len(ORDER) for number, process in enumerate(processes)}
    return [(pids[process], tid) for tid, (process, _) in enumerate(canvas.tracks, 1)]


def name_events(canvas: Canvas, ids: list[tuple[int, int]]) -> Iterator[Event]:
    """Yield names of processes and threads, and the order of processes."""
    named = {ORDER.index("counters"): "counters"}
    for (process, label), (pid, tid) in zip(canvas.tracks, ids, strict=True):
        named[pid] = process
        yield Event(0, 0, _named("thread_name", pid, tid, label))
    for pid, process in named.items():
        yield Event(0, 0, _named("process_name", pid, 0, process))
        order = f'"args": {{"sort_index": {pid}}}'
        yield Event(0, 0, f'{{"ph": "M", "pid": {pid}, "tid": 0, "ts": 0, "name": "process_sort_index", {order}}}')


def _named(what: str, pid: int, tid: int, name: str) -> str:
    args = json.dumps({"name": name})
    return f'{{"ph": "M", "pid": {pid}, "tid": {tid}, "ts": 0, "name": "{what}", "args": {args}}}'


def slice_events(slices: Slices, canvas: Canvas, ids: list[tuple[int, int]]) -> Iterator[Event]:
    """Yield complete events; ``busy_percent`` where a slice spans gaps."""
    names = [f', "name": {json.dumps(name)}, "args": {{"vectors": ' for name in canvas.names]
    heads = [f'{{"ph": "X", "pid": {pid}, "tid": {tid}, "ts": ' for pid, tid in ids]
    length = np.maximum(slices.end_ps - slices.start_ps, 1)
    busy = np.minimum(100.0, 100.0 * slices.held_ps / length).round(1)
    starts, ends = whole_ns(slices.start_ps), whole_ns(slices.end_ps)
    columns = (slices.track, slices.name, starts, starts / 1000, (ends - starts) / 1000, slices.count, busy)
    for track, name, ns, start, dur, count, percent in zip(*(column.tolist() for column in columns), strict=True):
        busy_text = f', "busy_percent": {percent}' if percent < 100 else ""
        yield Event(ns, 2, f'{heads[track]}{start}, "dur": {dur}{names[name]}{count}{busy_text}}}}}')


def whole_ns(time_ps: Ints | int) -> Ints:
    """Round to whole ns, the viewer's resolution; the order is kept, so that slices never come to overlap."""
    return np.asarray((time_ps + units.PS_PER_NS // 2) // units.PS_PER_NS)
