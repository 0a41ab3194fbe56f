"""Begin a fit: basis vectors of unit length by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import hadamard

from imcsim.mapping.basis.coefficients import solve
from imcsim.mapping.basis.targets import Floats, Target

MOST_SEGMENTS = 8192  # that K-SVD looks at
ROUNDS = 12  # of K-SVD

Start = Callable[[Sequence[Target], int, int, np.random.Generator], Floats]


def random(targets: Sequence[Target], vectors: int, nonzeros: int, rng: np.random.Generator) -> Floats:
    """Draw (length, vectors), orthonormal where there are no more vectors than elements, else several such sets."""
    length = targets[0].kernels.shape[-1]
    sets = [np.linalg.qr(rng.standard_normal((length, length)))[0] for _ in range(-(-vectors // length))]
    return np.concatenate(sets, axis=1)[:, :vectors]


def walsh(targets: Sequence[Target], vectors: int, nonzeros: int, rng: np.random.Generator) -> Floats:
    """Return a corner (length, vectors) of the Hadamard matrix that is just large enough."""
    length = targets[0].kernels.shape[-1]
    order = 1 << (max(length, vectors) - 1).bit_length()
    return np.asarray(hadamard(order)[:length, :vectors] / np.sqrt(length))


def svd(targets: Sequence[Target], vectors: int, nonzeros: int, rng: np.random.Generator) -> Floats:
    """Return the principal components of all segments, strongest first, and random vectors where these are too few."""
    length = targets[0].kernels.shape[-1]
    pooled = [target.kernels.reshape(-1, length) for target in targets]
    moments = sum((part.T @ part for part in pooled), np.zeros((length, length)))
    _, components = np.linalg.eigh(moments)
    return np.concatenate([components[:, ::-1], random(targets, vectors, nonzeros, rng)], axis=1)[:, :vectors]


def ksvd(targets: Sequence[Target], vectors: int, nonzeros: int, rng: np.random.Generator) -> Floats:
    """Run K-SVD from principal components: vector by vector, find a better one for the segments that use it.

    Source: Aharon, Elad and Bruckstein, IEEE Trans. Signal Processing 54(11), 2006, with one power iteration in place
    of each SVD (Rubinstein, Zibulevsky and Elad, Technion CS-2008-08).
    """
    elements, length = svd(targets, vectors, nonzeros, rng), targets[0].kernels.shape[-1]
    pooled = np.concatenate([target.kernels.reshape(-1, length) for target in targets])
    pooled = pooled[rng.permutation(len(pooled))[:MOST_SEGMENTS]]
    sample = Target("sample", pooled[None, None], np.full((1, 1), length), 1.0, (), 0)
    for _ in range(ROUNDS if nonzeros < vectors else 0):
        elements = _ksvd_round(pooled, elements, solve(sample, elements, nonzeros)[0, 0])
    return elements


def _ksvd_round(signals: Floats, elements: Floats, coefficients: Floats) -> Floats:
    elements, missed = elements.copy(), signals - coefficients @ elements.T
    for m in range(elements.shape[1]):
        users = np.flatnonzero(coefficients[:, m])
        if not len(users):
            continue
        wanted = missed[users] + np.outer(coefficients[users, m], elements[:, m])
        direction = wanted.T @ coefficients[users, m]
        elements[:, m] = direction / (np.linalg.norm(direction) or 1.0)
        coefficients[users, m] = wanted @ elements[:, m]
        missed[users] = wanted - np.outer(coefficients[users, m], elements[:, m])
    return elements


STARTS: dict[str, Start] = {"svd": svd, "ksvd": ksvd, "hadamard": walsh, "random": random}
