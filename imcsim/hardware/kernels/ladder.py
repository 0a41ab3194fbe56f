"""Solve lines of resistors with cells hanging on them: what of a voltage arrives, and what others see of a whole line.

A line starts at its driver, passes ``first`` to its first cell and ``wire`` from cell to cell. Conductances are in uS,
resistances in 1/uS, and a resistance may be 0. No library for linear algebra is called: its threads would wait for each
other for most of the time on a busy machine, and the result would depend on their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.util.compiling import compiled, contracted

Floats = NDArray[np.float64]
PANEL = 8


@compiled
def fill_passed_shares(g: Floats, first: float, wire: float, factors: Floats) -> None:
    """Fill ``factors`` (n,): voltage behind each segment over that before it, the far ends of the cells ``g`` grounded.

    From the far end to the near one: a segment r that feeds a conductance s passes 1 / (1 + r s).
    """
    behind = 0.0
    for k in range(len(g) - 1, -1, -1):
        load = g[k] + behind
        factors[k] = 1 / (1 + (wire if k else first) * load)
        behind = load * factors[k]


@compiled
def arriving(g: Floats, first: float, wire: float) -> Floats:
    """Return the share of a driver's voltage that reaches each cell of lines ``g`` (n_lines, n), grounded behind."""
    shares = np.empty(g.shape)
    for i in range(g.shape[0]):
        fill_passed_shares(g[i], first, wire, shares[i])
        for k in range(1, g.shape[1]):
            shares[i, k] *= shares[i, k - 1]
    return shares


@compiled
def add_line(norton: Floats, line: int, g: Floats, first: float, wire: float) -> None:
    """Add the admittance of one driven line, seen from the far ends of its n cells, to ``norton`` (n, n + n_lines).

    The first n columns gain the upper half of D - D T D, where D = diag(g) and T[k, m] is the voltage at the line's
    node m per current into its node k; column n + ``line`` becomes the short-circuit currents per volt of the driver.
    T[k, k] follows from node to node; T[k, m] is T[k, k] times what the segments k + 1 .. m pass.
    """
    n = len(g)
    factors = np.empty(n)
    fill_passed_shares(g, first, wire, factors)
    arrives, shared = 1.0, 0.0
    for k in range(n):
        arrives *= factors[k]
        shared = shared * factors[k] ** 2 + (wire if k else first) * factors[k]
        norton[k, n + line] = g[k] * arrives
        norton[k, k] += g[k] * (1 - shared * g[k])
        back = g[k] * shared
        for m in range(k + 1, n):
            back *= factors[m]
            norton[k, m] -= back * g[m]


@contracted
def subtract_products(norton: Floats, used: int, panel: Floats, factors: Floats) -> None:
    """Compute norton[m, c] -= sum over a of factors[a] panel[a, m] panel[a, c], for c from m to ``used``.

    Only unsigned indices let the compiler use vectors here; that is three times as fast.
    """
    for m in range(norton.shape[0]):
        f0, f1, f2, f3, f4, f5, f6, f7 = (
            factors[0] * panel[0, m], factors[1] * panel[1, m], factors[2] * panel[2, m], factors[3] * panel[3, m],
            factors[4] * panel[4, m], factors[5] * panel[5, m], factors[6] * panel[6, m], factors[7] * panel[7, m],
        )  # fmt: skip
        row = np.uint64(m)
        for c in range(row, np.uint64(used)):
            norton[row, c] -= (
                f0 * panel[0, c] + f1 * panel[1, c] + f2 * panel[2, c] + f3 * panel[3, c]
                + f4 * panel[4, c] + f5 * panel[5, c] + f6 * panel[6, c] + f7 * panel[7, c]
            )  # fmt: skip


@contracted
def add_series(norton: Floats, resistance: float, used: int) -> None:
    """Put a resistance behind each of the n ports of ``norton``, whose first ``used`` columns are in use.

    One port after another: its row p, at p_k on the diagonal, takes r / (1 + r p_k) p^T p away (Sherman and Morrison).
    Eight rows are brought up to date by themselves (``panel``) before the others hear of them, which spares memory.
    """
    n = norton.shape[0]
    panel, factors = np.empty((PANEL, used)), np.empty(PANEL)
    for start in range(0, n, PANEL):
        panel[:], factors[:] = 0.0, 0.0
        for a in range(min(PANEL, n - start)):
            k = start + a
            panel[a, :k], panel[a, k:] = norton[:k, k], norton[k, k:used]
            for b in range(a):
                factor = factors[b] * panel[b, k]
                for c in range(used):
                    panel[a, c] -= factor * panel[b, c]
            factors[a] = resistance / (1 + resistance * panel[a, k])
        subtract_products(norton, used, panel, factors)
