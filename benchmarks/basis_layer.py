"""A layer on a basis against the same layer on weights of its own, both with values; exits with 1 on a missed goal.

Usage: python benchmarks/basis_layer.py

128 -> 128 channels, 3x3, 28x28: 784 vectors of 1,152 inputs. The basis has 128 vectors of 128 elements, 8 coefficients
of 4 bits for each kernel segment; 128x128 cells of 2 bits with noise, 8-bit converters. Processor time, 1 thread; the
crossbars were read before, so that only the multiplication counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["NUMBA_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from goals import report

from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.chip import write_chip
from imcsim.functional.layout import layout
from imcsim.functional.reading import Reading
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.basis.fit import FitOptions, fit
from imcsim.mapping.schemes import load_scheme
from imcsim.workload.quantised import IntegerLayer
from imcsim.workload.quantised.layers import Format, Sliding
from tests.support.networks import one_conv

GOAL = 2.0
SCHEMES = ("basis_broadcast", "basisn_inferred")
REPEATS = 3
CHANNELS, ROWS, POSITIONS = 128, 1152, 784


def conv() -> IntegerLayer:
    weights = np.random.default_rng(0).normal(0, 30, (CHANNELS, ROWS)).round().clip(-127, 127).astype(np.int64)
    format_ = Format(0.02, 0, np.dtype(np.uint8))
    window = Sliding((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    zeros = np.zeros(CHANNELS, np.int64)
    return IntegerLayer("conv", weights, zeros, 1, format_, np.ones(CHANNELS, np.float32), None, sliding=window)


def layer_s(layer: IntegerLayer, scheme: str, options: dict[str, Any]) -> float:
    """Least processor time of a few multiplications."""
    hardware = load_hardware("rram-256")
    plan = load_scheme(scheme, options).plan(one_conv(), hardware, 1, 0)
    places, device = layout(plan, [layer], hardware), hardware.cell.device
    cells = write_chip(plan, places.contents, hardware, device, 0).cells
    arrays = AnalogArrays(places, cells, Reading(hardware, device, age_s=device.earliest_s))
    x = np.random.default_rng(1).integers(0, 256, (1, POSITIONS, 1, ROWS)) * (np.arange(ROWS) % 2)  # half are 0
    arrays(layer, x)
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        arrays(layer, x)
        times.append(time.process_time() - begin)
    return min(times)


def main() -> int:
    layer = conv()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "basis.safetensors"
        fit([layer], FitOptions(init="svd", rounds=1), {}).write(path)
        direct = layer_s(layer, "static", {})
        digital, analog = (layer_s(layer, scheme, {"basis": str(path)}) for scheme in SCHEMES)
    print(f"weights of its own: {direct:.2f} s")
    met = report("digital sums, against weights of its own", digital / direct, "times", GOAL, at_least=False)
    print(f"analog sums, 4 bit planes of either sign: {analog / direct:.1f} times")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
