"""Find coefficients of basis vectors: sparse by orthogonal matching pursuit, then integers with a scale per kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.mapping.basis.targets import Floats, Target
from imcsim.mapping.kernels import pursuit

STEPS = np.geomspace(1.0, 0.15, 20)  # largest levels that are tried, relative to the largest coefficient
SWEEPS = 3
CHUNK = 8192  # signals whose coefficients are solved for at once

LEVELS: Mapping[str, str] = {
    "uniform": "all integers of so many bits",
    "power-of-two": "those with one bit, so that a product is a shift",
}


def levels_of(kind: str, bits: int) -> Floats:
    """Return the magnitudes that coefficients of a kind in ``LEVELS`` may have, from 0 upward."""
    if kind == "power-of-two":
        return np.concatenate([[0.0], np.exp2(np.arange(bits))])
    return np.arange(2.0**bits)


@dataclass(frozen=True)
class Coded:
    """Hold integer coefficients of a target: ``codes`` (blocks, terms, kernels, M) times ``scales`` (blocks, kernels).

    ``error2``: (blocks, kernels) squared length of what they miss.
    """

    codes: pursuit.Codes
    scales: Floats
    error2: Floats

    def better(self, other: Coded) -> Coded:
        """Take, kernel by kernel, the coefficients that miss less."""
        stays = self.error2 <= other.error2
        codes = np.where(stays[:, None, :, None], self.codes, other.codes)
        return Coded(codes, np.where(stays, self.scales, other.scales), np.minimum(self.error2, other.error2))


def solve(target: Target, elements: Floats, nonzeros: int) -> Floats:
    """Return real coefficients (blocks, terms, kernels, M), at most ``nonzeros`` of a segment and kernel being not 0.

    Segments shorter than the basis use its first rows. Where all vectors may be used, least squares decide, and among
    several solutions the shortest is taken.
    """
    coefficients = np.zeros((*target.kernels.shape[:3], elements.shape[1]))
    for rows in np.unique(target.rows):
        here = target.rows == rows
        signals = target.kernels[here][..., :rows].reshape(-1, rows)
        coefficients[here] = _solved(signals, elements[:rows], nonzeros).reshape(-1, *coefficients.shape[2:])
    return coefficients


def _solved(signals: Floats, vectors: Floats, nonzeros: int) -> Floats:
    if nonzeros == vectors.shape[1]:
        return np.asarray(signals @ np.linalg.pinv(vectors).T)
    lengths = np.linalg.norm(vectors, axis=0)
    unit = vectors / np.where(lengths > 0, lengths, 1.0)
    gram = unit.T @ unit
    starts = range(0, len(signals), CHUNK)
    parts = [pursuit.pursue(gram, signals[s : s + CHUNK] @ unit, nonzeros) for s in starts]
    return np.concatenate(parts) / np.where(lengths > 0, lengths, 1.0)


def encode(target: Target, elements: Floats, nonzeros: int, levels: Floats) -> Coded:
    """Return integer coefficients of a target, with magnitudes from ``levels``."""
    exact = solve(target, elements, nonzeros)
    grams, kinds = _grams(target, elements)
    weights = np.ascontiguousarray(np.diagonal(grams, axis1=1, axis2=2))[kinds]
    codes, scales = pursuit.rounded(weights, exact, levels, STEPS)
    return recode(target, elements, Coded(codes, scales, target.length2), levels)


def recode(target: Target, elements: Floats, before: Coded, levels: Floats) -> Coded:
    """Improve coefficients for these elements; one that is 0 stays 0."""
    grams, kinds = _grams(target, elements)
    codes, scales = before.codes.copy(), before.scales.copy()
    seen = target.kernels @ elements
    explained = pursuit.refined(grams, kinds, seen, codes, scales, levels, SWEEPS)
    return Coded(codes, scales, np.maximum(target.length2 - explained, 0.0))


def _grams(target: Target, elements: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return products of basis vectors over the rows of segments (kinds, M, M), and which is whose (blocks, terms)."""
    rows, kinds = np.unique(target.rows, return_inverse=True)
    grams = np.stack([elements[:n].T @ elements[:n] for n in rows])
    return grams, kinds.reshape(target.rows.shape)
