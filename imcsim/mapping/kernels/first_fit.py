"""Fit column masks into time slots, first come, first served, and find masks of which no two share a slot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.util.compiling import compiled


@compiled
def first_fit(masks: NDArray[np.uint64], lines: int) -> NDArray[np.int64]:
    """Return the first slot for each mask in which no column is used twice and at most ``lines`` masks are.

    ``masks``: (n_masks, n_words) uint64, the columns of each mask as bits. Returns (n_masks,).
    """
    used = np.zeros_like(masks)
    count = np.zeros(len(masks), np.int64)
    slot_of = np.empty(len(masks), np.int64)
    open_from = 0  # all slots before are full
    for i in range(len(masks)):
        slot = open_from
        while count[slot] >= lines or _conflict(used, slot, masks, i):
            slot += 1
        slot_of[i] = slot
        count[slot] += 1
        for word in range(masks.shape[1]):
            used[slot, word] |= masks[i, word]
        while open_from < len(masks) and count[open_from] >= lines:
            open_from += 1
    return slot_of


@compiled
def greedy_clique(masks: NDArray[np.uint64]) -> int:
    """Return how many masks, taken in order, share a column with each one taken before: all need different slots."""
    taken = np.empty_like(masks)
    size = 0
    for i in range(len(masks)):
        n_met = 0
        while n_met < size and _conflict(taken, n_met, masks, i):
            n_met += 1
        if n_met == size:
            taken[size] = masks[i]
            size += 1
    return size


@compiled
def _conflict(masks: NDArray[np.uint64], i: int, others: NDArray[np.uint64], j: int) -> bool:
    """Say whether mask i shares a column with mask j of the others."""
    common = np.uint64(0)
    for word in range(masks.shape[1]):
        common |= masks[i, word] & others[j, word]
    return bool(common)
