"""Tell which rows and channels of a layer lie on which crossbar, or in which segment of a basis.

This is the only place that knows: plans, values, bases and trainings ask a ``Tiling``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.hardware import Hardware
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, Integers
from imcsim.workload.workload import WeightedLayer


class Block(NamedTuple):
    """Say what one crossbar or segment holds: ``rows`` among the inputs of a layer, ``channels`` among its outputs.

    Inputs and outputs are numbered group by group. ``n_weights``: fewer than rows x channels where several groups lie
    on the diagonal of the block.
    """

    rows: range
    channels: range
    n_weights: int


@dataclass(frozen=True)
class Tiling:
    """Cut ``groups`` matrices of ``rows`` x ``channels`` weights each into blocks of at most ``height`` x ``width``.

    Groups that are small enough share a block, on its diagonal. Blocks are numbered group by group, row tile by row
    tile. All sizes count weights, so that none of them ever lies in two blocks.
    """

    groups: int
    rows: int
    channels: int
    height: int
    width: int

    @staticmethod
    def of(layer: WeightedLayer | IntegerLayer, height: int, width: int | None = None) -> Tiling:
        """Return how a layer is cut into blocks of so many rows, with all channels of their groups without a width."""
        per_group = layer.channels // layer.groups
        return Tiling(layer.groups, layer.rows, per_group, height, layer.channels if width is None else width)

    @property
    def shared(self) -> int:
        """Return how many groups share a block: as many as its diagonal takes, and at least one."""
        return max(1, min(self.groups, self.height // self.rows, self.width // self.channels))

    @property
    def group_sets(self) -> int:
        """Return how many sets of groups there are; those of a set share their blocks."""
        return -(-self.groups // self.shared)

    @property
    def row_tiles(self) -> int:
        """Return T_r, the blocks whose partial sums are added for one output."""
        return -(-self.shared * self.rows // self.height)

    @property
    def column_tiles(self) -> int:
        """Return T_c, the blocks that read the same inputs."""
        return -(-self.shared * self.channels // self.width)

    @property
    def n_blocks(self) -> int:
        """Return the number of all blocks."""
        return self.group_sets * self.row_tiles * self.column_tiles

    @property
    def rows_per_block(self) -> int:
        """Return the rows of a full block."""
        return min(self.shared * self.rows, self.height)

    @property
    def channels_per_block(self) -> int:
        """Return the channels of a full block."""
        return min(self.shared * self.channels, self.width)

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks in the order of their numbers."""
        for first in range(0, self.groups, self.shared):
            n_groups = min(self.shared, self.groups - first)
            row_spans = _spans(first * self.rows, n_groups * self.rows, self.height)
            channel_spans = _spans(first * self.channels, n_groups * self.channels, self.width)
            for rows, channels in product(row_spans, channel_spans):
                yield Block(rows, channels, len(rows) * len(channels) // n_groups)


def _spans(first: int, total: int, size: int) -> list[range]:
    """Return ``total`` numbers from ``first`` on in spans of ``size``, the last shorter where it does not divide."""
    end = first + total
    return [range(start, min(start + size, end)) for start in range(first, end, size)]


def crossbar_tiling(layer: WeightedLayer | IntegerLayer, weight_bits: int, hardware: Hardware) -> Tiling:
    """Return how the weights of a layer, all columns of each side by side, are cut into crossbars.

    Raises ImcsimError where a weight takes more columns than a crossbar has.
    """
    bar, columns_per_weight = hardware.crossbar, hardware.weight_columns(weight_bits)
    if columns_per_weight > bar.columns:
        problem = f"a weight takes {columns_per_weight} columns, a crossbar has {bar.columns}"
        hint = "use more bits per cell (crossbar.bits_per_cell) or wider crossbars (crossbar.columns)"
        raise ImcsimError(f"layer '{layer.name}'", problem, hint)
    return Tiling.of(layer, bar.rows, bar.columns // columns_per_weight)


# -- cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TileGrid:
    """Count the wordlines and bitlines of the crossbars of a tiling, or of a range of those crossbars (one pass).

    ``rows``, ``columns``: wordlines and bitlines used on each crossbar; columns are those of whole weights, of
    ``columns_per_weight`` each. ``cells``: those that hold weights, fewer than rows x columns where several groups
    share a crossbar on its diagonal. ``row_tiles``, ``column_tiles``: T_r and T_c of the tiling. ``start``: the number
    of the first crossbar in the whole layer.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    cells: tuple[int, ...]
    row_tiles: int
    column_tiles: int
    columns_per_weight: int
    start: int = 0

    @staticmethod
    def of(tiling: Tiling, columns_per_weight: int) -> TileGrid:
        """Return all crossbars of a tiling."""
        blocks = list(tiling.blocks())
        return TileGrid(
            tuple(len(block.rows) for block in blocks),
            tuple(len(block.channels) * columns_per_weight for block in blocks),
            tuple(block.n_weights * columns_per_weight for block in blocks),
            tiling.row_tiles,
            tiling.column_tiles,
            columns_per_weight,
        )

    @property
    def crossbars(self) -> int:
        """Return the number of crossbars."""
        return len(self.rows)

    @property
    def kinds(self) -> Counter[tuple[int, int, int]]:
        """Return how many crossbars there are of each (rows, columns, cells)."""
        return Counter(zip(self.rows, self.columns, self.cells, strict=True))

    @property
    def outputs(self) -> NDArray[np.int64]:
        """Return (crossbars,) the channels that each crossbar has results of."""
        return np.array(self.columns, np.int64) // self.columns_per_weight

    @property
    def block_row(self) -> NDArray[np.int64]:
        """Return (crossbars,) a number for what each crossbar reads: those with the same one read the same inputs."""
        return (self.start + np.arange(self.crossbars)) // self.column_tiles

    @property
    def row_tile(self) -> NDArray[np.int64]:
        """Return (crossbars,) which of the ``row_tiles`` partial sums of its outputs each crossbar gives."""
        return self.block_row % self.row_tiles

    @property
    def block_column(self) -> NDArray[np.int64]:
        """Return (crossbars,) a number for what each crossbar adds to: those with the same one share outputs."""
        column_tile = (self.start + np.arange(self.crossbars)) % self.column_tiles
        return self.block_row // self.row_tiles * self.column_tiles + column_tile

    def part(self, start: int, stop: int) -> TileGrid:
        """Return the crossbars ``start`` to ``stop`` of this grid: what one pass holds."""
        held = slice(start, stop)
        return replace(
            self, rows=self.rows[held], columns=self.columns[held], cells=self.cells[held], start=self.start + start
        )


def cut(layer: WeightedLayer, hardware: Hardware) -> TileGrid:
    """Return the crossbars of a layer: T_r = ceil(K / R), T_c = ceil(N / floor(C / c_w)) for each group.

    Groups that are small enough lie several to a crossbar, on its diagonal: min(R // K, floor(C / c_w) // N) of them.
    Raises ImcsimError where a weight takes more columns than a crossbar has.
    """
    weight_bits = layer.weight_quant.bits
    return TileGrid.of(crossbar_tiling(layer, weight_bits, hardware), hardware.weight_columns(weight_bits))


# -- values ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightBlock:
    """Hold the values of a block: ``rows`` among the layer's inputs, ``channels`` among its outputs.

    ``weights``: (rows, channels), 0 where a row belongs to another group than a channel.
    """

    rows: Integers
    channels: Integers
    weights: Integers


def weight_blocks(layer: IntegerLayer, tiling: Tiling) -> Iterator[WeightBlock]:
    """Yield the weights of a layer block by block, in the order of the tiling."""
    for block in tiling.blocks():
        rows, channels = np.array(block.rows), np.array(block.channels)
        same_group = rows[:, None] // tiling.rows == channels // tiling.channels
        weights = np.where(same_group, layer.weights[channels, rows[:, None] % tiling.rows], 0)
        yield WeightBlock(rows, channels, weights.astype(np.int64))
