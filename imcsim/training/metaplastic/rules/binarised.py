"""The rule for weights of -1 and 1: Laborieux et al., arXiv 2003.03533.

Read in the authors' public code (SynapticMetaplasticityBNN, class Adam_meta), which uses m up to 1.5 for two layers of
4,096, and 2.5 on streams.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from imcsim.training.metaplastic.rules._base import Floats, RuleSpec


class Binarised(RuleSpec):
    """A step that reduces |h| is multiplied by 1 - tanh^2(m |h|): the further from 0, the harder to turn."""

    kind: Literal["binarised"]

    is_inferred: ClassVar[bool] = False

    @property
    def n_levels(self) -> int:
        """Return 2, the levels -1 and 1."""
        return 2

    def factor(self, hidden: Floats, step: Floats) -> Floats:
        """Any other step is taken whole."""
        return np.where(np.sign(hidden) * step < 0, 1 - np.tanh(self.m * hidden) ** 2, hidden.dtype.type(1))
