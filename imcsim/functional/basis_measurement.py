"""Measure what the vectors of a written basis are worth on a chip: drive test vectors, read as layers do, then fit.

Conductances alone do not say it: a converter rounds small errors of few cells away and cuts off what its range lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.encoding import InputCode
from imcsim.functional.placement import BASIS, ArrayUse, Content, Placement
from imcsim.functional.reading import Reading
from imcsim.hardware.devices import Cells
from imcsim.mapping.basis.targets import Floats
from imcsim.util import random_streams
from imcsim.workload.quantised import IntegerLayer, Integers

TESTS = 1024  # vectors of one measurement
SPREAD = 1 / 16  # of a test input about zero, of the range of inputs: activations of the shipped ResNet-8 scatter so
MASKS = 2  # output lines for each vector of a basis
FIRST_READ = 1 << 62  # numbers of vectors whose noise no image meets
NEGLIGIBLE = 1e-6  # of the best known combination of elements: what is known less is taken to be as it was aimed at
ROUNDING2 = 1 / 12  # of results, which are whole numbers
ROUNDS = 30  # of the estimate of how far elements are off


@dataclass(frozen=True)
class Response:
    """Hold the ``elements`` (rows, vectors) of a basis as a chip has them.

    ``doubt``: expected square of what one vector still misses, over all its rows; a coefficient costs so much times its
    own square.
    """

    elements: Floats
    doubt: float

    @property
    def gram(self) -> Floats:
        """Return the expected products (vectors, vectors) of the vectors."""
        return np.asarray(self.elements.T @ self.elements + self.doubt * np.eye(self.elements.shape[1]))

    def gain(self, ideal: Floats) -> float:
        """Return what is left of ``ideal`` elements, 1 if all: the factor of their least-squares multiple."""
        return float((self.elements * ideal).sum() / (np.square(ideal).sum() or 1.0))


class Measurements:
    """Measure the responses of a freshly written basis, once for all segments that see the same.

    ``cells``: by content and number of the crossbar.
    """

    def __init__(self, content: Content, cells: Mapping[tuple[str, int], Cells], reading: Reading) -> None:
        self.content, self.cells, self.reading = content, cells, reading.when_fresh()
        self.ideal: Floats = np.concatenate([block.weights for block in content.blocks], axis=1).astype(float)
        self._known: dict[tuple[Any, ...], Response] = {}

    def of(self, layer: IntegerLayer, placement: Placement, rows: int) -> Response:
        """Measure with a layer's inputs, converter range and masks, for a segment that drives the first ``rows``."""
        lines = _lines(placement)
        ranges = self.reading.calibration.layers.get(layer.name)
        key = (rows, layer.input.low, layer.input.high, layer.input.zero, lines, str(ranges))
        if key not in self._known:
            self._known[key] = self._measured(layer, rows, lines)
        return self._known[key]

    def _measured(self, layer: IntegerLayer, rows: int, lines: tuple[int, float] | None) -> Response:
        inputs = sample_inputs(layer, rows, self.reading.seed)
        masks = None if lines is None else sample_masks(self.ideal.shape[1], *lines, self.reading.seed)
        results = np.concatenate([self._results(part, inputs, layer) for part in self._parts(rows, masks)], axis=1)
        connected = np.eye(self.ideal.shape[1]) if masks is None else masks.astype(float)
        return fitted(inputs.astype(float), connected, results.astype(float), self.ideal[:rows])

    def _parts(self, rows: int, masks: NDArray[np.bool_] | None) -> list[ArrayUse]:
        """Return what is read: crossbars one by one, or output lines across all of them."""
        driven, none, numbers = np.arange(rows), np.arange(0), range(len(self.content.blocks))
        if masks is None:
            return [ArrayUse(BASIS, number, driven, none) for number in numbers]
        return [ArrayUse(BASIS, 0, driven, none, masks=masks, across=len(numbers))]

    def _results(self, part: ArrayUse, inputs: Integers, layer: IntegerLayer) -> Integers:
        code, bits = self.content.code, int(layer.input.high - layer.input.low).bit_length()
        cells = [self.cells[BASIS, number] for number in part.numbers]
        readable = self.reading.readable(cells, code, part, layer.name)
        numbers = FIRST_READ + len(part.rows) * TESTS + np.arange(TESTS)
        results = readable.products(inputs, bits, numbers).results
        return code.decode(results, inputs, readable.unit, part.together)


