"""Column masks as sets, for the tests of colourings."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

N_COLUMNS = 100
MASKS = st.lists(st.sets(st.integers(0, N_COLUMNS - 1), min_size=1, max_size=9), max_size=60)


def planes_of(masks: list[set[int]]) -> NDArray[np.bool_]:
    """(masks, N_COLUMNS) bool."""
    planes = np.zeros((len(masks), N_COLUMNS), bool)
    for row, mask in zip(planes, masks, strict=True):
        row[list(mask)] = True
    return planes
