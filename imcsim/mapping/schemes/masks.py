"""Turn coefficients into column masks, and those into time slots under exclusive routing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imcsim.mapping.plan import Basis, Segments
from imcsim.util import random_streams
from imcsim.workload.workload import WeightedLayer

Colouring = Literal["first_fit", "recursive_largest_first"]
Coefficients = NDArray[np.signedinteger[Any]]  # (vectors, kernels) of one segment


@dataclass(frozen=True)
class Slots:
    """Hold the time slots of each segment of a layer and the lower bound of each; an empty segment still takes one.

    Per segment, on average: ``masks``, column sums that are converted; ``selected``, basis columns that they connect.
    """

    needed: tuple[int, ...]
    bound: tuple[int, ...]
    masks: float
    selected: float


def schedule(coefficients: Iterable[Coefficients], basis: Basis, colouring: Colouring) -> Slots:
    """Return slots in which no basis column serves two masks and no more masks than output lines are connected.

    ``coefficients``: (segments, vectors, kernels) integers, or any other source of the segments one by one.
    """
    needed, bound, n_masks, selected = zip(
        *(_slots_of(segment, basis, colouring) for segment in coefficients), strict=True
    )
    return Slots(needed, bound, sum(n_masks) / len(n_masks), sum(selected) / len(selected))


def _slots_of(coefficients: Coefficients, basis: Basis, colouring: Colouring) -> tuple[int, int, int, int]:
    """Return the slots of a segment, their lower bound, its masks, and the columns that those connect."""
    from imcsim.mapping.kernels.colouring import by_first_fit, by_recursive_largest_first, lower_bound, n_slots

    colour = {"first_fit": by_first_fit, "recursive_largest_first": by_recursive_largest_first}[colouring]
    masks = masks_of(coefficients, basis)
    needed, bound = n_slots(colour(masks, basis.lines)), lower_bound(masks, basis.lines)
    return max(1, needed), max(1, bound), len(masks), int(masks.sum())


def masks_of(coefficients: Coefficients, basis: Basis) -> NDArray[np.bool_]:
    """Return (masks, M) bool: which basis columns each mask of one segment connects, kernel by kernel; none is empty.

    With analog sums each bit plane of each kernel is a mask, and planes of positive and negative coefficients are
    separate masks, because currents on one line only add. With digital sums the support of a kernel is its mask.
    Raises ValueError for a magnitude of more than ``coeff_bits`` bits.
    """
    kernels = coefficients.T
    if max(int(kernels.max(initial=0)), -int(kernels.min(initial=0))) >= 2**basis.coeff_bits:
        raise ValueError(f"a coefficient has more than {basis.coeff_bits} magnitude bits")
    if basis.sum == "digital":
        masks: NDArray[np.bool_] = kernels != 0
    else:
        signed = (kernels.clip(0), -kernels.clip(None, 0))
        planes = [(part >> bit & 1).astype(bool) for part in signed for bit in range(basis.coeff_bits)]
        masks = np.stack(planes, axis=1).reshape(-1, basis.vectors)
    is_busy = masks.any(axis=1)
    return masks[is_busy]


def synthetic(layer: WeightedLayer, basis: Basis, cut: Segments, seed: int) -> Iterator[Coefficients]:
    """Draw, segment by segment, ``basis.nonzeros`` coefficients of each kernel: seeded supports, uniform magnitudes."""
    random = random_streams.rng(seed, "coefficients", layer.name)
    for _ in range(cut.count):
        draw = random.random((cut.kernels, basis.vectors), dtype=np.float32)
        support = np.argpartition(draw, basis.nonzeros - 1, axis=1)[:, : basis.nonzeros]
        magnitudes = np.zeros((cut.kernels, basis.vectors), np.int64)
        values = random.integers(1, 2**basis.coeff_bits, support.shape)
        np.put_along_axis(magnitudes, support, values, axis=1)
        yield magnitudes.T
