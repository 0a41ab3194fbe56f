"""A small run whose every number can be worked by hand: one layer, written once per batch, two images.

Clock 10 ns. Two copies of the layer are written in 100 ns. Then four vectors (two per image) pass the bus (10 ns each)
and the crossbars (held 40 ns, out after 50): bus at 0, 10, 20, 30 ns, crossbars at 10, 50, 90, 130, done at 60, 100,
140, 180.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import load_hardware
from imcsim.hardware.price_row import PriceRow
from imcsim.mapping.plan import Mvm, Phase, Plan, Program, Region
from imcsim.mapping.tiling import cut
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.engine.contract import Job, JobOp, JobResult, OpTimes, Resource, Stage
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.execution import Execution
from imcsim.workload.layers import Input, Linear
from imcsim.workload.workload import Workload

NS = 1000
HARDWARE = load_hardware("rram-256", write="ideal_single")
IMAGE = Input(name="image", inputs=(), output_shape=(4, 2))
LAYER = Linear(name="a", inputs=("image",), output_shape=(8, 2), in_channels=4)
WORKLOAD = Workload(name="hand", description="", source="made for tests", layers=(IMAGE, LAYER))


def costs(convert_pj: float = 2.0) -> CostTable:
    """A conversion 2 pJ, a written cell 3 pJ; 1000 uW of leakage and 15 um2 in all."""
    parts = {
        "adc": part("chip", 10, 400, {"convert": convert_pj}, "one"),
        "cell": part("crossbar", 2.5, 300, {"write": 3.0}, "two"),
    }
    return CostTable("hand", parts, {"chip": 1, "crossbar": 2})


def part(per: Any, area_um2: float, leakage_uw: float, actions_pj: dict[str, float], source: str) -> PriceRow:
    return PriceRow(per=per, area_um2=area_um2, peak_uw=0, leakage_uw=leakage_uw, actions_pj=actions_pj, source=source)


def ints(values: object) -> np.ndarray:
    return np.array(values, np.int64) * NS


def writing() -> tuple[Job, JobResult]:
    job = Job(
        "write a",
        (Resource("write", ResourceKind.WRITE, 2),),
        (
            JobOp(
                "write a", "a", 2, (Stage(0, 100 * NS, 100 * NS),), per_image=False, actions={("cell", "write"): 64.0}
            ),
        ),
    )
    times = OpTimes(ints([[[0, 0]]]), ints([[100, 100]]))
    none = ints([0])
    result = JobResult(2, 2, 100 * NS, 100 * NS, (times,), ints([200]), ints([[0]]), none, none, ints([[100]]))
    return job, result


def computing() -> tuple[Job, JobResult]:
    resources = (
        Resource("bus[0]", ResourceKind.BUS, 1),
        Resource("crossbars[a]", ResourceKind.CROSSBAR, 1),
        Resource("adc[0]", ResourceKind.ADC, 1),
    )
    stages = (Stage(0, 10 * NS, 10 * NS), Stage(1, 40 * NS, 50 * NS))
    job = Job("a", resources, (JobOp("a", "a", 2, stages, actions={("adc", "convert"): 100.0}),))
    times = OpTimes(ints([[[0, 10], [20, 30]], [[10, 50], [90, 130]]]), ints([[60, 100], [140, 180]]))
    result = JobResult(2, 2, 180 * NS, 100 * NS, (times,), ints([40, 160, 0]), ints([[60, 180]]), ints([0]), ints([0]),
                       ints([[10, 170]]))  # fmt: skip
    return job, result


def trace() -> Execution:
    grid = cut(LAYER, HARDWARE)
    write = Program("write a", "a", grid, Region(3, 1, 2), 8)
    phases = (Phase("write a", (write,)), Phase("a", (Mvm("a", LAYER, grid, Region(3, 1, 1)),)))
    plan = Plan("hand", phases, 1, 2, setup=(Program("basis", "basis", grid, Region(0, 1), 8),), notes=("by hand",),
                assumed=("nothing",), facts={"slots": np.int64(3)})  # fmt: skip
    jobs, results = zip(writing(), computing(), strict=True)
    once = Job(
        "setup",
        (Resource("write", ResourceKind.WRITE, 2),),
        (
            JobOp(
                "basis", "basis", 1, (Stage(0, 50 * NS, 50 * NS),), per_image=False, actions={("cell", "write"): 10.0}
            ),
        ),
    )
    times, none = OpTimes(ints([[[0]]]), ints([[50]])), ints([0])
    done = JobResult(1, 1, 50 * NS, 50 * NS, (times,), ints([50]), ints([[0]]), none, none, ints([[50]]))
    return Execution(WORKLOAD, HARDWARE, plan, 2, jobs, results, ("image",), (once,), (done,))


def request() -> RunSpec:
    return RunSpec(WORKLOAD, HARDWARE, "reprogram", 2)
