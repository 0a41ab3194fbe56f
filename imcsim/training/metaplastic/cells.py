"""Keep one cell per weight of a layer, rewritten when the level of its hidden weight changes and at no other time.

The weight is linear in the conductance, from -1 at g_min to 1 at g_max; a reference column without errors takes off the
middle (assumed). What is read is a fresh cell without the noise of reads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.devices import DeviceSpec
from imcsim.training.metaplastic.rules import Floats, RuleSpec


class LevelCells:
    """Hold ``weights``: what the cells hold, shaped as the weights; ``writes``: of each cell after its first one."""

    def __init__(self, hidden: Floats, rule: RuleSpec, device: DeviceSpec | None, rng: np.random.Generator) -> None:
        """Write the levels of all hidden weights; without a device they are exact."""
        self.rule, self.device, self._rng = rule, device, rng
        self._stuck_at = device.draw_faults(hidden.shape, rng) if device else np.full(hidden.shape, np.nan)
        self._levels = rule.level_of(hidden)
        self.weights = np.empty(hidden.shape, np.float32)
        self.writes = np.full(hidden.shape, -1, np.int32)
        self._write(np.arange(hidden.size))

    def follow(self, hidden: Floats) -> None:
        """Rewrite the cells whose level has changed."""
        levels = self.rule.level_of(hidden)
        changed = np.flatnonzero(levels != self._levels)
        self._levels = levels
        if changed.size:
            self._write(changed)

    def _write(self, which: NDArray[np.int64]) -> None:
        self.writes.ravel()[which] += 1
        self.weights.ravel()[which] = self._reached(self.rule.weight_of(self._levels.ravel()[which]), which)

    def _reached(self, weights: Floats, which: NDArray[np.int64]) -> Floats:
        if self.device is None:
            return weights
        low, span = self.device.g_min_usiemens, self.device.g_max_usiemens - self.device.g_min_usiemens
        cells = self.device.program(low + span * (weights + 1) / 2, self._rng, self._stuck_at.ravel()[which])
        reached = self.device.conductance_usiemens(cells, self.device.earliest_s)
        return np.asarray(2 * (reached - low) / span - 1, np.float32)
