"""Draw power, and how many crossbars are being written, as levels over time."""

from __future__ import annotations

import numpy as np

from imcsim.hardware.cost_table import CostTable
from imcsim.reporting.perfetto.events import Event, counter_events, whole_ns
from imcsim.reporting.perfetto.phase import PlacedPhase
from imcsim.reporting.perfetto.tracks import Floats, done_frac, thinned
from imcsim.reporting.tables import main_stage
from imcsim.timing.engine.contract import Ints
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.util import units


def power_events(costs: CostTable, phases: list[PlacedPhase], samples: int) -> list[Event]:
    """Return dynamic power in W: an operation's energy, spread evenly over the time in which its main stage is held."""
    edges_ns = _sample_edges(phases, samples)
    energy_pj = np.zeros(len(edges_ns))
    for phase in phases:
        low, high = np.searchsorted(edges_ns, [whole_ns(phase.offset_ps), whole_ns(phase.end_ps)])
        window = slice(int(low), int(high) + 1)
        for i, op in enumerate(phase.job.operations):
            images = phase.result.n_simulated if op.per_image else 1
            total = images * sum(n * costs.price_pj(*key) for key, n in op.actions.items())
            if total:
                energy_pj[window] += total * _done_frac(phase, i, edges_ns[window] * units.PS_PER_NS)
                energy_pj[window.stop :] += total
    power_w = np.maximum(np.diff(energy_pj), 0.0) / (np.diff(edges_ns) * units.PS_PER_NS)
    return counter_events("power", "W", edges_ns, np.append(power_w, 0.0))


def _sample_edges(phases: list[PlacedPhase], samples: int) -> Ints:
    """Return whole ns at which the power changes: evenly over each phase, all its operations within."""
    per_phase = max(8, samples // max(1, len(phases)))
    edges = [np.linspace(p.offset_ps, p.end_ps, per_phase + 1) for p in phases]
    return np.unique(whole_ns(np.concatenate([np.zeros(1), *edges]).astype(np.int64)))


def _done_frac(phase: PlacedPhase, index: int, times_ps: Ints) -> Floats:
    """Return the part of an operation's work that is done by each of the times.

    Work goes on while vectors hold the main stage; where that takes no time, from first grant to last completion.
    """
    op = phase.job.operations[index]
    main = next(s for s, stage in enumerate(op.stages) if stage is main_stage(phase.job, op))
    start = phase.starts(index, main)
    end = start + phase.holds(index, op.stages[main])
    if not (end > start).any():
        last = int(phase.result.times[index].end_ps.max()) + phase.offset_ps
        start, end = start.min(keepdims=True), np.array([max(last, int(start.min()) + 1)])
    return done_frac(start, end, times_ps)


def writing_events(phases: list[PlacedPhase], samples: int) -> list[Event]:
    """Return at each time how many crossbars are being written."""
    times, steps = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    for phase in phases:
        for i, op in enumerate(phase.job.operations):
            for s, stage in enumerate(op.stages):
                if phase.job.resources[stage.resource].kind == ResourceKind.WRITE:
                    start = phase.starts(i, s)
                    times += [start, start + phase.holds(i, stage)]
                    steps += [np.ones(len(start), np.int64), -np.ones(len(start), np.int64)]
    when, where = np.unique(whole_ns(np.concatenate(times)), return_inverse=True)
    level: Floats = np.cumsum(np.bincount(where, weights=np.concatenate(steps)).astype(np.float64))
    return counter_events("crossbars being written", "crossbars", *thinned(when, level, samples))
