"""The analog multiply against one float32 matrix product over the unpacked bit planes; exits with 1 on a missed goal.

Usage: python benchmarks/kernels.py [threads]

1,024 vectors of 8 bits, one bit at a time, by square weight matrices of four 2-bit slices, on a crossbar of four times
as many columns, all rows at once. Products and kernels take turns in processes of their own, so that only one pool of
threads exists at a time and both meet the same machine; the best time of all turns counts. One thread is timed by the
processor time that it used, which other work on the machine disturbs less; several are timed by the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from goals import report  # noqa: E402

GOAL_RATIO = {"no noise": 1.5, "noise": 1.0}  # kernel to matrix product, vectors per second
GOAL_COMPILE_S, GOAL_CACHED_S = 20.0, 1.0  # first use; first use of a later process
GOAL_IMAGE_S = {1: 1.2, 2: 0.7}  # by threads
CROSSBAR_SIZE = 128
N_VECTORS, N_BITS, N_SLICES, CELL_BITS = 1024, 8, 4, 2
SIZES, ROUNDS = (128, 512), 3


def best_s(action: Callable[[], object], budget_s: float = 1.0) -> float:
    """Least time of one action, after one to warm up, for as long as the budget lasts."""
    clock = time.thread_time if os.environ["NUMBA_NUM_THREADS"] == "1" else time.perf_counter
    action()
    best, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        begin = clock()
        action()
        best = min(best, clock() - begin)
    return best


def product_s(size: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 2, (N_VECTORS * N_BITS, size)).astype(np.float32)
    columns = rng.random((size, size * N_SLICES), np.float32)
    out = np.empty((len(planes), columns.shape[1]), np.float32)
    return {"product": best_s(lambda: np.matmul(planes, columns, out=out))}


def kernel_s(size: int) -> dict[str, float]:
    """All variants of the kernel, checked arguments and allocation of the results included."""
    from imcsim.functional.crossbar import AnalogArray, Quantizer, ReadNoise, fixed_point, multiply

    rng = np.random.default_rng(0)
    levels = rng.integers(0, 1 << CELL_BITS, (size, size * N_SLICES))
    cells = fixed_point(levels)
    inputs = rng.integers(0, 1 << N_BITS, (N_VECTORS, size)).astype(np.uint16)
    plain, own = AnalogArray(cells, size), AnalogArray(cells, size, variances=rng.uniform(0, 400, cells.shape))
    n_codes = size * ((1 << CELL_BITS) - 1) + 1
    uniform = Quantizer.uniform(n_codes, 8, -128)
    listed = Quantizer.listed(np.sort(rng.integers(0, n_codes << 7, 255)), np.arange(256), 0, n_codes << 8)
    assert (multiply(plain, inputs, N_BITS, uniform).results == inputs.astype(np.int64) @ levels).all()
    noise = ReadNoise(1, 12.8, 50.0)
    return {
        "no noise": best_s(lambda: multiply(plain, inputs, N_BITS, uniform)),
        "noise": best_s(lambda: multiply(plain, inputs, N_BITS, uniform, noise=noise)),
        "noise, variance of each cell": best_s(lambda: multiply(own, inputs, N_BITS, uniform, noise=noise)),
        "no noise, 255 listed thresholds": best_s(lambda: multiply(plain, inputs, N_BITS, listed)),
    }


def tiles(n: int) -> list[int]:
    """``n`` rows or columns by the crossbar."""
    return [min(CROSSBAR_SIZE, n - first) for first in range(0, n, CROSSBAR_SIZE)]


def image_s(_: int) -> dict[str, float]:
    """One image of ResNet-18, crossbar by crossbar."""
    from imcsim.functional.crossbar import AnalogArray, Quantizer, ReadNoise, fixed_point, multiply
    from imcsim.workload.workload import Conv, load_workload

    rng, adc = np.random.default_rng(0), Quantizer.uniform(256, 8, -128)
    jobs: list[tuple[AnalogArray, NDArray[np.uint16], ReadNoise]] = []
    for layer in load_workload("resnet18").layers:
        if isinstance(layer, Conv):
            for rows in tiles(layer.rows):
                inputs = rng.integers(0, 1 << N_BITS, (layer.positions, rows)).astype(np.uint16)
                for columns in tiles(layer.channels * N_SLICES):
                    levels = rng.integers(0, 1 << CELL_BITS, (rows, columns))
                    jobs.append((AnalogArray(fixed_point(levels), rows), inputs, ReadNoise(len(jobs), 12.8, 50.0)))

    def run() -> None:
        for crossbar, inputs, noise in jobs:
            multiply(crossbar, inputs, N_BITS, adc, noise=noise)

    return {"image": best_s(run, budget_s=6.0), "crossbar reads": sum(len(inputs) for _, inputs, _ in jobs)}


def first_use_s(_: int) -> dict[str, float]:
    """What the first of two equal uses takes longer, of all kernels that a run with images compiles or loads.

    In processor time, as compiling takes one thread and other work on the machine would count otherwise.
    """
    from imcsim.experiments.run import run
    from imcsim.functional.crossbar import AnalogArray, Quantizer, ReadNoise, multiply
    from imcsim.hardware.kernels.write_verify import write_cells
    from imcsim.hardware.pulsed_cell import PulsedCell

    one, cell = np.ones((1, 1)), PulsedCell(1.0, 1.0, 0.0, 0.1, 0.1, 1.0, 0.0, 2.0)
    uses = (
        lambda: multiply(AnalogArray([[256]], 1), [[1]], 1, Quantizer.uniform(4, 8, -128), noise=ReadNoise(1)),
        lambda: write_cells(np.uint64(1), one, one, one, cell, 1),
        lambda: run("resnet20_cifar", "rram-256"),
    )
    seconds = []
    for _ in range(2):
        begin = time.process_time()
        for use in uses:
            use()
        seconds.append(time.process_time() - begin)
    return {"first": seconds[0] - seconds[1]}


TASKS = {"product": product_s, "kernel": kernel_s, "image": image_s, "first": first_use_s}


def in_own_process(task: str, size: int, threads: int, **more: str) -> dict[str, float]:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), **more}
    words = [sys.executable, __file__, "--task", task, str(size)]
    return dict(json.loads(subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout))


def compare(size: int, threads: int) -> list[bool]:
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for task in ("product", "kernel"):
            for name, seconds in in_own_process(task, size, threads).items():
                best[name] = min(best.get(name, seconds), seconds)
    print(f"{size} x {size} weights, {threads} threads")
    met = []
    for name, seconds in best.items():
        bit_macs = N_VECTORS * N_BITS * size * size * N_SLICES / seconds
        print(f"  {name:<50}{N_VECTORS / seconds:>10,.0f} vectors/s {bit_macs / 1e9:>8.1f} G bit-MAC/s")
    for name, goal in GOAL_RATIO.items():
        met.append(report(f"  {name} / product", best["product"] / best[name], "", goal))
    return met


def main() -> int:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        times = [in_own_process("first", 0, threads, NUMBA_CACHE_DIR=folder)["first"] for _ in range(2)]
    met = [report("first use, compiling", times[0], "s", GOAL_COMPILE_S, at_least=False)]
    met.append(report("first use in a later process", times[1], "s", GOAL_CACHED_S, at_least=False))
    for size in SIZES:
        met += compare(size, threads)
    for n in sorted({1, threads}):
        found = in_own_process("image", 0, n)
        print(f"ResNet-18, {found['crossbar reads']:,} crossbar reads")
        name = f"  one image, all convolutions, {n} threads"
        met.append(report(name, found["image"], "s", GOAL_IMAGE_S[min(n, 2)], at_least=False))
    return 0 if all(met) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        print(json.dumps(TASKS[sys.argv[2]](int(sys.argv[3]))))
    else:
        sys.exit(main())
