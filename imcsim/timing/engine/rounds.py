"""Join the results of images that enter group by group, each when the chip is empty again."""

from __future__ import annotations

from dataclasses import replace

from imcsim.timing.engine.contract import JobResult


def repeated(result: JobResult, times: int) -> JobResult:
    """Return the result of running the same images ``times`` times, one group after another."""
    return replace(
        result,
        n_images=result.n_images * times,
        makespan_ps=result.makespan_ps * times,
        busy_ps=result.busy_ps * times,
        queued_ps=result.queued_ps * times,
        starved_ps=result.starved_ps * times,
        blocked_ps=result.blocked_ps * times,
        critical_ps=result.critical_ps * times,
    )


def followed(first: JobResult, second: JobResult) -> JobResult:
    """Return the result of two groups of the same job, one after the other; single times are those of the first."""
    return replace(
        first,
        n_images=first.n_images + second.n_images,
        makespan_ps=first.makespan_ps + second.makespan_ps,
        busy_ps=first.busy_ps + second.busy_ps,
        queued_ps=first.queued_ps + second.queued_ps,
        starved_ps=first.starved_ps + second.starved_ps,
        blocked_ps=first.blocked_ps + second.blocked_ps,
        critical_ps=first.critical_ps + second.critical_ps,
    )
