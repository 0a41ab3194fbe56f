"""The binarised rule carried over to weights of many levels. Inferred: that of arXiv 2306.12142 was not readable.

Known of the published rule: its function is defined on the intervals between neighbouring levels, and m from 2 to 4
works best. Here, too, the step towards the middle of an interval from its end is multiplied by 1 - tanh^2(m).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from imcsim.training.metaplastic.rules._base import Floats, RuleSpec


class MultiLevel(RuleSpec):
    """A step towards the nearest threshold t is multiplied by 1 - tanh^2(m |h - t| / (spacing / 2)).

    Thresholds lie midway between levels. With two levels the only one is 0, and this is the binarised rule.
    """

    kind: Literal["multi_level"]
    n_levels: Annotated[int, Field(ge=2, le=1 << 14, examples=[8])]

    def factor(self, hidden: Floats, step: Floats) -> Floats:
        """Any other step is taken whole."""
        spacing = hidden.dtype.type(self.spacing)
        below = np.clip(np.floor((hidden + 1) / spacing), 0, self.n_levels - 2)  # the level below the threshold
        distance = hidden - ((below + hidden.dtype.type(0.5)) * spacing - 1)
        resisted = 1 - np.tanh(self.m * distance / (spacing / 2)) ** 2
        return np.where(np.sign(distance) * step < 0, resisted, hidden.dtype.type(1))
