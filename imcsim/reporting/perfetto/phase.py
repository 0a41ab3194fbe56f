"""Place one job of a run in time, as everything that draws it asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from imcsim.timing.engine.contract import UNLIMITED, Ints, Job, JobOp, JobResult, Stage

VectorAt = tuple[int, int, int]
"""(operation, stage, vector)."""


@dataclass
class PlacedPhase:
    """Hold a job at its place in time, and where the vectors lie at which arrows begin or end."""

    job: Job
    result: JobResult
    offset_ps: int
    wanted: dict[tuple[int, int], set[int]] = field(default_factory=dict)  # (operation, stage) -> vectors
    drawn_at: dict[VectorAt, tuple[int, int]] = field(default_factory=dict)  # -> (track, ps)

    @property
    def end_ps(self) -> int:
        """Return when the last image is done, ps of the run."""
        return self.offset_ps + self.result.makespan_ps

    def starts(self, op: int, stage: int) -> Ints:
        """Return the grants of one stage, image by image, ps of the run."""
        return np.asarray(self.result.times[op].start_ps[stage].ravel() + self.offset_ps)

    def holds(self, op: int, stage: Stage) -> Ints:
        """Return the times held, in the order of ``starts``."""
        times = self.result.times[op].end_ps
        return np.broadcast_to(np.asarray(stage.hold_ps, np.int64), times.shape).ravel()

    def drawn_stages(self, op: JobOp) -> list[int]:
        """Return the stages of an operation that are drawn: those of limited resources."""
        return [s for s, stage in enumerate(op.stages) if self.job.resources[stage.resource].capacity != UNLIMITED]
