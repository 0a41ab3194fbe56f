"""Draw who was busy and what waited as slices on tracks."""

from __future__ import annotations

import numpy as np

from imcsim.mapping.floorplan import lanes
from imcsim.reporting.perfetto.phase import PlacedPhase
from imcsim.reporting.perfetto.tracks import UNITS_SHOWN, Canvas, Slices, units_of
from imcsim.timing.engine.contract import Ints
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.execution import Execution

Wait = tuple[str, Ints, Ints]
"""What was waited for, and from when to when."""

OF_GROUPS = (ResourceKind.CROSSBAR, ResourceKind.ADC)  # they lie where the operation does that uses them


def draw_phases(canvas: Canvas, phases: list[PlacedPhase]) -> None:
    """Draw which phase of the plan runs, and where images follow that are not drawn."""
    track = canvas.track("phases", "phase")
    for phase in phases:
        drawn_ps = max((int(times.end_ps.max()) for times in phase.result.times), default=0)
        edges = np.array([phase.offset_ps, phase.offset_ps + drawn_ps, phase.end_ps])
        canvas.add(Slices.of(track, canvas.name(phase.job.name), edges[:1], edges[1:2]))
        if phase.result.n_simulated < phase.result.n_images:
            omitted = f"{phase.result.n_images - phase.result.n_simulated} more images, not drawn"
            canvas.add(Slices.of(track, canvas.name(omitted), edges[1:2], edges[2:]))


def tiles_of_operations(execution: Execution) -> dict[str, str]:
    """Return the tiles on which each operation of the plan works, by its name."""
    regions = {op.name: op.region for op in execution.plan.operations()}
    return {name: lanes(region, execution.hardware).key for name, region in regions.items()}


def draw_resources(canvas: Canvas, phase: PlacedPhase, homes: dict[str, str]) -> None:
    """Draw one track per unit of each limited resource, with the operations that hold it."""
    users: dict[int, list[tuple[int, int]]] = {}
    for i, op in enumerate(phase.job.operations):
        for s in phase.drawn_stages(op):
            users.setdefault(op.stages[s].resource, []).append((i, s))
    for resource, uses in users.items():
        _draw_resource(canvas, phase, resource, uses, homes)


def _draw_resource(
    canvas: Canvas, phase: PlacedPhase, index: int, uses: list[tuple[int, int]], homes: dict[str, str]
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
            phase.drawn_at[i, s, vector] = (int(track[first + vector]), int(start[first + vector]))
    canvas.add(Slices.of(track, name, start, end))


def _process(name: str, kind: ResourceKind, home: str | None) -> str:
    """Put tracks of tiles together, others by kind."""
    key = home if kind in OF_GROUPS else name.partition("[")[2].rstrip("]")
    on_tile = kind in (*OF_GROUPS, ResourceKind.BUS, ResourceKind.DIGITAL) and key
    return f"tile {key}" if on_tile else kind


def draw_waiting(canvas: Canvas, phase: PlacedPhase) -> None:
    """Draw per operation when its next vector waited for inputs or for room, and when vectors waited for a resource."""
    from imcsim.timing.engine.accounts import EngineRun, logs_of, per_run
    from imcsim.timing.engine.flat import TaskNumbering

    numbering = TaskNumbering.of(phase.job, phase.result.n_simulated)
    grants = np.concatenate([times.start_ps.ravel() for times in phase.result.times])
    logs = logs_of(EngineRun(phase.job, numbering, grants, np.zeros(0, np.int32)))
    for op, log in zip(phase.job.operations, logs, strict=True):
        before = np.concatenate([[0], log.admitted[:-1]])
        has_inputs = np.maximum(before, log.ready)
        waits = [("inputs", before, has_inputs), ("room", has_inputs, log.admitted)]
        _draw_waits(canvas, phase, ("waiting for inputs or room", op.name), waits)
        request, queued = log.admitted, []
        for stage, start in zip(op.stages, log.starts, strict=True):
            queued.append((phase.job.resources[stage.resource].name, request, start))
            request = start + per_run(stage.latency_ps, op, numbering.n_images)
        _draw_waits(canvas, phase, ("waiting for a resource", op.name), queued)


def _draw_waits(canvas: Canvas, phase: PlacedPhase, place: tuple[str, str], waits: list[Wait]) -> None:
    """Draw intervals that are not empty, on one track."""
    real = [(name, begin[end > begin], end[end > begin]) for name, begin, end in waits]
    real = [(name, begin, end) for name, begin, end in real if len(begin)]
    if real:
        track = canvas.track(*place)
        parts = [Slices.of(track, canvas.name(n), b + phase.offset_ps, e + phase.offset_ps) for n, b, e in real]
        canvas.add(Slices.joined(parts))
