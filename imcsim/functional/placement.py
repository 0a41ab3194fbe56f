"""Where the products of a layer come from: which of its inputs drive which crossbar, and what its columns add up to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from imcsim.functional.encoding import WeightCode, blocks
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.basis.fitted import LayerCoefficients, load_fitted
from imcsim.mapping.plan import Basis, BasisMvm, Mvm, Plan, Program
from imcsim.mapping.tiling import WeightBlock, segments
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, Integers

BASIS = "basis"  # what plans call the content of the crossbars that hold it


@dataclass(frozen=True)
class Content:
    """What is written for a layer, or for the basis: ``blocks``, one for each crossbar, as cells by ``code``."""

    code: WeightCode
    blocks: Sequence[WeightBlock]


@dataclass(frozen=True)
class ArrayUse:
    """One use of one crossbar: its first rows are driven by the inputs ``rows`` of a layer.

    ``content``, ``number``: which crossbar, the first of ``across`` that lie side by side. ``masks``: (vectors, masks)
    of the vectors on it, those whose currents are summed for one conversion each; 'apart' where every one is converted
    by itself. ``channels``: the outputs that its results add to, each result once ('as they are'), or weighed by
    ``coefficients`` (results, channels).
    """

    content: str
    number: int
    rows: Integers
    channels: Integers
    coefficients: Integers | Literal["as they are"] = "as they are"
    masks: NDArray[np.bool_] | Literal["apart"] = "apart"
    across: int = 1

    @property
    def numbers(self) -> range:
        """Of its crossbars."""
        return range(self.number, self.number + self.across)

    @property
    def together(self) -> int | Integers:
        """Vectors that are connected for each result."""
        return 1 if isinstance(self.masks, str) else self.masks.sum(axis=0)

    def connected(self, columns: NDArray[Any], code: WeightCode) -> NDArray[Any]:
        """(rows, masks * c_w) from (rows, vectors * c_w): the columns of the vectors of each mask added up."""
        if isinstance(self.masks, str):
            return columns
        by_vector = columns.reshape(len(columns), -1, code.columns)
        added = np.einsum("rvc,vm->rmc", by_vector, self.masks.astype(columns.dtype))
        return np.asarray(added.reshape(len(columns), -1))

    @property
    def most_connected(self) -> int:
        """Vectors of the largest mask."""
        return 1 if isinstance(self.masks, str) else max(1, int(self.masks.sum(axis=0).max(initial=0)))

    def n_connected(self, devices: int) -> int:
        """Devices of a row that are connected, over all conversions, where each of its ``devices`` would be once."""
        return devices if isinstance(self.masks, str) else int(self.masks.sum()) * devices // len(self.masks)


@dataclass(frozen=True)
class Placement:
    """The parts that make up a layer; ``scale`` (of all channels, or of each) times what they add up to are its sums.

    ``row_sums``: (channels,) the sum of the weights of each channel, as the parts have them. ``bias``: of all channels,
    or of each, added to the biases of the layer. ``residual``: (channels, rows of a group) weights that are computed
    digitally beside the parts, if any.
    """

    parts: tuple[ArrayUse, ...]
    row_sums: NDArray[Any]
    scale: float | NDArray[np.float64] = 1.0
    bias: int | Integers = 0
    residual: Integers | None = None

    def sums(self, added: Integers, shift: int, exact: int | Integers = 0) -> Integers:
        """(vectors, channels) sums of inputs that were all driven ``shift`` too high, and what is ``exact`` beside."""
        if isinstance(self.scale, float) and self.scale == 1:
            return np.asarray(added - shift * self.row_sums + exact)
        return np.asarray(np.rint(added * self.scale - shift * self.row_sums + exact), np.int64)

    def exact(self, layer: IntegerLayer, vectors: Integers, contents: Mapping[str, Content]) -> Integers:
        """Sums (images, positions, channels) of vectors (images, positions, groups, rows) on exact crossbars."""
        flat = vectors.reshape(-1, layer.groups * layer.rows)
        added = np.zeros((len(flat), layer.channels), np.int64)
        for part in self.parts:
            blocks = [contents[part.content].blocks[number].weights for number in part.numbers]
            found = _product(flat[:, part.rows], np.concatenate(blocks, axis=1)[: len(part.rows)])
            found = found if isinstance(part.masks, str) else _product(found, part.masks)
            found = found if isinstance(part.coefficients, str) else _product(found, part.coefficients)
            added[:, part.channels] += found
        whole = self.sums(added, 0, self.residual_sums(layer, vectors)) + layer.bias + self.bias
        return whole.reshape(*vectors.shape[:2], -1)

    def residual_sums(self, layer: IntegerLayer, vectors: Integers) -> int | Integers:
        """(vectors, channels) what the residual makes of inputs (images, positions, groups, rows); 0 without one."""
        if self.residual is None:
            return 0
        unbiased = replace(layer, weights=self.residual, bias=np.zeros_like(layer.bias))
        return unbiased.sums(vectors).reshape(-1, layer.channels)


def _product(x: Integers, matrix: NDArray[Any]) -> Integers:
    """In floats, which are far below 2^53 and a library multiplies."""
    return np.asarray(x.astype(np.float64) @ matrix.astype(np.float64)).astype(np.int64)


@dataclass(frozen=True)
class Placements:
    """All contents of a chip, and the placement of every layer that has one; the others are computed digitally.

    ``rewritten``: contents that the plan writes for every batch.
    """

    contents: Mapping[str, Content]
    placements: Mapping[str, Placement]
    rewritten: frozenset[str] = frozenset()

    @property
    def conversions_hash(self) -> str:
        """Of what lies in the crossbars and of what is connected for a conversion."""
        weights = [block.weights for content in self.contents.values() for block in content.blocks]
        return _hash([*weights, *(part.masks for placed in self.placements.values() for part in placed.parts)])

    @property
    def hash(self) -> str:
        """Of all that decides a sum: the conversions, and what becomes of their results."""
        whole: list[Any] = [self.conversions_hash]
        for placed in self.placements.values():
            whole += [placed.row_sums, placed.scale, placed.bias, placed.residual]
            whole += [part.coefficients for part in placed.parts]
        return _hash(whole)


def _hash(parts: Iterable[Any]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        array = np.asarray("none" if part is None else part)
        whole.update(np.packbits(array).tobytes() if array.dtype == bool else array.tobytes())
    return whole.hexdigest()[:16]


def layout(plan: Plan, layers: Sequence[IntegerLayer], hardware: Hardware) -> Placements:
    """What a plan makes of the layers of a network.

    Raises ImcsimError for plans whose coefficients are synthetic, from which no values follow.
    """
    how = {op.layer.name: op for op in plan.operations() if isinstance(op, Mvm | BasisMvm)}
    contents: dict[str, Content] = {}
    placements: dict[str, Placement] = {}
    for layer in layers:
        operation = how.get(layer.name)
        if isinstance(operation, BasisMvm):
            contents.setdefault(BASIS, basis_content(operation.basis, hardware, plan.scheme))
            placements[layer.name] = combined(layer, operation.basis, contents[BASIS])
        elif isinstance(operation, Mvm):
            contents[layer.name] = layer_content(layer, hardware, operation.layer.weight_quant.bits)
            placements[layer.name] = direct(layer, contents[layer.name])
    rewritten = frozenset(op.layer for op in plan.operations() if isinstance(op, Program))
    return Placements(contents, placements, rewritten)


def layer_content(layer: IntegerLayer, hardware: Hardware, weight_bits: int) -> Content:
    """The weights of a layer in crossbars of their own."""
    code = WeightCode.of(weight_bits, hardware)
    return Content(code, list(blocks(layer, hardware, code)))


def direct(layer: IntegerLayer, content: Content) -> Placement:
    """A layer on crossbars that hold its weights."""
    parts = (ArrayUse(layer.name, number, block.rows, block.channels) for number, block in enumerate(content.blocks))
    return Placement(tuple(parts), layer.weights.sum(axis=1))


# -- combined from a basis ---------------------------------------------------------------------------------------------


def basis_content(basis: Basis, hardware: Hardware, scheme: str) -> Content:
    """The elements of a basis, (length, vectors), in as many crossbars as its vectors take.

    Raises ImcsimError for a synthetic one.
    """
    if basis.elements == "synthetic":
        hint = "add --option basis=hadamard or a file of imcsim basis fit, take another scheme, or leave out --data"
        raise ImcsimError(f"scheme '{scheme}'", "computes no values: its coefficients are synthetic", hint)
    code = WeightCode.of(basis.basis_bits, hardware)
    elements, width = basis_elements(basis), hardware.crossbar.columns // code.columns
    rows, vectors = np.arange(basis.length), np.arange(basis.vectors)
    starts = range(0, basis.vectors, width)
    return Content(code, [WeightBlock(rows, vectors[s : s + width], elements[:, s : s + width]) for s in starts])


def basis_elements(basis: Basis) -> Integers:
    """(length, vectors) integers: those of a file, or +-1 in rows of a Hadamard matrix (B B^T = vectors * identity)."""
    if basis.elements == "hadamard":
        return np.asarray(hadamard(basis.vectors), np.int64)[: basis.length]
    return load_fitted(basis.elements).elements


def combined(layer: IntegerLayer, basis: Basis, content: Content) -> Placement:
    """A layer from the shared basis, segment by segment: x W ~ scale (x B) C."""
    elements, parts = basis_elements(basis), []
    row_sums = np.zeros(layer.channels, np.int64)
    coefficients, scale = _coefficients(layer, basis, elements)
    for segment, values in zip(basis_segments(layer, basis.length), coefficients, strict=True):
        row_sums[segment.channels] += elements[: len(segment.rows)].sum(axis=0) @ values
        parts += parts_of_segment(segment.rows, segment.channels, values, basis, content)
    placement, own = Placement(tuple(parts), row_sums * scale, scale), _own(layer, basis)
    if own is None:
        return placement
    residual = own.residual.dense(layer.channels, layer.rows) if len(own.residual) else None
    return replace(placement, bias=own.bias.astype(np.int64), residual=residual)


def parts_of_segment(
    rows: Integers, channels: Integers, values: Integers, basis: Basis, content: Content
) -> list[ArrayUse]:
    """A segment with coefficients (vectors, channels): crossbar by crossbar, or as lines across all of them.

    Where currents are summed, an output line runs across the crossbars of a copy of the basis.
    """
    if basis.sum == "analog":
        whole = ArrayUse(BASIS, 0, rows, channels, values, across=len(content.blocks))
        return [in_planes(whole, values, basis.coeff_bits)]
    blocks = enumerate(content.blocks)
    return [ArrayUse(BASIS, number, rows, channels, values[block.channels]) for number, block in blocks]


def basis_segments(layer: IntegerLayer, length: int) -> Iterator[WeightBlock]:
    """The segments of a layer for a basis of a length; small groups share one."""
    return segments(layer, length, max(1, min(layer.groups, length // layer.rows)))


def _coefficients(
    layer: IntegerLayer, basis: Basis, elements: Integers
) -> tuple[list[Integers], float | NDArray[np.float64]]:
    """(vectors, channels) of each segment, and the scale of what they combine."""
    cut, own = list(basis_segments(layer, basis.length)), _own(layer, basis)
    if own is None:
        return [elements[: len(part.rows)].T @ part.weights for part in cut], 1 / basis.vectors
    values = [own.values[number, :, : len(part.channels)].astype(np.int64) for number, part in enumerate(cut)]
    return values, own.scale.astype(np.float64)


def _own(layer: IntegerLayer, basis: Basis) -> LayerCoefficients | None:
    """What the file of a fitted basis has for a layer."""
    return None if basis.elements == "hadamard" else load_fitted(basis.elements).layers[layer.name]


def in_planes(part: ArrayUse, values: Integers, bits: int) -> ArrayUse:
    """Coefficients bit plane by bit plane, plus and minus apart: masks of vectors whose currents are summed."""
    planes = [(sign * values >> bit & 1) * (sign * values > 0) for sign in (1, -1) for bit in range(bits)]
    weights = [sign << bit for sign in (1, -1) for bit in range(bits)]
    masks = np.concatenate(planes, axis=1).astype(bool)
    adds = np.concatenate([weight * np.eye(values.shape[1], dtype=np.int64) for weight in weights])
    used = masks.any(axis=0)
    return replace(part, masks=masks[:, used], coefficients=adds[used])
