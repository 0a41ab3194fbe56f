"""Hold what happened in a run: amounts per (layer, component, action), times per operation and resource."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Plan, Program
from imcsim.mapping.write_work import Works, WriteWork, work_of
from imcsim.timing.engine.contract import Job, JobResult
from imcsim.workload.workload import Workload

Amounts = dict[tuple[str, str, str], float]
"""Map (layer, component, action) to an amount."""


@dataclass(frozen=True)
class Execution:
    """Hold the jobs of a plan, one after another, and what the engine saw in each.

    ``offsets_ps``: when each job started. ``setup_*``: the writes that happen once in the device's life, before time 0.
    """

    workload: Workload
    hardware: Hardware
    plan: Plan
    batch: int
    jobs: tuple[Job, ...]
    results: tuple[JobResult, ...]
    spilled: tuple[str, ...]  # layers whose outputs went through DRAM
    setup_jobs: tuple[Job, ...] = ()
    setup_results: tuple[JobResult, ...] = ()
    overfull: tuple[str, ...] = ()  # layers whose line buffers are larger than the buffers, granted all the same
    works: Works = field(default_factory=dict)  # what was found out about writes; the others took what is expected

    def work(self, operation: Program) -> WriteWork:
        """Return what a write took."""
        return work_of(operation, self.works, self.hardware)

    @property
    def batch_work(self) -> list[tuple[Program, WriteWork]]:
        """Return the writes of one batch and what each took."""
        return [(op, self.work(op)) for op in self.plan.operations() if isinstance(op, Program)]

    @property
    def offsets_ps(self) -> tuple[int, ...]:
        """Return when each job started."""
        offsets, now = [], 0
        for result in self.results:
            offsets.append(now)
            now += result.makespan_ps
        return tuple(offsets)

    @property
    def makespan_ps(self) -> int:
        """Return the time of the whole batch, from the start of its first job to the end of its last."""
        return sum(result.makespan_ps for result in self.results)

    @property
    def latency_ps(self) -> int:
        """Return when the first image is done: the phases before the last in full, then the first image of the last."""
        return self.makespan_ps - self.results[-1].makespan_ps + self.results[-1].first_image_ps

    @property
    def interval_ps(self) -> float:
        """Return the time between images: between completions if all stream through one phase, else a batch's share."""
        if len(self.results) == 1 and self.batch > 1:
            return (self.makespan_ps - self.latency_ps) / (self.batch - 1)
        return self.makespan_ps / self.batch

    @property
    def setup_ps(self) -> int:
        """Return the time of the writes before time 0."""
        return sum(result.makespan_ps for result in self.setup_results)

    def amounts(self) -> Amounts:
        """Return the amounts of the whole batch."""
        return _amounts(self.jobs, self.results)

    def setup_amounts(self) -> Amounts:
        """Return the amounts of the writes before time 0."""
        return _amounts(self.setup_jobs, self.setup_results)


def _amounts(jobs: tuple[Job, ...], results: tuple[JobResult, ...]) -> Amounts:
    """Return the recipe amounts times the images that the engine completed."""
    total: Amounts = defaultdict(float)
    for job, result in zip(jobs, results, strict=True):
        for operation in job.operations:
            times = result.n_images if operation.per_image else 1
            for (component, action), amount in operation.actions.items():
                total[operation.layer, component, action] += amount * times
    return dict(total)
