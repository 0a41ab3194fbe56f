"""Are time slots free of contest, never fewer than the bound, and as many as first-fit takes?"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.first_fit import first_fit
from imcsim.plan import Basis, Segments
from imcsim.schemes.masks import pack, schedule
from tests.networks import one_conv


def plain_first_fit(masks: list[set[int]], lines: int) -> int:
    slots: list[list[set[int]]] = []
    for mask in filter(None, masks):
        for slot in slots:
            if len(slot) < lines and all(mask.isdisjoint(other) for other in slot):
                slot.append(mask)
                break
        else:
            slots.append([mask])
    return len(slots)


@given(st.lists(st.sets(st.integers(0, 99), max_size=9), max_size=60), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_compiled_first_fit_equals_the_plain_one(masks: list[set[int]], lines: int) -> None:
    planes = np.zeros((len(masks), 100), bool)
    for row, mask in zip(planes, masks, strict=True):
        row[list(mask)] = True
    slots = first_fit(pack(planes), lines)
    assert slots == plain_first_fit(masks, lines)
    assert slots >= max(planes.sum(axis=0).max(initial=0), -(-int(planes.any(axis=1).sum()) // lines))


def test_random_masks_need_the_slots_of_the_prototype() -> None:
    """256 masks of 8 of 128 columns on 16 lines: first-fit 40.8 slots, bound 27.2 (means of 5 trials)."""
    basis = Basis(128, 128, 8, 4, 8, "exclusive", "digital", 16)
    found = schedule(one_conv().weighted[0], basis, Segments(40, 256, 128, 40), seed=0)
    for slots, mean in ((found.needed, 40.8), (found.bound, 27.2)):
        error = np.std(slots) * np.sqrt(1 / 5 + 1 / len(slots))
        assert abs(np.mean(slots) - mean) < 5 * error
