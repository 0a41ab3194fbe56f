"""Fill time slots one after another, with the masks that are hardest to place later (recursive largest first)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.util.compiling import compiled

Ints = NDArray[np.int64]


@compiled
def recursive_largest_first(columns: Ints, starts: Ints, n_columns: int, lines: int) -> Ints:
    """Return the slot of each mask, (n_masks,), so that no slot uses a column twice or holds more than ``lines`` masks.

    ``columns``: the columns of all masks, mask by mask; those of mask i begin at ``starts[i]``, (n_masks + 1,).
    After Leighton, J. Res. Natl. Bur. Stand. 84 (1979) 489: a slot begins with the mask that conflicts with most and
    goes on with those that conflict with most of the masks it already shuts out. Conflicts are counted column by
    column, twice where two masks share two: that needs no graph of all pairs.
    """
    slot_of = np.full(len(starts) - 1, len(starts))
    left, slot = np.arange(len(starts) - 1), 0
    while len(left):
        candidates, weights = left, _load(left, columns, starts, n_columns)
        shut_out = np.zeros(n_columns, np.int64)
        for _ in range(lines):
            if len(candidates) == 0:
                break
            chosen = candidates[_heaviest(candidates, columns, starts, weights)]
            slot_of[chosen] = slot
            candidates = _compatible(candidates, chosen, columns, starts, shut_out)
            weights = shut_out
        left = left[slot_of[left] > slot]
        slot += 1
    return slot_of


@compiled
def _load(masks: Ints, columns: Ints, starts: Ints, n_columns: int) -> Ints:
    """Return how many masks use each column."""
    load = np.zeros(n_columns, np.int64)
    for i in masks:
        for at in range(starts[i], starts[i + 1]):
            load[columns[at]] += 1
    return load


@compiled
def _heaviest(candidates: Ints, columns: Ints, starts: Ints, weights: Ints) -> int:
    """Return where in the list the first mask is whose columns weigh most together."""
    best, most = 0, np.int64(0)
    for k, i in enumerate(candidates):
        weight = np.int64(0)
        for at in range(starts[i], starts[i + 1]):
            weight += weights[columns[at]]
        if weight > most:
            best, most = k, weight
    return best


@compiled
def _compatible(candidates: Ints, chosen: int, columns: Ints, starts: Ints, shut_out: Ints) -> Ints:
    """Return the candidates that share no column with the chosen mask; ``shut_out`` gains the load of the others."""
    is_used = np.zeros(len(shut_out), np.bool_)
    is_used[columns[starts[chosen] : starts[chosen + 1]]] = True
    kept, n_kept = np.empty_like(candidates), 0
    for i in candidates:
        at, end = starts[i], starts[i + 1]
        while at < end and not is_used[columns[at]]:
            at += 1
        if at == end:
            kept[n_kept] = i
            n_kept += 1
        elif i != chosen:
            for at in range(starts[i], end):
                shut_out[columns[at]] += 1
    return kept[:n_kept]
