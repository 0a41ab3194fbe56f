"""Say where the products of a layer come from: which inputs drive which crossbar, and what its columns add up to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.encoding import WeightCode
from imcsim.mapping.tiling import WeightBlock
from imcsim.workload.quantised import IntegerLayer, Integers

BASIS = "basis"  # what plans call the content of the crossbars that hold it


@dataclass(frozen=True)
class Content:
    """Hold what is written for a layer, or for the basis: ``blocks``, one for each crossbar, as cells by ``code``."""

    code: WeightCode
    blocks: Sequence[WeightBlock]


@dataclass(frozen=True)
class ArrayUse:
    """Describe one use of one crossbar: its first rows are driven by the inputs ``rows`` of a layer.

    ``content``, ``number``: which crossbar, the first of ``across`` that lie side by side. ``channels``: the outputs
    that its results add to. ``coefficients``: (results, channels) by which results are weighed; None where each result
    is that of one channel. ``masks``: (vectors, masks) of the vectors on it, those whose currents are summed for one
    conversion each; None where every one is converted by itself.
    """

    content: str
    number: int
    rows: Integers
    channels: Integers
    coefficients: Integers | None = None
    masks: NDArray[np.bool_] | None = None
    across: int = 1

    @property
    def numbers(self) -> range:
        """Return the numbers of its crossbars."""
        return range(self.number, self.number + self.across)

    @property
    def together(self) -> int | Integers:
        """Return how many vectors are connected for each result."""
        return 1 if self.masks is None else self.masks.sum(axis=0)

    @property
    def most_connected(self) -> int:
        """Return the vectors of the largest mask."""
        return 1 if self.masks is None else max(1, int(self.masks.sum(axis=0).max(initial=0)))

    def n_connected(self, devices: int) -> int:
        """Return how many devices of a row, of ``devices``, are connected, over all conversions."""
        return devices if self.masks is None else int(self.masks.sum()) * devices // len(self.masks)

    def connected(self, columns: NDArray[Any], code: WeightCode) -> NDArray[Any]:
        """Return (rows, masks * c_w) from (rows, vectors * c_w): the columns of the vectors of each mask added up."""
        if self.masks is None:
            return columns
        by_vector = columns.reshape(len(columns), -1, code.columns)
        added = np.einsum("rvc,vm->rmc", by_vector, self.masks.astype(columns.dtype))
        return np.asarray(added.reshape(len(columns), -1))

    def weighed(self, results: Integers) -> Integers:
        """Return what (vectors, results) add to the channels, (vectors, channels)."""
        return results if self.coefficients is None else results @ self.coefficients

    @property
    def by_vector(self) -> Integers:
        """Return (vectors of the crossbar, channels) the coefficients, put together where they are in bit planes.

        Raises ValueError where results are not weighed.
        """
        if self.coefficients is None:
            raise ValueError("a crossbar whose results are not weighed has no coefficients")
        return self.coefficients if self.masks is None else self.masks.astype(np.int64) @ self.coefficients


@dataclass(frozen=True)
class Placement:
    """Hold the parts that make up a layer; ``scale`` times what they add up to are its sums.

    ``row_sums``: (channels,) the sum of the weights of each channel, as the parts have them. ``scale``, ``bias``: of
    all channels, or of each; ``bias`` is added to the biases of the layer. ``residual``: (channels, rows of a group)
    weights that are computed digitally beside the parts, if any.
    """

    parts: tuple[ArrayUse, ...]
    row_sums: NDArray[Any]
    scale: float | NDArray[np.float64] = 1.0
    bias: int | Integers = 0
    residual: Integers | None = None

    def sums(self, added: Integers, shift: int, exact: int | Integers = 0) -> Integers:
        """Return (vectors, channels) sums, of ``added`` for inputs driven ``shift`` too high and ``exact`` ones."""
        if isinstance(self.scale, float) and self.scale == 1:
            return np.asarray(added - shift * self.row_sums + exact)
        return np.asarray(np.rint(added * self.scale - shift * self.row_sums + exact), np.int64)

    def exact(self, layer: IntegerLayer, vectors: Integers, contents: Mapping[str, Content]) -> Integers:
        """Return sums (images, positions, channels) of vectors (images, positions, groups, rows) on exact crossbars."""
        flat = vectors.reshape(-1, layer.groups * layer.rows)
        added = np.zeros((len(flat), layer.channels), np.int64)
        for part in self.parts:
            blocks = [contents[part.content].blocks[number].weights for number in part.numbers]
            results = _product(flat[:, part.rows], np.concatenate(blocks, axis=1)[: len(part.rows)])
            results = results if part.masks is None else _product(results, part.masks)
            results = results if part.coefficients is None else _product(results, part.coefficients)
            added[:, part.channels] += results
        sums = self.sums(added, 0, self.residual_sums(layer, vectors)) + layer.bias + self.bias
        return sums.reshape(*vectors.shape[:2], -1)

    def residual_sums(self, layer: IntegerLayer, vectors: Integers) -> int | Integers:
        """Return (vectors, channels) the residual's sums of inputs (images, positions, groups, rows); 0 without one."""
        if self.residual is None:
            return 0
        unbiased = replace(layer, weights=self.residual, bias=np.zeros_like(layer.bias))
        return unbiased.sums(vectors).reshape(-1, layer.channels)


def _product(x: Integers, matrix: NDArray[Any]) -> Integers:
    """Multiply in floats, which are far below 2^53 and a library multiplies."""
    return np.asarray(x.astype(np.float64) @ matrix.astype(np.float64)).astype(np.int64)


@dataclass(frozen=True)
class Placements:
    """Hold all contents of a chip, and the placement of every layer that has one; the others are computed digitally.

    ``rewritten``: contents that the plan writes for every batch.
    """

    contents: Mapping[str, Content]
    placements: Mapping[str, Placement]
    rewritten: frozenset[str] = frozenset()

    @property
    def conversions_hash(self) -> str:
        """Return a hash of what lies in the crossbars and of what is connected for a conversion."""
        weights = [block.weights for content in self.contents.values() for block in content.blocks]
        return _hash([*weights, *(part.masks for placed in self.placements.values() for part in placed.parts)])

    @property
    def hash(self) -> str:
        """Return a hash of all that decides a sum: the conversions, and what becomes of their results."""
        decisive: list[Any] = [self.conversions_hash]
        for placed in self.placements.values():
            decisive += [placed.row_sums, placed.scale, placed.bias, placed.residual]
            decisive += [part.coefficients for part in placed.parts]
        return _hash(decisive)


def _hash(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        array = np.asarray("none" if part is None else part)
        digest.update(np.packbits(array).tobytes() if array.dtype == bool else array.tobytes())
    return digest.hexdigest()[:16]
