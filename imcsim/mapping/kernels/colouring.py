"""Put masks into time slots: a colouring of their conflict graph with at most so many masks of one colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.mapping.kernels.first_fit import first_fit, greedy_clique
from imcsim.mapping.kernels.largest_first import recursive_largest_first

Masks = NDArray[np.bool_]  # (n_masks, n_columns): which columns each mask connects; none is empty
SlotOf = NDArray[np.int64]  # (n_masks,): the time slot of each mask, from 0 on
ROUNDS = 30  # of iterated greedy; 100 save one more slot of 90 where supports are large, and none where they are small


def by_first_fit(masks: Masks, lines: int) -> SlotOf:
    """Give each mask a slot: masks that share a column are in different ones, and none holds more than ``lines``."""
    return first_fit(pack(masks), lines)


def by_recursive_largest_first(masks: Masks, lines: int) -> SlotOf:
    """Give each mask a slot by recursive largest first, then iterated greedy; never more slots than first-fit takes."""
    starts = np.concatenate([[0], np.cumsum(masks.sum(axis=1))])
    largest = recursive_largest_first(np.nonzero(masks)[1], starts, masks.shape[1], lines)
    return _iterated_greedy(masks, lines, min(largest, by_first_fit(masks, lines), key=n_slots))


def _iterated_greedy(masks: Masks, lines: int, slot_of: SlotOf) -> SlotOf:
    """Repeat first-fit, slot after slot in another order, which never takes more slots (Culberson 1992)."""
    packed, bound = pack(masks), lower_bound(masks, lines)
    for turn in range(ROUNDS):
        if n_slots(slot_of) == bound:
            break
        fullest = np.bincount(slot_of)[slot_of] if turn % 2 else 0 * slot_of
        order = np.lexsort((-slot_of, -fullest))
        slot_of = _unordered(first_fit(packed[order], lines), order)
    return slot_of


def _unordered(values: SlotOf, order: NDArray[np.intp]) -> SlotOf:
    result = np.empty_like(values)
    result[order] = values
    return result


def n_slots(slot_of: SlotOf) -> int:
    """Return how many slots masks take."""
    return int(slot_of.max(initial=-1)) + 1


def lower_bound(masks: Masks, lines: int) -> int:
    """Return the slots that no schedule can do without: masks that all conflict, or more than the lines.

    The masks of the column that most of them use conflict with each other; the largest others that conflict with all
    of them are added.
    """
    if len(masks) == 0:
        return 0
    busiest = masks[:, masks.sum(axis=0).argmax()]
    order = np.lexsort((-masks.sum(axis=1), ~busiest))
    return max(int(greedy_clique(pack(masks)[order])), -(-len(masks) // lines))


def pack(masks: Masks) -> NDArray[np.uint64]:
    """Return masks as 64-bit words, (n_masks, n_words)."""
    width = -(-masks.shape[1] // 64) * 64
    padded = np.zeros((len(masks), width), bool)
    padded[:, : masks.shape[1]] = masks
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
