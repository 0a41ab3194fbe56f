"""Rates of the engines on jobs shaped like residual networks, against stated goals. Exits with 1 when one is missed.

Usage: python benchmarks/engine.py
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from goals import report  # noqa: E402

from imcsim.timing import engine  # noqa: E402
from imcsim.timing.engine.capacity import least_capacities  # noqa: E402
from imcsim.timing.engine.contract import Job  # noqa: E402
from tests.support.jobs import resnet_like  # noqa: E402

GOAL_TASKS_PER_S = 3e6  # of the fast engine, totals and critical path included
GOAL_RATIO = 20.0  # fast to readable engine on the same job
GOAL_CAPACITY_S = 0.05  # least_capacities


def tasks_per_s(job: Job, n_images: int, name: str, runs: int) -> float:
    """Median of several runs, after one that compiles and warms up."""
    result = engine.run(job, 1, name, extrapolate=False)
    n_tasks = n_images * sum(times.start_ps.size for times in result.times)
    return n_tasks / median_s(lambda: engine.run(job, n_images, name, extrapolate=False), runs)


def median_s(action, runs: int) -> float:
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> int:
    jobs = {"residual network, 112 x 112": (resnet_like(112), 4), "residual network, 32 x 32": (resnet_like(32), 4)}
    met = []
    for name, (job, n_images) in jobs.items():
        fast = tasks_per_s(job, n_images, "fast", 7)
        readable = tasks_per_s(job, 1, "simpy", 3)
        print(f"{name}: {len(job.operations)} operations, simpy {readable:,.0f} tasks/s")
        met.append(report("  fast engine", fast, "tasks/s", GOAL_TASKS_PER_S))
        met.append(report("  fast / simpy", fast / readable, "", GOAL_RATIO))
        seconds = median_s(lambda job=job: least_capacities(job.operations), 7)
        met.append(report("  least capacities", seconds, "s", GOAL_CAPACITY_S, at_least=False))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
