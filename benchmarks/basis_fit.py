"""Matching pursuit over all segments of a ResNet-18, against a goal; exits with 1 where it is missed.

Usage: python benchmarks/basis_fit.py [threads]

11.2 million normal weights in about 87,000 segments of 128, by 8 of 128 basis vectors; the kernels are compiled before.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from goals import report

GOAL_S = 60.0
LENGTH, NONZEROS, COEFF_BITS = 128, 8, 4
WEIGHTS = {(9 * 64, 64): 5, (9 * 128, 128): 3, (9 * 256, 256): 3, (9 * 512, 512): 3, (9 * 64, 128): 1,
           (9 * 128, 256): 1, (9 * 256, 512): 1, (147, 64): 1, (512, 1000): 1}  # fmt: skip


def main() -> int:
    threads = sys.argv[1] if len(sys.argv) > 1 else "2"
    os.environ["NUMBA_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads
    import numpy as np

    from imcsim.mapping.basis.coefficients import encode, levels_of, solve
    from imcsim.mapping.basis.initial import random
    from imcsim.mapping.basis.targets import Target

    def target(rows: int, channels: int) -> Target:
        terms = -(-rows // LENGTH)
        kernels = rng.standard_normal((1, terms, channels, LENGTH))
        kernels[0, -1, :, rows - LENGTH * (terms - 1) :] = 0
        lengths = np.minimum(LENGTH, rows - LENGTH * np.arange(terms))[None]
        return Target("layer", kernels, lengths, 1.0, [np.arange(channels)], rows * channels)

    rng = np.random.default_rng(0)
    targets = [target(*size) for size, count in WEIGHTS.items() for _ in range(count)]
    elements, levels = random(targets, LENGTH, NONZEROS, rng), levels_of("uniform", COEFF_BITS)
    encode(targets[0], elements, NONZEROS, levels)
    begin = time.perf_counter()
    for each in targets:
        solve(each, elements, NONZEROS)
    pursuit_s, begin = time.perf_counter() - begin, time.perf_counter()
    for each in targets:
        encode(each, elements, NONZEROS, levels)
    encode_s = time.perf_counter() - begin
    n_kernels = sum(each.kernels.shape[1] * each.kernels.shape[2] for each in targets)
    print(f"{n_kernels:,} kernel segments, {sum(each.n_weights for each in targets):,} weights, {threads} threads")
    met = [
        report("matching pursuit", pursuit_s, "s", GOAL_S, at_least=False),
        report("the same and integer coefficients", encode_s, "s", GOAL_S, at_least=False),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
