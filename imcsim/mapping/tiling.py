"""Which rows and columns of a layer lie on which crossbar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from imcsim.hardware.hardware import Hardware
from imcsim.workload.quantised import IntegerLayer, Integers
from imcsim.workload.workload import WeightedLayer


@dataclass(frozen=True)
class TileGrid:
    """How a layer's weight matrix is cut into crossbars, or a range of those crossbars (one pass).

    ``rows``, ``columns``: wordlines and bitlines used on each crossbar. ``cells``: those that hold weights, fewer than
    rows x columns where several groups share a crossbar on its diagonal. ``row_tiles``: T_r, the crossbars whose
    partial sums are added for one output. ``column_tiles``: T_c, the crossbars that read the same inputs.
    ``start``: the number of the first crossbar in the whole layer, counted group by group, row by row.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    cells: tuple[int, ...]
    row_tiles: int
    column_tiles: int
    start: int = 0

    @property
    def crossbars(self) -> int:
        return len(self.rows)

    @property
    def kinds(self) -> Counter[tuple[int, int, int]]:
        """How many crossbars there are of each (rows, columns, cells)."""
        return Counter(zip(self.rows, self.columns, self.cells, strict=True))

    def part(self, start: int, stop: int) -> TileGrid:
        """The crossbars ``start`` to ``stop`` of this grid: what one pass holds."""
        held = slice(start, stop)
        return replace(
            self, rows=self.rows[held], columns=self.columns[held], cells=self.cells[held], start=self.start + start
        )


def cut(layer: WeightedLayer, hardware: Hardware) -> TileGrid:
    """Cut the K x N matrix of a layer into crossbars: T_r = ceil(K/R), T_c = ceil(N c_w/C) for each group.

    Groups that are small enough lie several to a crossbar, on its diagonal: min(R // K, C // (N c_w)) of them.
    """
    bar = hardware.crossbar
    k, n = layer.rows, layer.channels // layer.groups * hardware.weight_columns(layer.weight_quant.bits)
    per_crossbar = min(bar.rows // k, bar.columns // n) if layer.groups > 1 else 0
    if per_crossbar > 1:
        counts = _chunks(layer.groups, per_crossbar)
        return TileGrid(
            tuple(g * k for g in counts), tuple(g * n for g in counts), tuple(g * k * n for g in counts), 1, 1
        )
    blocks = [(r, c) for r in _chunks(k, bar.rows) for c in _chunks(n, bar.columns)] * layer.groups
    return TileGrid(
        tuple(r for r, _ in blocks),
        tuple(c for _, c in blocks),
        tuple(r * c for r, c in blocks),
        -(-k // bar.rows),
        -(-n // bar.columns),
    )


def _chunks(total: int, size: int) -> list[int]:
    """``total`` in pieces of ``size``, the last one smaller where it does not divide."""
    full, rest = divmod(total, size)
    return [size] * full + ([rest] if rest else [])


@dataclass(frozen=True)
class WeightBlock:
    """What one crossbar holds: ``rows`` among the layer's inputs (group by group), ``channels`` among its outputs.

    ``weights``: (rows, channels), 0 where a row belongs to another group than a channel.
    """

    rows: Integers
    channels: Integers
    weights: Integers


def segments(layer: IntegerLayer, height: int, together: int) -> Iterator[WeightBlock]:
    """The layer cut into blocks of at most ``height`` rows and all their channels, ``together`` groups side by side."""
    k, n = layer.rows, layer.channels // layer.groups
    for first in range(0, layer.groups, together):
        groups = np.arange(first, min(first + together, layer.groups))
        rows = (groups[:, None] * k + np.arange(k)).ravel()
        channels = (groups[:, None] * n + np.arange(n)).ravel()
        matrix = _block_diagonal(layer, groups)
        for r in range(0, len(rows), height):
            yield WeightBlock(rows[r : r + height], channels, matrix[r : r + height])


def _block_diagonal(layer: IntegerLayer, groups: Integers) -> Integers:
    """(groups * rows, groups * channels) weights of some groups side by side."""
    k, n = layer.rows, layer.channels // layer.groups
    matrix = np.zeros((len(groups), k, len(groups), n), np.int64)
    for place, group in enumerate(groups):
        matrix[place, :, place] = layer.weights[group * n : (group + 1) * n].T
    return matrix.reshape(len(groups) * k, len(groups) * n)
