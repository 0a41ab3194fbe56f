"""Fit coefficients anew to the basis that a chip really has, as it was measured after it was written.

Errors of a shared basis are common to all layers, so that other coefficients, which are digital, make up for some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.basis_measurement import Measurements, Response
from imcsim.functional.layout import parts_of_segment
from imcsim.functional.placement import BASIS, ArrayUse, Content, Placement, Placements
from imcsim.functional.reading import Reading
from imcsim.hardware.devices import Cells
from imcsim.mapping.basis.coefficients import STEPS, SWEEPS, Coded, levels_of
from imcsim.mapping.basis.targets import Floats, Target
from imcsim.mapping.kernels import pursuit
from imcsim.mapping.plan import Basis, BasisMvm, Plan
from imcsim.workload.quantised import IntegerLayer

RIDGE = 1e-9  # relative: vectors that depend on each other get the shortest solution
CODE_BITS = 15  # of a coefficient's magnitude at most
MOST = (1 << CODE_BITS) - 1
LEAST_GAIN = 0.5  # of elements: a converter that loses more of test inputs tells too little of others (assumed)


@dataclass(frozen=True)
class Refitted:
    """Hold the ``layout`` with the new coefficients, and how well they do.

    ``before_frac``, ``after_frac``: how far weights behind the measured basis are from those that the written
    coefficients stand for, root of squares over those of all layers, each by its size.
    """

    layout: Placements
    before_frac: float
    after_frac: float


def refitted(
    layout: Placements,
    plan: Plan,
    layers: Sequence[IntegerLayer],
    cells: Mapping[tuple[str, int], Cells],
    reading: Reading,
) -> Refitted:
    """Return the layout with coefficients of all layers that a basis combines refitted to the basis in ``cells``."""
    measurements = Measurements(layout.contents[BASIS], cells, reading)
    bases = {op.layer.name: op.basis for op in plan.operations() if isinstance(op, BasisMvm)}
    placements, errors2 = dict(layout.placements), np.zeros(3)
    for layer in layers:
        if layer.name in bases:
            before = layout.placements[layer.name]
            placements[layer.name], squares = _placed(layer, before, bases[layer.name], measurements)
            errors2 += squares
    total2, old2, new2 = errors2
    before_frac, after_frac = (float(np.sqrt(error2 / (total2 or 1.0))) for error2 in (old2, new2))
    return Refitted(replace(layout, placements=placements), before_frac, after_frac)


# -- the coefficients --------------------------------------------------------------------------------------------------


class RefitProblem:
    """Judge coefficients of a target, where segments of so many rows see such ``responses``."""

    def __init__(self, target: Target, responses: Mapping[int, Response]) -> None:
        kinds, self.of_term = np.unique(target.rows, return_inverse=True)
        self.of_term = self.of_term.reshape(target.rows.shape)
        self.grams = np.stack([responses[int(rows)].gram for rows in kinds])
        self.seen = np.zeros((*target.kernels.shape[:3], self.grams.shape[1]))
        for at, rows in np.ndenumerate(target.rows):
            self.seen[at] = target.kernels[at][:, :rows] @ responses[int(rows)].elements
        self.length2 = target.length2

    def refit(self, before: Coded, levels: Floats) -> Coded:
        """Return coefficients from ``levels``, none where there was none, expected to miss no more than before.

        For every kernel the better of its old ones, improved, and those of least squares, rounded and improved.
        """
        weights = np.ascontiguousarray(np.diagonal(self.grams, axis1=1, axis2=2))[self.of_term]
        codes, scales = pursuit.rounded(weights, self._least_squares(before.codes != 0), levels, STEPS)
        improved = self._improved(before, levels).better(self._improved(Coded(codes, scales, self.length2), levels))
        return before.better(improved)

    def judged(self, codes: pursuit.Codes, scales: Floats) -> Coded:
        """Return coefficients with the square that they are expected to miss."""
        error2 = self.length2.copy()
        for at, kind in np.ndenumerate(self.of_term):
            values = codes[at] * scales[at[0]][:, None]
            error2[at[0]] += ((values @ self.grams[kind] - 2 * self.seen[at]) * values).sum(axis=1)
        return Coded(codes, scales, error2.clip(0))

    def _improved(self, before: Coded, levels: Floats) -> Coded:
        codes, scales = before.codes.copy(), before.scales.copy()
        pursuit.refined(self.grams, self.of_term, self.seen, codes, scales, levels, SWEEPS)
        return self.judged(codes, scales)

    def _least_squares(self, chosen: NDArray[np.bool_]) -> Floats:
        """Return (blocks, terms, kernels, M) real coefficients, 0 where they are not ``chosen``."""
        solved = np.zeros(chosen.shape)
        for at in np.ndindex(chosen.shape[:3]):
            support = np.flatnonzero(chosen[at])
            gram = self.grams[self.of_term[at[:2]]][np.ix_(support, support)]
            pull = RIDGE * np.trace(gram) or 1.0
            solved[at][support] = np.linalg.solve(gram + pull * np.eye(len(support)), self.seen[at][support])
        return solved


def _levels(codes: pursuit.Codes, bits: int) -> Floats:
    """Return the levels that coefficients have: powers of two stay powers of two."""
    sizes = np.abs(codes.astype(np.int64))
    return levels_of("uniform" if (sizes & sizes - 1).any() else "power-of-two", bits)


# -- from and to a placement -------------------------------------------------------------------------------------------


def _placed(
    layer: IntegerLayer, before: Placement, basis: Basis, measurements: Measurements
) -> tuple[Placement, Floats]:
    """Return the layer with coefficients for the measured basis; squares of its weights, missed before and after.

    It keeps what was written where the measured elements are those aimed at, and where the converter loses most of
    them. Row sums are of what was measured.
    """
    target, codes, scales = written(Target.of(layer, basis.length), before, measurements)
    responses = {int(rows): measurements.of(layer, before, int(rows)) for rows in np.unique(target.rows)}
    fit = RefitProblem(target, responses)
    old = fit.judged(codes, scales)
    squares = [target.length2.sum(), old.error2.sum()]
    ideal = {rows: measurements.ideal[:rows] for rows in responses}
    is_exact = all((response.elements == ideal[rows]).all() for rows, response in responses.items())
    if is_exact or min(response.gain(ideal[rows]) for rows, response in responses.items()) < LEAST_GAIN:
        return before, np.array([*squares, squares[1]])
    new = fit.refit(old, _levels(codes, min(basis.coeff_bits, CODE_BITS)))
    placement = _with(new, target, layer, before, basis, measurements.content, responses)
    return placement, np.array([*squares, new.error2.sum()])


def _with(
    new: Coded, target: Target, layer: IntegerLayer, before: Placement, basis: Basis, content: Content,
    responses: Mapping[int, Response],
) -> Placement:  # fmt: skip
    parts, row_sums, scale = [], np.zeros(layer.channels), np.ones(layer.channels)
    for segment, codes in zip(_segments(before, content), new.codes.reshape(-1, *new.codes.shape[2:]), strict=True):
        rows, channels = segment[0].rows, segment[0].channels
        values = codes[: len(channels)].T.astype(np.int64)
        row_sums[channels] += responses[len(rows)].elements.sum(axis=0) @ values
        parts += parts_of_segment(rows, channels, values, basis, content)
    for channels, kernel_scales in zip(target.channels, new.scales, strict=True):
        scale[channels] = kernel_scales[: len(channels)] * target.unit
    return replace(before, parts=tuple(parts), row_sums=row_sums * scale, scale=scale)


def written(target: Target, before: Placement, measurements: Measurements) -> tuple[Target, pursuit.Codes, Floats]:
    """Return the coefficients of a placement with their scales, and a target of what they stand for on the ideal basis.

    What they stand for may be other weights than those of the network, where coefficients were trained or others are
    computed beside them.
    """
    content, (blocks, terms, kernels) = measurements.content, target.kernels.shape[:3]
    codes = np.zeros((blocks * terms, kernels, measurements.ideal.shape[1]), np.int16)
    for segment_codes, parts in zip(codes, _segments(before, content), strict=True):
        coefficients = np.concatenate([part.by_vector for part in parts]).T
        segment_codes[: len(parts[0].channels)] = coefficients.clip(-MOST, MOST)
    scales, channel_scales = np.ones((blocks, kernels)), np.broadcast_to(before.scale, len(before.row_sums))
    for kernel_scales, channels in zip(scales, target.channels, strict=True):
        kernel_scales[: len(channels)] = channel_scales[channels] / target.unit
    shaped, meant = codes.reshape(blocks, terms, kernels, -1), np.zeros_like(target.kernels)
    for at, rows in np.ndenumerate(target.rows):
        meant[at][:, :rows] = (shaped[at] * scales[at[0]][:, None]) @ measurements.ideal[:rows].T
    return replace(target, kernels=meant), shaped, scales


def _segments(placement: Placement, content: Content) -> list[tuple[ArrayUse, ...]]:
    """Return the parts of a placement by segment: one for each crossbar of the basis, or one across all of them."""
    n_blocks = len(content.blocks) // placement.parts[0].across
    return [placement.parts[first : first + n_blocks] for first in range(0, len(placement.parts), n_blocks)]
