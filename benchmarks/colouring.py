"""Time slots of every segment of ResNet-18 under exclusive routing; exits with 1 on a missed goal.

Usage: python benchmarks/colouring.py

Synthetic coefficients on a basis of 128 vectors and 16 output lines: both colourings beside the lower bound. Times are
of one thread, by the processor time that it used, with the lower bound and the masks included.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goals import report

from imcsim.experiments.run import plan_for
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.plan import BasisMvm
from imcsim.mapping.schemes.masks import Colouring, Slots, schedule, synthetic
from imcsim.reporting.run_spec import RunSpec
from imcsim.workload.workload import load_workload

GOAL_S: dict[Colouring, float] = {"first_fit": 10.0, "recursive_largest_first": 20.0}
GOAL_SAVED_FRAC = {("analog", 8): 0.07, ("analog", 16): 0.14, ("digital", 8): 0.14, ("digital", 16): 0.13}


def operations(added: str, nonzeros: int) -> list[BasisMvm]:
    options = {"sum": added, "q": nonzeros}
    request = RunSpec(load_workload("resnet18"), load_hardware("rram-256"), "basisn_inferred", options=options)
    return [operation for operation in plan_for(request).operations() if isinstance(operation, BasisMvm)]


def timed(layers: list[BasisMvm], colouring: Colouring) -> tuple[float, list[Slots]]:
    """Processor seconds and the slots of each layer; drawing the coefficients does not count."""
    drawn = [list(synthetic(op.layer, op.basis, op.segments, seed=0)) for op in layers]
    schedule(drawn[0], layers[0].basis, colouring)  # compiles
    begin = time.process_time()
    slots = [schedule(segments, op.basis, colouring) for segments, op in zip(drawn, layers, strict=True)]
    return time.process_time() - begin, slots


def compare(added: str, nonzeros: int) -> bool:
    """Print both colourings; whether all goals were met."""
    layers, case = operations(added, nonzeros), f"{added} sums, q = {nonzeros}"
    is_met, total = [], {}
    for colouring, goal_s in GOAL_S.items():
        seconds, slots = timed(layers, colouring)
        total[colouring] = sum(sum(s.needed) for s in slots)
        is_met.append(report(f"{case}, {colouring}", seconds, "s", goal_s, at_least=False))
    bounds = [bound for s in slots for bound in s.bound]
    print(f"  slots of {len(bounds)} segments: {total}, lower bound {sum(bounds)}")
    saved_frac = 1 - total["recursive_largest_first"] / total["first_fit"]
    return all([*is_met, report(f"{case}, slots saved", saved_frac, "of all", GOAL_SAVED_FRAC[added, nonzeros])])


def main() -> int:
    met = [compare(*case) for case in GOAL_SAVED_FRAC]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
