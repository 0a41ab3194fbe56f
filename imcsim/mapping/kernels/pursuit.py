"""Pursue sparse and integer coefficients of many signals at once, from Gram matrices alone.

Batch OMP after Rubinstein, Zibulevsky and Elad, Technion CS-2008-08. Every signal, and every group of signals with a
scale in common, is computed by one thread in a fixed order, so results do not depend on how many threads there are.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from imcsim.util.compiling import compiled, parallel

Floats = NDArray[np.float64]
Codes = NDArray[np.int16]

BLOCK = 64  # signals that share their scratch memory
DEPENDENT = 1e-10  # squared length, of 1, that is left of a vector which the chosen ones contain
EXACT = 1e-12  # correlation, relative to the first one, at which nothing is left to represent


@parallel
def pursue(gram: Floats, correlations: Floats, nonzeros: int) -> Floats:
    """Return (signals, M) coefficients, at most ``nonzeros`` of them not 0, chosen greedily and refitted at every step.

    ``gram``: (M, M) products of basis vectors of unit length. ``correlations``: (signals, M) products of signals and
    basis vectors. Row i of ``parts`` is what the i-th chosen vector, made orthogonal to those before it and of unit
    length, has in common with every basis vector: at once a row of the Cholesky factor and the update of all
    correlations.
    """
    signals, n_vectors = correlations.shape
    coefficients = np.zeros_like(correlations)
    for block in prange((signals + BLOCK - 1) // BLOCK):
        parts = np.empty((nonzeros, n_vectors))
        amounts = np.empty(nonzeros)
        chosen = np.empty(nonzeros, np.int64)
        for signal in range(block * BLOCK, min((block + 1) * BLOCK, signals)):
            left = correlations[signal].copy()
            count = _choose(gram, left, parts, amounts, chosen)
            for i in range(count - 1, -1, -1):
                value = amounts[i]
                for later in range(i + 1, count):
                    value -= parts[i, chosen[later]] * coefficients[signal, chosen[later]]
                coefficients[signal, chosen[i]] = value / parts[i, chosen[i]]
    return coefficients


@compiled
def _choose(gram: Floats, left: Floats, parts: Floats, amounts: Floats, chosen: NDArray[np.int64]) -> int:
    """Fill ``parts``, ``amounts`` and ``chosen`` for one signal whose correlations are ``left``; return how many."""
    first = 0.0
    for i in range(len(chosen)):
        best = np.argmax(np.abs(left))
        size = abs(left[best])
        first = max(first, size)
        length2 = gram[best, best]
        for before in range(i):
            length2 -= parts[before, best] ** 2
        if size <= EXACT * first or length2 < DEPENDENT:
            return i
        row = gram[best].copy()
        for before in range(i):
            row -= parts[before, best] * parts[before]
        row /= np.sqrt(length2)
        amounts[i] = left[best] / row[best]
        left -= amounts[i] * row
        left[best] = 0.0
        parts[i] = row
        chosen[i] = best
    return len(chosen)


@compiled
def _nearest(levels: Floats, x: float) -> float:
    """Return the level nearest to x, with its sign."""
    size = abs(x)
    above = min(int(np.searchsorted(levels, size)), len(levels) - 1)
    below = max(above - 1, 0)
    level: float = levels[above] if levels[above] - size < size - levels[below] else levels[below]
    return level if x >= 0 else -level


@parallel
def rounded(weights: Floats, coefficients: Floats, levels: Floats, steps: Floats) -> tuple[Codes, Floats]:
    """Return the levels nearest to coefficients over a scale for each kernel, and the scales (blocks, kernels).

    ``coefficients``: (blocks, terms, kernels, M). ``weights``: (blocks, terms, M), what one squared error of a
    coefficient costs. ``levels``: from 0 upward. ``steps``: largest levels that are tried, relative to the largest
    coefficient; the one that costs least is taken.
    """
    blocks, terms, kernels, n_vectors = coefficients.shape
    codes, scales = np.zeros(coefficients.shape, np.int16), np.ones((blocks, kernels))
    for number in prange(blocks * kernels):
        b, kernel = number // kernels, number % kernels
        top = 0.0
        for t in range(terms):
            top = max(top, np.abs(coefficients[b, t, kernel]).max())
        if top == 0.0:
            continue
        least = np.inf
        for step in steps:
            scale, cost = step * top / levels[-1], 0.0
            for t in range(terms):
                for m in range(n_vectors):
                    exact = coefficients[b, t, kernel, m]
                    if exact != 0.0:
                        cost += weights[b, t, m] * (exact - scale * _nearest(levels, exact / scale)) ** 2
            if cost < least:
                least, scales[b, kernel] = cost, scale
        for t in range(terms):
            for m in range(n_vectors):
                codes[b, t, kernel, m] = int(_nearest(levels, coefficients[b, t, kernel, m] / scales[b, kernel]))
    return codes, scales


@parallel
def refined(
    grams: Floats, kinds: NDArray[np.int64], correlations: Floats, codes: Codes, scales: Floats, levels: Floats,
    sweeps: int,
) -> Floats:  # fmt: skip
    """Improve codes, one by one, and scales in place; return (blocks, kernels) squared length that they explain.

    Codes that are 0 stay so. ``grams``: (kinds, M, M); ``kinds``: (blocks, terms), which of them is a term's.
    ``correlations``, ``codes``: (blocks, terms, kernels, M). Every step is the best one by itself, so no sweep makes
    the error larger.
    """
    blocks, terms, kernels, n_vectors = correlations.shape
    explained = np.zeros((blocks, kernels))
    for number in prange(blocks * kernels):
        b, kernel = number // kernels, number % kernels
        chosen = codes[b, :, kernel] != 0
        for sweep in range(sweeps + 1):
            along, length2 = 0.0, 0.0
            for t in range(terms):
                gram, scale = grams[kinds[b, t]], scales[b, kernel]
                code, seen = codes[b, t, kernel], correlations[b, t, kernel]
                common = np.zeros(n_vectors)
                for m in range(n_vectors):
                    if code[m] != 0:
                        common += code[m] * gram[m]
                for m in range(n_vectors):
                    if sweep > 0 and chosen[t, m] and gram[m, m] > 0.0:
                        better = int(_nearest(levels, code[m] + (seen[m] / scale - common[m]) / gram[m, m]))
                        if better != code[m]:
                            common += (better - code[m]) * gram[m]
                            code[m] = better
                for m in range(n_vectors):
                    along += code[m] * seen[m]
                    length2 += code[m] * common[m]
            if along > 0.0 and length2 > 0.0:
                scales[b, kernel] = along / length2
            explained[b, kernel] = along**2 / length2 if along > 0.0 and length2 > 0.0 else 0.0
    return explained
