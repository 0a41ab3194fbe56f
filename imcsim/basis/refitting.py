"""Coefficients fitted anew to the basis that a chip really has, as measured after it was written.

Errors of a shared basis are common to all layers, so that other coefficients, which are digital, make up for some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from imcsim.basis.coefficients import STEPS, Coded, levels_of, recode
from imcsim.basis.targets import Floats, Target
from imcsim.devices import Cells
from imcsim.functional.coding import WeightCode
from imcsim.functional.placement import BASIS, Content, Layout, Part, Placement, parts_of_segment
from imcsim.functional.reading import Reading
from imcsim.kernels import pursuit
from imcsim.plan import Basis, BasisMvm, Plan
from imcsim.quantised import IntegerLayer, Integers

RIDGE = 1e-9  # relative: vectors that depend on each other get the shortest solution
CODE_BITS = 15  # of a coefficient's magnitude at most
MOST = (1 << CODE_BITS) - 1
STEP_BITS = 20  # of a level, to which elements are measured


def refitted(
    layout: Layout, plan: Plan, layers: Sequence[IntegerLayer], cells: Mapping[tuple[str, int], Cells], reading: Reading
) -> Layout:
    """The layout with the coefficients of all layers that a basis combines refitted to the basis in ``cells``."""
    content = layout.contents[BASIS]
    elements = measured(content, cells, reading)
    bases = {op.layer.name: op.basis for op in plan.operations() if isinstance(op, BasisMvm)}
    anew = {
        layer.name: _placed(layer, layout.placements[layer.name], bases[layer.name], content, elements)
        for layer in layers
        if layer.name in bases
    }
    return replace(layout, placements={**layout.placements, **anew})


# -- the measurement ---------------------------------------------------------------------------------------------------


def measured(content: Content, cells: Mapping[tuple[str, int], Cells], reading: Reading) -> Floats:
    """(length, vectors) the elements of a freshly written basis, behind its wires and without noise."""
    blocks = range(len(content.blocks))
    return np.concatenate([_elements(content.code, cells[BASIS, number], reading) for number in blocks], axis=1)


def _elements(code: WeightCode, cells: Cells, reading: Reading) -> Floats:
    """(rows, vectors) of one crossbar: what its code decodes where one row after another is driven by 1."""
    levels = code.by_column(np.asarray(reading.when_fresh().device_levels(cells, code), float))
    one = 1 << STEP_BITS  # results are whole numbers
    return np.asarray(code.decode(levels, one * np.eye(len(levels), dtype=np.int64), unit=one) / one)


# -- the coefficients --------------------------------------------------------------------------------------------------


def refit(target: Target, elements: Floats, before: Coded, levels: Floats) -> Coded:
    """Coefficients from ``levels`` for real ``elements``, none where there was none; none miss more than ``before``.

    For every kernel the better of its old ones, improved, and those of least squares, rounded and improved.
    """
    exact = _least_squares(target, elements, before.codes != 0)
    weights = np.cumsum(np.square(elements), axis=0)[target.rows - 1]
    codes, scales = pursuit.rounded(weights, exact, levels, STEPS)
    anew = Coded(codes, scales, target.length2)
    return recode(target, elements, before, levels).better(recode(target, elements, anew, levels))


def _least_squares(target: Target, elements: Floats, chosen: np.ndarray) -> Floats:
    """(blocks, terms, kernels, M) real coefficients, 0 where they are not ``chosen``."""
    grams = {int(rows): elements[:rows].T @ elements[:rows] for rows in np.unique(target.rows)}
    seen, found = target.kernels @ elements, np.zeros(chosen.shape)
    for at in np.ndindex(chosen.shape[:3]):
        own = np.flatnonzero(chosen[at])
        gram = grams[int(target.rows[at[:2]])][np.ix_(own, own)]
        pull = RIDGE * np.trace(gram) or 1.0
        found[at][own] = np.linalg.solve(gram + pull * np.eye(len(own)), seen[at][own])
    return found


def _levels(codes: pursuit.Codes, bits: int) -> Floats:
    """Those that coefficients have: powers of two stay powers of two."""
    sizes = np.abs(codes.astype(np.int64))
    return levels_of("uniform" if (sizes & sizes - 1).any() else "power-of-two", bits)


# -- from and to a placement -------------------------------------------------------------------------------------------


def _placed(layer: IntegerLayer, before: Placement, basis: Basis, content: Content, elements: Floats) -> Placement:
    """The layer with coefficients for ``elements``, whose row sums are those of what was measured."""
    target = Target.of(layer, basis.length)
    old = coded(target, before, content)
    new = refit(target, elements, old, _levels(old.codes, min(basis.coeff_bits, CODE_BITS)))
    parts, row_sums, scale = [], np.zeros(layer.channels), np.ones(layer.channels)
    for segment, codes in zip(_segments(before, content), new.codes.reshape(-1, *new.codes.shape[2:]), strict=True):
        rows, channels = segment[0].rows, segment[0].channels
        values = codes[: len(channels)].T.astype(np.int64)
        row_sums[channels] += elements[: len(rows)].sum(axis=0) @ values
        parts += parts_of_segment(rows, channels, values, basis, content)
    for channels, own in zip(target.channels, new.scales, strict=True):
        scale[channels] = own[: len(channels)] * target.unit
    return Placement(tuple(parts), row_sums * scale, scale)


def coded(target: Target, placement: Placement, content: Content) -> Coded:
    """The coefficients of a placement, whose error is not known."""
    blocks, terms, kernels = target.kernels.shape[:3]
    codes = np.zeros((blocks * terms, kernels, sum(len(block.channels) for block in content.blocks)), np.int16)
    for own, parts in zip(codes, _segments(placement, content), strict=True):
        found = np.concatenate([_integers(part) for part in parts]).T
        own[: len(parts[0].channels)] = found.clip(-MOST, MOST)
    scales = np.ones((blocks, kernels))
    whole = np.broadcast_to(placement.scale, len(placement.row_sums))
    for own_scales, channels in zip(scales, target.channels, strict=True):
        own_scales[: len(channels)] = whole[channels] / target.unit
    return Coded(codes.reshape(blocks, terms, kernels, -1), scales, target.length2)


def _segments(placement: Placement, content: Content) -> list[tuple[Part, ...]]:
    """The parts of a placement by segment: one for each crossbar of the basis, or one across all of them."""
    n_blocks = len(content.blocks) // placement.parts[0].across
    return [placement.parts[first : first + n_blocks] for first in range(0, len(placement.parts), n_blocks)]


def _integers(part: Part) -> Integers:
    """(vectors of the crossbar, channels) coefficients, put together where they are in bit planes."""
    assert not isinstance(part.coefficients, str)
    return part.coefficients if isinstance(part.masks, str) else part.masks.astype(np.int64) @ part.coefficients