# -- what is driven and connected --------------------------------------------------------------------------------------


def sample_inputs(layer: IntegerLayer, rows: int, seed: int) -> Integers:
    """Draw unsigned inputs (TESTS, rows) about a layer's zero point: half of them 0 where that is the least input.

    Uniform ones would not do: they drive many rows at once, and a converter makes more of errors then.
    """
    high = layer.input.high - layer.input.low
    drawn = random_streams.rng(seed, "refit", "inputs").standard_normal((TESTS, rows))
    return np.asarray(np.rint(InputCode.of(layer).shift + high * SPREAD * drawn).clip(0, high), np.int64)


def _lines(placement: Placement) -> tuple[int, float] | None:
    """Count the vectors on a layer's fullest output line, and their share on all; None if they are read one by one."""
    masks = [part.masks for part in placement.parts if part.masks is not None]
    most = max((part.most_connected for part in placement.parts), default=1)
    return (most, float(np.concatenate(masks, axis=1).mean())) if masks else None


def sample_masks(vectors: int, most: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Draw random masks (vectors, MASKS * vectors) of at most ``most`` vectors, one of which has as many."""
    rng = random_streams.rng(seed, "refit", "masks")
    sizes = rng.binomial(vectors, share, MASKS * vectors).clip(1, most)
    sizes[0] = most
    order = np.argsort(rng.random((vectors, len(sizes))), axis=0)
    return np.asarray(order < sizes)


# -- from results to elements ------------------------------------------------------------------------------------------


def fitted(inputs: Floats, masks: Floats, results: Floats, ideal: Floats) -> Response:
    """Estimate the elements B of ``results`` = ``inputs`` B ``masks`` + noise (n, k), if they scatter about ``ideal``.

    Both variances are estimated from the results, that of the noise from what no B explains. An element then lies
    between least squares and ``ideal``, the nearer to ``ideal`` the less the results say: a ridge whose weight is the
    ratio of the variances, as of James and Stein (Proc. 4th Berkeley Symp. 1, 361, 1961). Where elements differ by no
    more than noise explains they are the ideal ones. It is solved along the principal axes of inputs and of masks,
    ``inputs`` (n, rows) and ``masks`` (vectors, k), in which estimates are independent.
    """
    missed = results - inputs @ ideal @ masks
    (rows2, by_row), (vectors2, by_vector) = np.linalg.eigh(inputs.T @ inputs), np.linalg.eigh(masks @ masks.T)
    power = np.outer(rows2.clip(0), vectors2.clip(0))
    power[power <= NEGLIGIBLE * power.max()] = 0
    seen = power > 0
    common = by_row.T @ inputs.T @ missed @ masks.T @ by_vector
    estimate = np.divide(common, power, where=seen, out=np.zeros_like(power))
    explained = float((np.square(estimate) * power).sum())
    noise2 = max(ROUNDING2, (float(np.square(missed).sum()) - explained) / max(1, missed.size - int(seen.sum())))
    error2 = scatter2(estimate[seen], noise2 / power[seen])
    trust = np.divide(error2 * power, error2 * power + noise2, where=seen & (error2 > 0), out=np.zeros_like(power))
    elements = ideal + by_row @ (estimate * trust) @ by_vector.T
    return Response(elements, float(error2 * (1 - trust).sum() / ideal.shape[1]))


def scatter2(estimates: Floats, variances: Floats) -> float:
    """Return the variance of what was estimated with errors of such ``variances``; 0 where they explain all of it.

    It is taken by moments, weighted by how well each estimate is known at the variance so far.
    """
    variance, tiny = float(np.square(estimates).mean()), np.finfo(float).tiny
    for _ in range(ROUNDS):
        weights = 1 / np.square(np.maximum(variance + variances, tiny**0.5))
        variance = max(0.0, float(np.average(np.square(estimates) - variances, weights=weights / weights.max())))
    return variance
