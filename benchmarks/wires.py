"""Exact IR drop: time of the effective matrix against a published solver. Exits with 1 when the goal is missed.

Usage: python benchmarks/wires.py
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from imcsim.hardware.wires import Wires, effective_usiemens, ladder_error_frac, ladder_usiemens
from imcsim.util import random_streams

GOALS = (7.0, 1000.0)  # times as fast as badcrossbar on 128 x 128 cells: 64 inputs with set-up; one more input
N_INPUTS = 64


def best_s(action, runs: int) -> float:
    """The least of several times: the machine may be shared."""
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def badcrossbar():
    """The package of that name, or None; what it draws with is not needed."""
    sys.modules.setdefault("cairo", MagicMock())
    try:
        import badcrossbar as package
    except ImportError:
        return None
    logging.disable(logging.INFO)
    return package


def theirs(package, g, v, ohm: float):
    """Output currents in uA."""
    return 1e6 * package.compute(v.T, 1e6 / g, ohm, node_voltages=False, all_currents=False).currents.output


def measure(package, n: int, ohm: float) -> tuple[float, float]:
    """How many times as fast as the package: set-up and all inputs, and one further input; 0 without the package."""
    random, wires, runs = random_streams.rng(0, "wires", n), Wires(ohm, ohm), 1 if n > 128 else 3
    g, v = random.uniform(1, 50, (n, n)), random.random((N_INPUTS, n))
    effective = effective_usiemens(g, wires)
    ours_s = best_s(lambda: v @ effective_usiemens(g, wires), 5)
    input_s = best_s(lambda: v @ effective, 50) / N_INPUTS
    ladder_s = best_s(lambda: ladder_usiemens(g, wires), 5)
    print(f"{n} x {n}: exact {1e3 * ours_s:.1f} ms with {N_INPUTS} inputs, each further one {1e6 * input_s:.2f} us")
    print(f"  ladder {1e3 * ladder_s:.2f} ms, wrong by {ladder_error_frac(g, wires):.2g} of the largest current")
    if package is None:
        return 0.0, 0.0
    theirs_s = best_s(lambda: theirs(package, g, v, ohm), runs)
    one_s = best_s(lambda: theirs(package, g, v[:1], ohm), runs)
    error = np.abs(theirs(package, g, v[:1], ohm) / (v[:1] @ effective) - 1).max()
    print(f"  badcrossbar {1e3 * theirs_s:.0f} ms, {theirs_s / ours_s:.1f} times as long; difference {error:.1e}")
    return theirs_s / ours_s, one_s / input_s


def main() -> int:
    package = badcrossbar()
    ratios = {n: measure(package, n, ohm=1.0) for n in (64, 128, 256)}
    if package is None:
        print("badcrossbar is not installed: nothing to compare with, no goal")
        return 0
    met = []
    for name, value, goal in zip(("with set-up", "a further input"), ratios[128], GOALS, strict=True):
        met.append(value >= goal)
        print(f"128 x 128, {name}: {value:,.1f} times as fast, goal >= {goal:,.0f}  {'met' if met[-1] else 'MISSED'}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
