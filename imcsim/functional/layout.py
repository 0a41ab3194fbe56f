"""Place the layers of a network as a plan says: on weights of their own, or combined from the basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from imcsim.functional.encoding import WeightCode
from imcsim.functional.placement import BASIS, ArrayUse, Content, Placement, Placements
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.basis.fitted import LayerCoefficients, load_fitted
from imcsim.mapping.plan import Basis, BasisMvm, Mvm, Plan, Program
from imcsim.mapping.tiling import Tiling, WeightBlock, crossbar_tiling, weight_blocks
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, Integers


def layout(plan: Plan, layers: Sequence[IntegerLayer], hardware: Hardware) -> Placements:
    """Return what a plan makes of the layers of a network.

    Raises ImcsimError for plans whose coefficients are synthetic, from which no values follow.
    """
    operations = {op.layer.name: op for op in plan.operations() if isinstance(op, Mvm | BasisMvm)}
    contents: dict[str, Content] = {}
    placements: dict[str, Placement] = {}
    for layer in layers:
        operation = operations.get(layer.name)
        if isinstance(operation, BasisMvm):
            contents.setdefault(BASIS, basis_content(operation.basis, hardware, plan.scheme))
            placements[layer.name] = combined(layer, operation.basis, contents[BASIS])
        elif isinstance(operation, Mvm):
            contents[layer.name] = layer_content(layer, hardware, operation.layer.weight_quant.bits)
            placements[layer.name] = direct(layer, contents[layer.name])
    rewritten = frozenset(op.layer for op in plan.operations() if isinstance(op, Program))
    return Placements(contents, placements, rewritten)


def layer_content(layer: IntegerLayer, hardware: Hardware, weight_bits: int) -> Content:
    """Return the weights of a layer in crossbars of their own.

    Raises ImcsimError where a weight takes more columns than a crossbar has.
    """
    tiling = crossbar_tiling(layer, weight_bits, hardware)
    return Content(WeightCode.of(weight_bits, hardware), list(weight_blocks(layer, tiling)))


def direct(layer: IntegerLayer, content: Content) -> Placement:
    """Place a layer on crossbars that hold its weights."""
    parts = (ArrayUse(layer.name, number, block.rows, block.channels) for number, block in enumerate(content.blocks))
    return Placement(tuple(parts), layer.weights.sum(axis=1))


# -- combined from a basis ---------------------------------------------------------------------------------------------


def basis_content(basis: Basis, hardware: Hardware, scheme: str) -> Content:
    """Return the elements of a basis, (length, vectors), in as many crossbars as its vectors take.

    Raises ImcsimError for a synthetic one.
    """
    if basis.elements == "synthetic":
        hint = "add --option basis=hadamard or a file of imcsim basis fit, take another scheme, or leave out --data"
        raise ImcsimError(f"scheme '{scheme}'", "computes no values: its coefficients are synthetic", hint)
    elements = basis_elements(basis)
    blocks = [
        WeightBlock(np.array(rows), np.array(vectors), elements[:, vectors.start : vectors.stop])
        for rows, vectors, _ in basis.tiling(hardware).blocks()
    ]
    return Content(WeightCode.of(basis.basis_bits, hardware), blocks)


def basis_elements(basis: Basis) -> Integers:
    """Return (length, vectors) integers: those of a file, or +-1 in rows of a Hadamard matrix.

    The rows of a Hadamard matrix are orthogonal: B B^T = vectors * identity.
    """
    if basis.elements == "hadamard":
        return np.asarray(hadamard(basis.vectors), np.int64)[: basis.length]
    return load_fitted(basis.elements).elements


def combined(layer: IntegerLayer, basis: Basis, content: Content) -> Placement:
    """Place a layer on the shared basis, segment by segment: x W ~ scale (x B) C."""
    elements, stored = basis_elements(basis), _stored(layer, basis)
    segments = list(weight_blocks(layer, Tiling.of(layer, basis.length)))
    coefficients, scale = _coefficients(segments, basis, elements, stored)
    parts, row_sums = [], np.zeros(layer.channels, np.int64)
    for segment, values in zip(segments, coefficients, strict=True):
        row_sums[segment.channels] += elements[: len(segment.rows)].sum(axis=0) @ values
        parts += parts_of_segment(segment.rows, segment.channels, values, basis, content)
    placement = Placement(tuple(parts), row_sums * scale, scale)
    if stored is None:
        return placement
    residual = stored.residual.dense(layer.channels, layer.rows) if len(stored.residual) else None
    return replace(placement, bias=stored.bias.astype(np.int64), residual=residual)


def _stored(layer: IntegerLayer, basis: Basis) -> LayerCoefficients | None:
    """Return what the file of a fitted basis has for a layer."""
    return None if basis.elements == "hadamard" else load_fitted(basis.elements).layers[layer.name]


def _coefficients(
    segments: Sequence[WeightBlock], basis: Basis, elements: Integers, stored: LayerCoefficients | None
) -> tuple[list[Integers], float | NDArray[np.float64]]:
    """Return (vectors, channels) of each segment, and the scale of what they combine."""
    if stored is None:
        return [elements[: len(segment.rows)].T @ segment.weights for segment in segments], 1 / basis.vectors
    values = [
        values[:, : len(segment.channels)].astype(np.int64)
        for values, segment in zip(stored.values, segments, strict=True)
    ]
    return values, stored.scale.astype(np.float64)


def parts_of_segment(
    rows: Integers, channels: Integers, values: Integers, basis: Basis, content: Content
) -> list[ArrayUse]:
    """Return the uses of a segment with coefficients (vectors, channels): by crossbar, or as lines across all of them.

    Where currents are summed, an output line runs across the crossbars of a copy of the basis.
    """
    if basis.sum == "analog":
        line = ArrayUse(BASIS, 0, rows, channels, values, across=len(content.blocks))
        return [in_planes(line, values, basis.coeff_bits)]
    blocks = enumerate(content.blocks)
    return [ArrayUse(BASIS, number, rows, channels, values[block.channels]) for number, block in blocks]


def in_planes(part: ArrayUse, values: Integers, bits: int) -> ArrayUse:
    """Return a use with its coefficients in bit planes, plus and minus apart: masks of vectors whose currents add."""
    planes = [(sign * values >> bit & 1) * (sign * values > 0) for sign in (1, -1) for bit in range(bits)]
    weights = [sign << bit for sign in (1, -1) for bit in range(bits)]
    masks = np.concatenate(planes, axis=1).astype(bool)
    adds = np.concatenate([weight * np.eye(values.shape[1], dtype=np.int64) for weight in weights])
    used = masks.any(axis=0)
    return replace(part, masks=masks[:, used], coefficients=adds[used])
