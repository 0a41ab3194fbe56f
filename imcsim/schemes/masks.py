"""Synthetic coefficients: seeded random supports and magnitudes, and the slots that their bit planes really need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim import streams
from imcsim.plan import Basis, Segments
from imcsim.workload import WeightedLayer


@dataclass(frozen=True)
class Slots:
    """Time slots of each segment of a layer, the lower bound of each, and basis columns switched on per segment."""

    needed: tuple[int, ...]
    bound: tuple[int, ...]
    selected: float


def schedule(layer: WeightedLayer, basis: Basis, cut: Segments, seed: int) -> Slots:
    """First-fit slots for random coefficients with ``basis.nonzeros`` non-zeros of uniform magnitude.

    With analog sums each bit plane of each kernel is one mask; with digital sums the support is.
    """
    from imcsim.kernels.first_fit import first_fit

    random = streams.rng(seed, "coefficients", layer.name)
    needed, bound, selected = [], [], 0
    for _ in range(cut.count):
        planes = _bit_planes(basis, cut.kernels, random)
        load = planes.sum(axis=0)
        busy = int(planes.any(axis=1).sum())
        needed.append(max(1, int(first_fit(pack(planes), basis.lines))))
        bound.append(max(1, int(load.max()), -(-busy // basis.lines)))
        selected += int(load.sum())
    return Slots(tuple(needed), tuple(bound), selected / cut.count)


def _bit_planes(basis: Basis, kernels: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """(masks, M) bool: which basis columns each mask of one segment connects."""
    draw = random.random((kernels, basis.vectors), dtype=np.float32)
    support = np.argpartition(draw, basis.nonzeros - 1, axis=1)[:, : basis.nonzeros]
    magnitude = np.zeros((kernels, basis.vectors), np.int64)
    values = random.integers(1, 2**basis.coeff_bits, support.shape)
    np.put_along_axis(magnitude, support, values, axis=1)
    if basis.sum == "digital":
        return magnitude > 0
    planes = magnitude[:, None, :] >> np.arange(basis.coeff_bits)[None, :, None] & 1
    return planes.reshape(-1, basis.vectors).astype(bool)


def pack(planes: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Masks as 64-bit words."""
    width = -(-planes.shape[1] // 64) * 64
    padded = np.zeros((len(planes), width), bool)
    padded[:, : planes.shape[1]] = planes
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
