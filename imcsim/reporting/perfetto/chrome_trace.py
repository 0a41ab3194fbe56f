"""A run as a Chrome trace for Perfetto or chrome://tracing: who was busy, what waited, power, and the flow of data.

Only images that were simulated are drawn; the metadata of the file say so, and what else was left out.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imcsim.hardware.cost_table import CostTable
from imcsim.mapping.floorplan import lanes
from imcsim.reporting.perfetto.tracks import UNITS_SHOWN, Canvas, Floats, Slices, done_frac, thinned, units_of
from imcsim.reporting.tables import main_stage
from imcsim.timing.engine.contract import UNLIMITED, Ints, Job, JobOp, JobResult, Stage
from imcsim.timing.execution import Execution
from imcsim.util import units
from imcsim.util.files import new_file
from imcsim.util.version import VERSION

CAP = 200_000  # events of a file
SAMPLES = 2_000  # of a counter over the whole run; fewer where the cap is small
_ORDER = ("phases", "counters", "write", "tile", "crossbar", "adc", "bus", "digital", "link", "dram", "waiting")


class Event(NamedTuple):
    """One event as JSON text, and where it sorts: ``ts_ns``, then ``rank``."""

    ts_ns: int
    rank: int
    text: str


@dataclass
class _Phase:
    """A job at its place in time, and where the vectors lie at which arrows begin or end."""

    job: Job
    result: JobResult
    offset_ps: int
    wanted: dict[tuple[int, int], set[int]] = field(default_factory=dict)  # (operation, stage) -> vectors
    found: dict[tuple[int, int, int], tuple[int, int]] = field(default_factory=dict)  # -> (track, ps)

    def starts(self, op: int, stage: int) -> Ints:
        """Grants of one stage, image by image, ps of the run."""
        return np.asarray(self.result.times[op].start_ps[stage].ravel() + self.offset_ps)

    def holds(self, op: int, stage: Stage) -> Ints:
        """Times held, in the order of ``starts``."""
        times = self.result.times[op].end_ps
        return np.broadcast_to(np.asarray(stage.hold_ps, np.int64), times.shape).ravel()

    def limited(self, op: JobOp) -> list[int]:
        """The stages of an operation that are drawn."""
        return [s for s, stage in enumerate(op.stages) if self.job.resources[stage.resource].capacity != UNLIMITED]


def write_trace(trace: Execution, costs: CostTable, path: Path, cap: int = CAP) -> None:
    """Write the simulated images of a run as gzipped Chrome trace-event JSON of at most ``cap`` events.

    Where there would be more, slices are merged until they fit, and the metadata say how. Raises ImcsimError where the
    file cannot be written, ValueError where ``cap`` leaves no room for one slice per track.
    """
    events, notes = trace_events(trace, costs, cap)
    head = {"displayTimeUnit": "ns", "otherData": _metadata(trace, notes)}
    body = ",\n".join(event.text for event in events)
    text = f'{json.dumps(head)[:-1]}, "traceEvents": [\n{body}\n]}}\n'
    with new_file(path) as partial:
        partial.write_bytes(gzip.compress(text.encode(), compresslevel=4, mtime=0))


def trace_events(trace: Execution, costs: CostTable, cap: int = CAP) -> tuple[list[Event], list[str]]:
    """The events in ascending time, at most ``cap`` of them, and notes on what was left out."""
    canvas = Canvas(cap)
    phases = [_Phase(*each) for each in zip(trace.jobs, trace.results, trace.offsets_ps, strict=True)]
    notes = _notes(trace)
    samples = min(SAMPLES, cap // 20)
    counters = [*_power_events(costs, phases, samples), *_writing_events(phases, samples)]
    arrows = [_arrows(phase) for phase in phases]
    n_arrows = sum(map(len, arrows))
    if 2 * n_arrows > cap // 4:
        notes.append(f"{n_arrows} arrows from producers to consumers are left out")
        arrows = [[] for _ in phases]
        n_arrows = 0
    _draw_phases(canvas, phases)
    homes = _homes(trace)
    for phase in phases:
        _draw_resources(canvas, phase, homes)
        _draw_waiting(canvas, phase)
    canvas.budget = cap - len(counters) - 2 * n_arrows - 3 * len(canvas.tracks) - len(_ORDER)
    slices = canvas.finish()
    notes += [canvas.detail] if canvas.detail else []
    ids = _ids(canvas)
    flows = list(_flow_events(phases, arrows, ids))
    events = [*_name_events(canvas, ids), *counters, *_slice_events(slices, canvas, ids), *flows]
    return sorted(events), notes


# -- tracks ------------------------------------------------------------------------------------------------------------


def _draw_phases(canvas: Canvas, phases: list[_Phase]) -> None:
    """Which phase of the plan runs, and where images follow that are not drawn."""
    track = canvas.track("phases", "phase")
    for phase in phases:
        drawn_ps = max((int(times.end_ps.max()) for times in phase.result.times), default=0)
        edges = np.array([phase.offset_ps, phase.offset_ps + drawn_ps, phase.offset_ps + phase.result.makespan_ps])
        canvas.add(Slices.of(track, canvas.name(phase.job.name), edges[:1], edges[1:2]))
        if phase.result.n_simulated < phase.result.n_images:
            rest = f"{phase.result.n_images - phase.result.n_simulated} more images, not drawn"
            canvas.add(Slices.of(track, canvas.name(rest), edges[1:2], edges[2:]))


def _homes(trace: Execution) -> dict[str, str]:
    """The tiles on which each operation of the plan works, by its name."""
    regions = {op.name: op.region for op in trace.plan.operations()}
    return {name: lanes(region, trace.hardware).key for name, region in regions.items()}


def _draw_resources(canvas: Canvas, phase: _Phase, homes: dict[str, str]) -> None:
    """One track per unit of each limited resource, with the operations that hold it."""
    users: dict[int, list[tuple[int, int]]] = {}
    for i, op in enumerate(phase.job.operations):
        for s in phase.limited(op):
            users.setdefault(op.stages[s].resource, []).append((i, s))
    for resource, uses in users.items():
        _draw_resource(canvas, phase, resource, uses, homes)


def _draw_resource(
    canvas: Canvas, phase: _Phase, index: int, uses: list[tuple[int, int]], homes: dict[str, str]
) -> None:
    resource, ops = phase.job.resources[index], phase.job.operations
    starts = [phase.starts(i, s) for i, s in uses]
    sizes = [len(start) for start in starts]
    name = np.repeat([canvas.name(ops[i].name) for i, _ in uses], sizes)
    start = np.concatenate(starts)
    end = start + np.concatenate([phase.holds(i, ops[i].stages[s]) for i, s in uses])
    order = np.argsort(start, kind="stable")
    unit = units_of(start[order], end[order], resource.capacity) % UNITS_SHOWN
    process = _process(resource.name, resource.kind, homes.get(ops[uses[0][0]].name))
    label = "{}" if resource.capacity == 1 else "{} #{}"
    numbers = np.array([canvas.track(process, label.format(resource.name, u)) for u in range(int(unit.max()) + 1)])
    track = np.empty_like(unit)
    track[order] = numbers[unit]
    for (i, s), first in zip(uses, np.cumsum([0, *sizes[:-1]]), strict=True):
        for vector in phase.wanted.get((i, s), ()):
            phase.found[i, s, vector] = (int(track[first + vector]), int(start[first + vector]))
    canvas.add(Slices.of(track, name, start, end))


def _process(name: str, kind: str, home: str | None) -> str:
    """Tracks of tiles stand together, others by kind."""
    key = home if kind in ("crossbar", "adc") else name.partition("[")[2].rstrip("]")
    on_tile = kind in ("crossbar", "adc", "bus", "digital") and key
    return f"tile {key}" if on_tile else kind


def _draw_waiting(canvas: Canvas, phase: _Phase) -> None:
    """Per operation: when its next vector waited for inputs or for room, and when vectors waited for a resource."""
    from imcsim.timing.engine.accounts import EngineRun, logs_of, per_run
    from imcsim.timing.engine.flat import TaskNumbering

    layout = TaskNumbering.of(phase.job, phase.result.n_simulated)
    grants = np.concatenate([times.start_ps.ravel() for times in phase.result.times])
    logs = logs_of(EngineRun(phase.job, layout, grants, np.zeros(0, np.int32)))
    for op, log in zip(phase.job.operations, logs, strict=True):
        before = np.concatenate([[0], log.admitted[:-1]])
        has_inputs = np.maximum(before, log.ready)
        waits = [("inputs", before, has_inputs), ("room", has_inputs, log.admitted)]
        _draw_waits(canvas, phase, ("waiting for inputs or room", op.name), waits)
        request, queued = log.admitted, []
        for stage, start in zip(op.stages, log.starts, strict=True):
            queued.append((phase.job.resources[stage.resource].name, request, start))
            request = start + per_run(stage.latency_ps, op, layout.n_images)
        _draw_waits(canvas, phase, ("waiting for a resource", op.name), queued)


def _draw_waits(canvas: Canvas, phase: _Phase, place: tuple[str, str], waits: list[tuple[str, Ints, Ints]]) -> None:
    """Intervals that are not empty, on one track."""
    real = [(name, begin[end > begin], end[end > begin]) for name, begin, end in waits]
    real = [(name, begin, end) for name, begin, end in real if len(begin)]
    if real:
        track = canvas.track(*place)
        parts = [Slices.of(track, canvas.name(n), b + phase.offset_ps, e + phase.offset_ps) for n, b, e in real]
        canvas.add(Slices.joined(parts))


# -- counters ----------------------------------------------------------------------------------------------------------


def _power_events(costs: CostTable, phases: list[_Phase], samples: int) -> list[Event]:
    """Dynamic power in W: the energy of each operation, spread evenly over the time in which its main stage is held."""
    edges_ns = _sample_edges(phases, samples)
    energy_pj = np.zeros(len(edges_ns))
    for phase in phases:
        low, high = np.searchsorted(edges_ns, [_ns(phase.offset_ps), _ns(phase.offset_ps + phase.result.makespan_ps)])
        window = slice(int(low), int(high) + 1)
        for i, op in enumerate(phase.job.operations):
            images = phase.result.n_simulated if op.per_image else 1
            total = images * sum(n * costs.price_pj(*key) for key, n in op.actions.items())
            if total:
                energy_pj[window] += total * _done_frac(phase, i, edges_ns[window] * units.PS_PER_NS)
                energy_pj[window.stop :] += total
    power_w = np.maximum(np.diff(energy_pj), 0.0) / (np.diff(edges_ns) * units.PS_PER_NS)
    return _counter("power", "W", edges_ns, np.append(power_w, 0.0))


def _sample_edges(phases: list[_Phase], samples: int) -> Ints:
    """Whole ns at which the power changes: evenly over each phase, all its operations within."""
    per_phase = max(8, samples // max(1, len(phases)))
    edges = [np.linspace(p.offset_ps, p.offset_ps + p.result.makespan_ps, per_phase + 1) for p in phases]
    return np.unique(_ns(np.concatenate([np.zeros(1), *edges]).astype(np.int64)))


def _done_frac(phase: _Phase, index: int, times_ps: Ints) -> Floats:
    """The part of an operation's work that is done by each of the times.

    Work goes on while vectors hold the main stage; where that takes no time, from first grant to last completion.
    """
    op = phase.job.operations[index]
    stage = next(s for s, each in enumerate(op.stages) if each is main_stage(phase.job, op))
    start = phase.starts(index, stage)
    end = start + phase.holds(index, op.stages[stage])
    if not (end > start).any():
        last = int(phase.result.times[index].end_ps.max()) + phase.offset_ps
        start, end = start.min(keepdims=True), np.array([max(last, int(start.min()) + 1)])
    return done_frac(start, end, times_ps)


def _writing_events(phases: list[_Phase], samples: int) -> list[Event]:
    """Crossbars that are being written."""
    times, steps = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    for phase in phases:
        for i, op in enumerate(phase.job.operations):
            for s, stage in enumerate(op.stages):
                if phase.job.resources[stage.resource].kind == "write":
                    start = phase.starts(i, s)
                    times += [start, start + phase.holds(i, stage)]
                    steps += [np.ones(len(start), np.int64), -np.ones(len(start), np.int64)]
    when, where = np.unique(_ns(np.concatenate(times)), return_inverse=True)
    level: Floats = np.cumsum(np.bincount(where, weights=np.concatenate(steps)).astype(np.float64))
    return _counter("crossbars being written", "crossbars", *thinned(when, level, samples))


def _counter(name: str, unit: str, when_ns: Ints, level: Floats) -> list[Event]:
    """Events where the level changes."""
    changes = np.flatnonzero(np.diff(level, prepend=np.nan) != 0)
    head = f'{{"ph": "C", "pid": {_ORDER.index("counters")}, "tid": 0, "name": {json.dumps(name)}, "ts": '
    return [
        Event(t, 1, f'{head}{t / 1000}, "args": {{"{unit}": {value!r}}}}}')
        for t, value in zip(when_ns[changes].tolist(), level[changes].tolist(), strict=True)
    ]


# -- arrows ------------------------------------------------------------------------------------------------------------

Arrow = tuple[tuple[int, int, int], tuple[int, int, int]]
"""From and to: (operation, stage, vector)."""


def _arrows(phase: _Phase) -> list[Arrow]:
    """From the first vector of each producer to the first vector that needs it, past operations that are not drawn."""
    result: list[Arrow] = []
    for i, op in enumerate(phase.job.operations):
        drawn = phase.limited(op)
        for edge in op.edges if drawn else ():
            vector = int(np.searchsorted(edge.needs, 1))
            for producer in _drawn_producers(phase, edge.producer) if vector < op.n_vectors else ():
                last = phase.limited(phase.job.operations[producer])[-1]
                result.append(((producer, last, 0), (i, drawn[0], vector)))
    for op_index, stage, vector in (end for arrow in result for end in arrow):
        phase.wanted.setdefault((op_index, stage), set()).add(vector)
    return result


def _drawn_producers(phase: _Phase, index: int) -> set[int]:
    op = phase.job.operations[index]
    if phase.limited(op):
        return {index}
    return {found for edge in op.edges for found in _drawn_producers(phase, edge.producer)}


def _flow_events(phases: list[_Phase], arrows: list[list[Arrow]], ids: list[tuple[int, int]]) -> Iterator[Event]:
    number = 0
    for phase, ends in zip(phases, arrows, strict=True):
        for source, target in ends:
            number += 1
            for kind, (track, ps), extra in (("s", phase.found[source], ""), ("f", phase.found[target], ', "bp": "e"')):
                (pid, tid), ns = ids[track], int(_ns(ps))
                where = f'"pid": {pid}, "tid": {tid}, "ts": {ns / 1000}'
                text = f'{{"ph": "{kind}", "id": {number}, {where}, "name": "data", "cat": "flow"{extra}}}'
                yield Event(ns, 3 if kind == "s" else 4, text)


# -- text --------------------------------------------------------------------------------------------------------------


def _ids(canvas: Canvas) -> list[tuple[int, int]]:
    """(pid, tid) of each track; processes in the order in which a reader looks for them."""
    processes = list(dict.fromkeys(process for process, _ in canvas.tracks))
    places = {kind: place for place, kind in enumerate(_ORDER)}
    processes.sort(key=lambda process: places.get(process.split()[0], len(_ORDER)))
    pids = {process: number + len(_ORDER) for number, process in enumerate(processes)}
    return [(pids[process], tid) for tid, (process, _) in enumerate(canvas.tracks, 1)]


def _name_events(canvas: Canvas, ids: list[tuple[int, int]]) -> Iterator[Event]:
    """Names of processes and threads, and the order of processes."""
    named = {_ORDER.index("counters"): "counters"}
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


def _slice_events(slices: Slices, canvas: Canvas, ids: list[tuple[int, int]]) -> Iterator[Event]:
    """Complete events; ``busy_percent`` where a slice spans gaps."""
    names = [f', "name": {json.dumps(name)}, "args": {{"vectors": ' for name in canvas.names]
    heads = [f'{{"ph": "X", "pid": {pid}, "tid": {tid}, "ts": ' for pid, tid in ids]
    length = np.maximum(slices.end_ps - slices.start_ps, 1)
    busy = np.minimum(100.0, 100.0 * slices.held_ps / length).round(1)
    starts, ends = _ns(slices.start_ps), _ns(slices.end_ps)
    columns = (slices.track, slices.name, starts, starts / 1000, (ends - starts) / 1000, slices.count, busy)
    for track, name, ns, start, dur, count, percent in zip(*(column.tolist() for column in columns), strict=True):
        busy_text = f', "busy_percent": {percent}' if percent < 100 else ""
        yield Event(ns, 2, f'{heads[track]}{start}, "dur": {dur}{names[name]}{count}{busy_text}}}}}')


def _ns(time_ps: Ints | int) -> Ints:
    """Whole ns, the viewer's resolution; rounding keeps the order, so that slices never come to overlap."""
    return np.asarray((time_ps + units.PS_PER_NS // 2) // units.PS_PER_NS)


def _metadata(trace: Execution, notes: list[str]) -> dict[str, object]:
    return {
        "imcsim_version": VERSION,
        "workload": trace.workload.name,
        "hardware": trace.hardware.name,
        "scheme": trace.plan.scheme,
        "batch": trace.batch,
        "images_drawn": min((result.n_simulated for result in trace.results), default=0),
        "notes": notes,
    }


def _notes(trace: Execution) -> list[str]:
    notes = []
    simulated = min((result.n_simulated for result in trace.results), default=trace.batch)
    if simulated < trace.batch:
        notes.append(f"{simulated} of {trace.batch} images were simulated and are drawn; the rest repeat them")
    if trace.setup_jobs:
        notes.append("the writes that happen once, before time 0, are not drawn")
    if any(UNITS_SHOWN < resource.capacity < UNLIMITED for job in trace.jobs for resource in job.resources):
        notes.append(f"resources of more than {UNITS_SHOWN} units: units share tracks, and what overlaps is one slice")
    return notes
