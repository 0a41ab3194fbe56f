"""What every rule has: levels of a weight, evenly from -1 to 1, and how much of a hidden weight's step is taken.

The base takes each step whole: a network that forgets. A kind adds ``kind``, ``n_levels`` and ``factor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat

from imcsim.util.config import Spec

Floats = NDArray[np.floating[Any]]
Levels = NDArray[np.int16]


class RuleSpec(Spec):
    """Base of the rules. Hidden weights have any shape; what they give is of the same."""

    kind: str
    m: NonNegativeFloat  # how strongly weights consolidate; at 0 not at all

    is_inferred: ClassVar[bool] = True  # whether the rule is ours rather than read in a source

    if TYPE_CHECKING:

        @property
        def n_levels(self) -> int:
            """How many values a weight can take."""

    @property
    def spacing(self) -> float:
        """Between two levels."""
        return 2 / (self.n_levels - 1)

    def level_of(self, hidden: Floats) -> Levels:
        """Which level is nearest, counted from that of -1."""
        nearest = np.rint((hidden + 1) / np.float32(self.spacing))
        return np.asarray(np.clip(nearest, 0, self.n_levels - 1).astype(np.int16))

    def weight_of(self, level: Levels) -> NDArray[np.float32]:
        """The weight that a level stands for."""
        return np.asarray(level * self.spacing - 1, np.float32)

    def factor(self, hidden: Floats, step: Floats) -> Floats:
        """What a step of each hidden weight is multiplied by, from 0 to 1."""
        return np.ones_like(hidden)
