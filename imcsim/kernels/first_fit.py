"""First-fit scheduling of column masks into time slots."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def first_fit(masks: NDArray[np.uint64], lines: int) -> int:
    """Slots that first-fit needs so that no slot uses a column twice or holds more than ``lines`` masks.

    ``masks``: (n_masks, n_words) uint64, the columns of each mask as bits; empty masks need no slot.
    """
    n_masks, n_words = masks.shape
    used = np.zeros((n_masks, n_words), np.uint64)
    count = np.zeros(n_masks, np.int64)
    slots, open_from = 0, 0
    for i in range(n_masks):
        empty = True
        for w in range(n_words):
            empty &= masks[i, w] == 0
        if empty:
            continue
        s = open_from
        while s < slots:
            free = count[s] < lines
            for w in range(n_words):
                free &= (used[s, w] & masks[i, w]) == 0
            if free:
                break
            s += 1
        slots = max(slots, s + 1)
        count[s] += 1
        for w in range(n_words):
            used[s, w] |= masks[i, w]
        while open_from < slots and count[open_from] >= lines:
            open_from += 1
    return slots
