"""Runs of the timing pass alone, for tests that look at what happened and not at its report."""

from __future__ import annotations

from imcsim.experiments.run import plan_for
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.execution import Execution
from imcsim.timing.simulate import simulate


def simulated(request: RunSpec) -> Execution:
    """Plan and simulate what is asked for."""
    return simulate(plan_for(request), request.workload, request.hardware, request.batch, request.engine)
