"""Step as Adam does in the public code of the binarised rule: weight decay is part of the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from imcsim.training.metaplastic.network import Array

BETAS, EPSILON = (0.9, 0.999), 1e-8  # PyTorch's, which the public code leaves as they are


@dataclass
class Adam:
    """Hold the moments of one array; steps are returned, not taken."""

    first: Array
    second: Array
    n: int = field(default=0)

    @classmethod
    def of(cls, values: Array) -> Adam:
        """Begin without moments."""
        return cls(np.zeros_like(values), np.zeros_like(values))

    def step(self, gradient: Array, rate: float) -> Array:
        """Return the change that a gradient makes at a rate."""
        self.n += 1
        self.first *= BETAS[0]
        self.first += np.float32(1 - BETAS[0]) * gradient
        self.second *= BETAS[1]
        self.second += np.float32(1 - BETAS[1]) * gradient * gradient
        size = rate * math.sqrt(1 - BETAS[1] ** self.n) / (1 - BETAS[0] ** self.n)
        return np.asarray(np.float32(-size) * self.first / (np.sqrt(self.second) + np.float32(EPSILON)))
