"""Does compiled first-fit take the slots of the plain one, and as many for random masks as the prototype counted?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.mapping.kernels.colouring import by_first_fit, pack
from imcsim.mapping.kernels.first_fit import greedy_clique
from imcsim.mapping.plan import Basis, Segments
from imcsim.mapping.schemes.masks import masks_of, schedule, synthetic
from tests.support.masks import MASKS, planes_of
from tests.support.networks import one_conv


def plain_first_fit(masks: list[set[int]], lines: int) -> list[int]:
    slots: list[list[set[int]]] = []
    slot_of = []
    for mask in masks:
        free = (i for i, slot in enumerate(slots) if len(slot) < lines and all(map(mask.isdisjoint, slot)))
        number = next(free, len(slots))
        slots += [[]] * (number == len(slots))
        slots[number] = [*slots[number], mask]
        slot_of.append(number)
    return slot_of


@given(MASKS, st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_compiled_first_fit_equals_the_plain_one(masks: list[set[int]], lines: int) -> None:
    assert by_first_fit(planes_of(masks), lines).tolist() == plain_first_fit(masks, lines)


@given(MASKS)
@settings(max_examples=100, deadline=None)
def test_compiled_clique_equals_the_plain_one(masks: list[set[int]]) -> None:
    clique: list[set[int]] = []
    for mask in masks:
        if all(mask & other for other in clique):
            clique.append(mask)
    assert greedy_clique(pack(planes_of(masks))) == len(clique)


@pytest.mark.parametrize(("nonzeros", "slots", "load"), [(8, 40.8, 27.2), (16, 105.6, 46.6)])
def test_random_masks_need_the_slots_of_the_prototype(nonzeros: int, slots: float, load: float) -> None:
    """256 masks of 8 or 16 of 128 columns on 16 lines: slots by first-fit and largest load of a column.

    Means of 5 trials; ours, of 40, may differ by 5 standard errors.
    """
    basis, cut = Basis(128, 128, nonzeros, 4, 8, "exclusive", "digital", 16), Segments(40, 256, 128, 40, nonzeros, 1)
    segments = list(synthetic(one_conv().weighted[0], basis, cut, seed=0))
    found = schedule(segments, basis, "first_fit")
    loads = [int(masks_of(segment, basis).sum(axis=0).max()) for segment in segments]
    assert all(bound >= at_least for bound, at_least in zip(found.bound, loads, strict=True))
    for ours, theirs in ((found.needed, slots), (loads, load)):
        error = np.std(ours) * np.sqrt(1 / 5 + 1 / len(ours))
        assert abs(np.mean(ours) - theirs) < 5 * error
