"""Count how often each cell was written in a training, by its part in a weight: positive, negative, bit 0, bit 1, ...

A write-erase cycle is one RESET with the SET pulses before the next one. Bit 0 is the least significant one. A bit of
the accumulator flips at most once in an update, so it sees at most ceil(updates / 2) cycles, whatever the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.training.hic.weights import HybridWeights

ENDURANCE_CYCLES = (1e5, 2e11)  # of PCM, published 2016 to 2020: NVMExplorer's survey table
TAIL_FRAC = 0.999
Counts = NDArray[np.int32]


@dataclass(frozen=True)
class Wear:
    """Hold write-erase cycles and SET pulses of the cells of one part in one layer."""

    layer: str
    part: str
    cells: int
    cycles_mean: float
    cycles_tail: float  # 99.9 % of the cells have at most so many
    cycles_max: int
    sets_mean: float
    sets_max: int


def bound(updates: int) -> int:
    """Return the most write-erase cycles of a cell of an accumulator after so many updates."""
    return -(-updates // 2)


def wear(layers: Sequence[HybridWeights]) -> list[Wear]:
    """Return one entry for each layer and part."""
    return [_entry(layer.name, *part) for layer in layers for part in parts(layer)]


def parts(layer: HybridWeights) -> Iterator[tuple[str, Counts, Counts]]:
    """Return (part, RESETs, SETs) of the cells of a layer."""
    yield "positive", layer.n_reset[0], layer.n_set[0]
    yield "negative", layer.n_reset[1], layer.n_set[1]
    for bit in range(layer.options.bits):
        yield f"bit {bit}", layer.bit_reset[:, bit], layer.bit_set[:, bit]


def _entry(layer: str, part: str, resets: Counts, sets: Counts) -> Wear:
    tail = float(np.quantile(resets, TAIL_FRAC, method="inverted_cdf"))
    return Wear(
        layer, part, resets.size, float(resets.mean()), tail, int(resets.max()), float(sets.mean()), int(sets.max())
    )


def histograms(layers: Sequence[HybridWeights]) -> dict[str, dict[str, int]]:
    """Return part -> cycles -> cells, over all layers.

    Cycles are rounded to three digits, so that there are few of them, and are texts, as JSON wants its keys.
    """
    resets_by_part: dict[str, Any] = {}
    for layer in layers:
        for part, resets, _ in parts(layer):
            resets_by_part.setdefault(part, []).append(resets)
    return {part: _histogram(np.concatenate(resets)) for part, resets in resets_by_part.items()}


def _histogram(cycles: Counts) -> dict[str, int]:
    digits = np.floor(np.log10(np.maximum(cycles, 1))).astype(int)
    coarse = np.maximum(10.0 ** (digits - 2), 1)
    values, counts = np.unique(np.rint(cycles / coarse) * coarse, return_counts=True)
    return {str(int(value)): int(count) for value, count in zip(values, counts, strict=True)}
