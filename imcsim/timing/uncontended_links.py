"""Drop links that carry one flow only: they never make it wait, so they need no events.

A flow leaves its router port one vector per ``hold_ps``. A link on its way that nobody else uses, held as long, is free
again whenever the next vector's head comes; all it does is to pass the head on after its latency. Dropping it and
adding its latency to the step before changes no time of any other step, save for two: the first step of all, whose
latency says when inputs are let go, and steps without latency, which end in the same instant but in another round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imcsim.timing.engine.contract import Job, JobOp, Resource, Stage
from imcsim.timing.engine.resource_kind import ResourceKind


def without_private_links(name: str, resources: Sequence[Resource], operations: Sequence[JobOp]) -> Job:
    """Return the job without the links that only one operation uses; each flow keeps its first link or two."""
    users = Counter(index for op in operations for index in {stage.resource for stage in op.stages})
    private = {i for i, resource in enumerate(resources) if resource.kind == ResourceKind.LINK and users[i] == 1}
    kept = [replace(op, stages=_shortened(op.stages, resources, private)) for op in operations]
    used = sorted({stage.resource for op in kept for stage in op.stages})
    number = {old: new for new, old in enumerate(used)}
    renumbered = [
        replace(op, stages=tuple(replace(stage, resource=number[stage.resource]) for stage in op.stages)) for op in kept
    ]
    return Job(name, tuple(resources[i] for i in used), tuple(renumbered))


def _shortened(stages: tuple[Stage, ...], resources: Sequence[Resource], private: set[int]) -> tuple[Stage, ...]:
    result: list[Stage] = []
    for stage in stages:
        follows_link = len(result) > 1 and resources[result[-1].resource].kind == ResourceKind.LINK
        if stage.resource in private and follows_link and np.min(stage.latency_ps) > 0:
            before = result.pop()
            result.append(replace(before, latency_ps=before.latency_ps + stage.latency_ps))
        else:
            result.append(stage)
    return tuple(result)
