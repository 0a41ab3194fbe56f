"""Compute what a plan needs when nothing waits for anything else, and name what held a run that took longer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imcsim.timing.engine.contract import Job
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.execution import Execution

CLOSE_FRAC = 0.01  # a run that takes so much longer than its closed form has waited for something else


@dataclass(frozen=True)
class ClosedForm:
    """Hold the closed form of a plan: cycles per inference = ``write_cycles`` / batch + ``image_cycles``."""

    write_cycles: float
    image_cycles: float

    def at(self, batch: float) -> float:
        """Return the cycles per inference of a batch."""
        return self.write_cycles / batch + self.image_cycles


def closed_form_cycles(execution: Execution) -> float:
    """Return cycles per inference where each phase takes what its busiest crossbars, ADCs, drivers or units need."""
    return (
        sum(_busiest_ps(job, execution.batch) for job in execution.jobs)
        / execution.hardware.period_ps
        / execution.batch
    )


def line(execution: Execution) -> ClosedForm | None:
    """Return the closed form as a function of the batch; None where a phase both writes and computes."""
    writes = images = 0.0
    for job in execution.jobs:
        kinds = {op.per_image for op in job.operations if any(_is_work(job, stage.resource) for stage in op.stages)}
        if len(kinds) > 1:
            return None
        if True in kinds:
            images += max(_work_ps(job, 1).values(), default=0.0)
        else:
            writes += _busiest_ps(job, 1)
    return ClosedForm(writes / execution.hardware.period_ps, images / execution.hardware.period_ps)


def _is_work(job: Job, resource: int) -> bool:
    return job.resources[resource].kind.works


def _work_ps(job: Job, batch: int) -> dict[int, float]:
    """Return the time that all units of each place of work need, shared evenly."""
    work: dict[int, float] = defaultdict(float)
    for op in job.operations:
        for stage in op.stages:
            if _is_work(job, stage.resource):
                held = float(np.broadcast_to(stage.hold_ps, op.n_vectors).sum()) * (batch if op.per_image else 1)
                work[stage.resource] += held / job.resources[stage.resource].capacity
    return work


def _busiest_ps(job: Job, batch: int) -> float:
    """Return the time in whole turns: ceil(vectors / units) of the shortest vector, at least the longest vector."""
    turns: list[float] = []
    for op in job.operations:
        n_vectors = op.n_vectors * (batch if op.per_image else 1)
        for stage in op.stages:
            if _is_work(job, stage.resource):
                n_turns = -(-n_vectors // job.resources[stage.resource].capacity)
                turns += [n_turns * float(np.min(stage.hold_ps)), float(np.max(stage.hold_ps))]
    return max([*turns, *_work_ps(job, batch).values()], default=0.0)


def waited_for(summary: Mapping[str, Any], closed_form: float) -> str:
    """Return what held a run that took longer than its closed form."""
    if summary["cycles_per_inference"] <= closed_form * (1 + CLOSE_FRAC):
        return ""
    shares = {kind: share for kind, share in summary["critical_percent_by_kind"].items() if share >= 100 * CLOSE_FRAC}
    others = {kind: share for kind, share in shares.items() if not ResourceKind(kind).works}
    reasons = [f"{share:.0f} % of the time goes to {kind}" for kind, share in others.items()]
    excess = 100 * (1 - closed_form / summary["cycles_per_inference"])
    if sum(others.values()) < excess / 2:
        reasons.append("layers wait for the first results of the layers before them")
    return ", ".join(reasons)
