"""Speed of training on cells: the update of 300,000 weights, and steps of ResNet-8 and ResNet-32 against plain PyTorch.

python benchmarks/hybrid.py [THREADS]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from goals import report
from torch import nn
from torch.nn import functional

from imcsim.training.hic.layers import convert, hybrid_layers
from imcsim.training.hic.options import HybridOptions
from imcsim.training.hic.weights import HybridWeights
from imcsim.training.networks import NETWORKS
from imcsim.util.compiling import limit_threads

N_WEIGHTS, BATCH, UNITS = (300, 1000), 100, 10.0
UPDATE_GOAL_MS, STEP_GOAL = 20.0, 2.5
ROUNDS = 15


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else min(2, os.cpu_count() or 1)
    torch.set_num_threads(threads)
    with limit_threads(threads):
        update_ms = 1000 * update_s()
        times_s = {name: step_s(NETWORKS[name](3, 10, 1.0)) for name in ("resnet8", "resnet32")}
    for name, (plain_s, hybrid_s) in times_s.items():
        print(f"threads: {threads}; {name}: plain step {1000 * plain_s:.0f} ms, hybrid step {1000 * hybrid_s:.0f} ms")
    plain_s, hybrid_s = times_s["resnet8"]
    report("update of 300,000 weights", update_ms, "ms", UPDATE_GOAL_MS, at_least=False)
    report("ResNet-8 step, batch 100, hybrid over plain", hybrid_s / plain_s, "", STEP_GOAL, at_least=False)


def update_s() -> float:
    """One update that moves accumulators by about ten units, and a tenth of a check for refresh."""
    rng = np.random.default_rng(0)
    weights = HybridWeights.program("layer", rng.standard_normal(N_WEIGHTS).astype(np.float32), HybridOptions(), 0)
    gradient = (rng.standard_normal(N_WEIGHTS) * UNITS * weights.unit).astype(np.float32)

    def update() -> None:
        weights.update(gradient, 1.0, 1.0)

    return best(update) + best(lambda: weights.refresh(1.0)) / 10


def step_s(plain: nn.Module) -> tuple[float, float]:
    """Seconds of a whole step, plain and on cells, taken in turn."""
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
    hybrid = convert(plain, HybridOptions()).train()
    steps = [Step(plain.train(), images, labels), Step(hybrid, images, labels)]
    times = [[timed(step) for step in steps] for _ in range(ROUNDS)]
    fastest = np.min(times[1:], axis=0)
    return float(fastest[0]), float(fastest[1])


class Step:
    """Forward, backward and update of a batch."""

    def __init__(self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.network, self.images, self.labels = network, images, labels
        self.layers = hybrid_layers(network)
        in_cells = {id(layer.weight) for layer in self.layers}
        digital = [p for p in network.parameters() if id(p) not in in_cells]
        self.optimiser, self.number = torch.optim.SGD(digital, lr=0.05, momentum=0.9), 0

    def __call__(self) -> None:
        self.number += 1
        for layer in self.layers:
            layer.set_time(float(self.number))
        self.network.zero_grad()
        functional.cross_entropy(self.network(self.images), self.labels).backward()
        self.optimiser.step()
        for layer in self.layers:
            layer.cells.update(layer.weight.grad.numpy(), 0.3, float(self.number))
            if self.number % layer.options.refresh_every == 0:
                layer.cells.refresh(float(self.number))


def timed(function: Callable[[], None]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def best(function: Callable[[], None]) -> float:
    function()
    return min(timed(function) for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
