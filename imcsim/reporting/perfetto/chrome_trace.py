"""Write a run as a Chrome trace for Perfetto or chrome://tracing: who was busy, what waited, power, the flow of data.

Only images that were simulated are drawn; the metadata of the file say so, and what else was left out.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from imcsim.hardware.cost_table import CostTable
from imcsim.reporting.perfetto.arrows import arrows_of, flow_events
from imcsim.reporting.perfetto.busy import draw_phases, draw_resources, draw_waiting, tiles_of_operations
from imcsim.reporting.perfetto.counters import power_events, writing_events
from imcsim.reporting.perfetto.events import ORDER, Event, name_events, slice_events, track_ids
from imcsim.reporting.perfetto.phase import PlacedPhase
from imcsim.reporting.perfetto.tracks import UNITS_SHOWN, Canvas
from imcsim.timing.engine.contract import UNLIMITED
from imcsim.timing.execution import Execution
from imcsim.util.files import new_file
from imcsim.util.version import VERSION

CAP = 200_000  # events of a file
SAMPLES = 2_000  # of a counter over the whole run; fewer where the cap is small


def write_trace(execution: Execution, costs: CostTable, path: Path, cap: int = CAP) -> None:
    """Write the simulated images of a run as gzipped Chrome trace-event JSON of at most ``cap`` events.

    Where there would be more, slices are merged until they fit, and the metadata say how. Raises ImcsimError where the
    file cannot be written, ValueError where ``cap`` leaves no room for one slice per track.
    """
    events, notes = trace_events(execution, costs, cap)
    head = {"displayTimeUnit": "ns", "otherData": _metadata(execution, notes)}
    body = ",\n".join(event.text for event in events)
    text = f'{json.dumps(head)[:-1]}, "traceEvents": [\n{body}\n]}}\n'
    with new_file(path) as partial:
        partial.write_bytes(gzip.compress(text.encode(), compresslevel=4, mtime=0))


def trace_events(execution: Execution, costs: CostTable, cap: int = CAP) -> tuple[list[Event], list[str]]:
    """Return the events in ascending time, at most ``cap`` of them, and notes on what was left out."""
    canvas = Canvas(cap)
    phases = [
        PlacedPhase(*placed) for placed in zip(execution.jobs, execution.results, execution.offsets_ps, strict=True)
    ]
    notes = _notes(execution)
    samples = min(SAMPLES, cap // 20)
    counters = [*power_events(costs, phases, samples), *writing_events(phases, samples)]
    arrows = [arrows_of(phase) for phase in phases]
    n_arrows = sum(map(len, arrows))
    if 2 * n_arrows > cap // 4:
        notes.append(f"{n_arrows} arrows from producers to consumers are left out")
        arrows = [[] for _ in phases]
        n_arrows = 0
    draw_phases(canvas, phases)
    homes = tiles_of_operations(execution)
    for phase in phases:
        draw_resources(canvas, phase, homes)
        draw_waiting(canvas, phase)
    canvas.budget = cap - len(counters) - 2 * n_arrows - 3 * len(canvas.tracks) - len(ORDER)
    slices = canvas.finish()
    notes += [canvas.detail] if canvas.detail else []
    ids = track_ids(canvas)
    flows = list(flow_events(phases, arrows, ids))
    events = [*name_events(canvas, ids), *counters, *slice_events(slices, canvas, ids), *flows]
    return sorted(events), notes


def _metadata(execution: Execution, notes: list[str]) -> dict[str, object]:
    return {
        "imcsim_version": VERSION,
        "workload": execution.workload.name,
        "hardware": execution.hardware.name,
        "scheme": execution.plan.scheme,
        "batch": execution.batch,
        "images_drawn": min((result.n_simulated for result in execution.results), default=0),
        "notes": notes,
    }


def _notes(execution: Execution) -> list[str]:
    notes = []
    simulated = min((result.n_simulated for result in execution.results), default=execution.batch)
    if simulated < execution.batch:
        notes.append(f"{simulated} of {execution.batch} images were simulated and are drawn; the rest repeat them")
    if execution.setup_jobs:
        notes.append("the writes that happen once, before time 0, are not drawn")
    if any(UNITS_SHOWN < resource.capacity < UNLIMITED for job in execution.jobs for resource in job.resources):
        notes.append(f"resources of more than {UNITS_SHOWN} units: units share tracks, and what overlaps is one slice")
    return notes
