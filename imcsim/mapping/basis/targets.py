"""Say what a basis has to represent: the weights of layers, cut into segments of its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.mapping.tiling import Tiling, weight_blocks
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Hold the segments of one layer, scaled so that a weight has unit mean square: layers count by their size.

    ``kernels``: (blocks, terms, kernels, length), zero beyond the rows of a segment; the ``terms`` segments of a block
    add up to the same channels, and share a scale for each. ``rows``: (blocks, terms) of each segment. ``unit``: what
    1 stands for in integer weights. ``channels``: those of each block.
    """

    name: str
    kernels: Floats
    rows: NDArray[np.int64]
    unit: float
    channels: Sequence[NDArray[np.int64]]
    n_weights: int

    @staticmethod
    def of(layer: IntegerLayer, length: int) -> Target:
        """Cut a layer into segments of a length. Raises ImcsimError where weights are no finite numbers."""
        if not np.isfinite(layer.weights).all():
            raise ImcsimError(f"layer '{layer.name}'", "has weights that are no finite numbers", "export it again")
        tiling = Tiling.of(layer, length)
        segments, terms = list(weight_blocks(layer, tiling)), tiling.row_tiles
        kernels = np.zeros((len(segments), tiling.channels_per_block, length))
        for kernel, segment in zip(kernels, segments, strict=True):
            kernel[: len(segment.channels), : len(segment.rows)] = segment.weights.T
        unit = float(np.sqrt(np.square(kernels).sum() / layer.weights.size)) or 1.0
        rows = np.array([len(segment.rows) for segment in segments]).reshape(-1, terms)
        channels = [segment.channels for segment in segments[::terms]]
        shaped = kernels.reshape(-1, terms, *kernels.shape[1:])
        return Target(layer.name, shaped / unit, rows, unit, channels, int(layer.weights.size))

    @property
    def length2(self) -> Floats:
        """Return (blocks, kernels) squared lengths of kernels."""
        return np.asarray(np.square(self.kernels).sum(axis=(1, 3)))

    @property
    def utilisation(self) -> float:
        """Return the share of basis rows that weights of a kernel use; groups beside it on the diagonal are no use."""
        n_segments = sum(len(channels) for channels in self.channels) * self.rows.shape[1]
        return float(self.n_weights / (n_segments * self.kernels.shape[-1]))
