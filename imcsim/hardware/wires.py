"""Compute IR drop: what the resistance of its wires makes of a crossbar of linear cells, exactly and by a cheap model.

Row i is driven from the left at v_i behind ``driver_ohm``; column j ends at the bottom in ``sense_ohm`` and a virtual
ground. Every cell adds one segment to both its wires: a wordline's first one lies between driver and first cell, a
bitline's last one between last cell and sense. Currents are linear in the voltages, so the exact solution is a matrix:
i = v @ G_eff.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from imcsim.hardware.kernels import ladder
from imcsim.util.errors import ImcsimError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CellCurrent = Callable[[Floats, Floats], Floats]  # (V over the cells, their uS at 0 V) -> uA, element by element
USIEMENS_PER_SIEMENS = 1e6


@dataclass(frozen=True)
class Wires:
    """Hold the resistances of one crossbar; any may be 0."""

    wordline_ohm: float  # per cell
    bitline_ohm: float  # per cell
    driver_ohm: float = 0.0
    sense_ohm: float = 0.0

    def __post_init__(self) -> None:
        """Raise ImcsimError for a resistance that is none."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ImcsimError(f"wires.{field.name}", f"{value} is no resistance", "give a finite number >= 0")

    @property
    def wordline(self) -> tuple[float, float]:
        """Return the resistance to the first cell of a wordline and from cell to cell, in 1/uS."""
        return (self.driver_ohm + self.wordline_ohm) / USIEMENS_PER_SIEMENS, self.wordline_ohm / USIEMENS_PER_SIEMENS

    @property
    def bitline(self) -> tuple[float, float]:
        """Return the resistance to the first cell of a bitline, from its sense end, and from cell to cell, in 1/uS."""
        return (self.sense_ohm + self.bitline_ohm) / USIEMENS_PER_SIEMENS, self.bitline_ohm / USIEMENS_PER_SIEMENS


def effective_usiemens(g_usiemens: Floats, wires: Wires) -> Floats:
    """Return G_eff (rows, columns), exact: the currents in uA of inputs v (n, rows) in V are v @ G_eff.

    ``g_usiemens``: (rows, columns), >= 0. From the top row down, the bitlines above a row are a Norton source, that is
    short-circuit currents and an admittance matrix: each row adds its own, and every segment is a resistance in series.
    Costs (shorter side)^2 (longer side) (both sides) multiply-adds. Raises ImcsimError for cells that are none.
    """
    g = _checked(g_usiemens)
    rows, columns = g.shape
    if columns > rows:  # reciprocity: the same network, driven at its senses and sensed at its drivers
        turned = Wires(wires.bitline_ohm, wires.wordline_ohm, wires.sense_ohm, wires.driver_ohm)
        return effective_usiemens(g[::-1, ::-1].T, turned)[::-1, ::-1].T
    norton = np.zeros((columns, columns + rows))
    for row in range(rows):
        ladder.add_line(norton, row, g[row], *wires.wordline)
        segment = wires.bitline[row < rows - 1]
        if segment:
            ladder.add_series(norton, segment, columns + row + 1)
    return np.ascontiguousarray(norton[:, columns:].T)


def ladder_usiemens(g_usiemens: Floats, wires: Wires) -> Floats:
    """Return the cheap model of G_eff (rows, columns): each line as if those across it had no resistance.

    Exact where only one kind of line has resistance, else to first order in the resistances (``ladder_error_frac``).
    """
    g = _checked(g_usiemens)
    along_rows = ladder.arriving(g, *wires.wordline)
    along_columns = ladder.arriving(np.ascontiguousarray(g[::-1].T), *wires.bitline).T[::-1]
    return np.asarray(g * along_rows * along_columns)


def ladder_error_frac(g_usiemens: Floats, wires: Wires) -> float:
    """Return the largest error of a column current by the cheap model over the largest one, inputs from 0 to 1 V."""
    exact = effective_usiemens(g_usiemens, wires)
    wrong = ladder_usiemens(g_usiemens, wires) - exact
    worst = np.maximum(wrong.clip(min=0).sum(axis=0), abs(wrong.clip(max=0).sum(axis=0))).max()
    return float(worst / exact.sum(axis=0).max())


class Network:
    """Solve all nodes of a crossbar with one sparse LU: the slower way to G_eff, and the one for nonlinear cells.

    Nodes are the drivers, the senses, and what lies between segments of resistance; a resistance of 0 joins nodes.
    """

    def __init__(self, g_usiemens: Floats, wires: Wires) -> None:
        """Factorise the network of ``g_usiemens``, (rows, columns), >= 0.

        Raises ImcsimError for cells that are none.
        """
        self.g = _checked(g_usiemens)
        rows, columns = self.g.shape
        words = _Lines(np.arange(rows), columns, *wires.wordline, rows + columns)
        bits = _Lines(rows + np.arange(columns), rows, *wires.bitline, rows + columns + self.g.size)
        cells = np.stack([words.nodes[:, 1:].ravel(), bits.nodes[:, :0:-1].T.ravel()])
        edges = _differences(np.concatenate([cells, words.segments, bits.segments], axis=1))
        usiemens = np.concatenate([self.g.ravel(), words.usiemens, bits.usiemens])
        laplacian = (edges.T @ sparse.diags_array(usiemens) @ edges).tocsc()
        self._cells = edges[: self.g.size]  # (cells, nodes): a cell's voltage from those of the nodes
        self._ends, self._inner = slice(0, rows + columns), slice(rows + columns, None)
        self._to_inner, self._to_ends = laplacian[self._inner, self._ends], laplacian[self._ends]
        inner = laplacian[self._inner, self._inner]
        options = {"SymmetricMode": True}
        self._lu = splu(inner, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options) if inner.shape[0] else None

    def effective_usiemens(self) -> Floats:
        """Return G_eff (rows, columns) as the function of that name; by the adjoint, one solution for each column."""
        rows, columns = self.g.shape
        potentials = np.zeros((rows + columns, columns))
        potentials[rows:] = np.eye(columns)
        return np.asarray(-(self._to_ends @ self._nodes(potentials))[:rows])

    def nonlinear_ua(self, v: Floats, cell_ua: CellCurrent, tolerance_v: float = 1e-9, max_steps: int = 100) -> Floats:
        """Return currents in uA (n, columns) of inputs ``v`` (n, rows) in V through cells that follow ``cell_ua``.

        ``cell_ua`` takes the voltages of the cells, (n, rows, columns), and their uS at 0 V, (rows, columns). What a
        cell carries beyond its linear part is injected as a source, and found again from the new voltages, until no
        cell's voltage moves by more than ``tolerance_v``. Raises ImcsimError where ``max_steps`` steps do not do.
        """
        rows, columns = self.g.shape
        potentials = np.zeros((rows + columns, len(v)))
        potentials[:rows] = np.asarray(v, float).T
        nodes = self._nodes(potentials)
        for _ in range(max_steps):
            across = self._cells @ nodes
            cells_v = across.T.reshape(len(v), rows, columns)
            beyond = (cell_ua(cells_v, self.g) - self.g * cells_v).reshape(len(v), -1).T
            if not np.all(np.isfinite(beyond)):
                break
            injected = self._cells.T @ beyond
            nodes = self._nodes(potentials, injected)
            if np.abs(self._cells @ nodes - across).max() <= tolerance_v:
                return np.asarray(-(self._to_ends @ nodes + injected[self._ends])[rows:].T)
        raise ImcsimError(
            "wires", f"nonlinear cells do not settle in {max_steps} steps", "lower the voltages or resistances"
        )

    def _nodes(self, potentials: Floats, injected: Floats | None = None) -> Floats:
        """Return all potentials from those of the ends; ``injected`` leaves each node through its cells, in uA."""
        if self._lu is None:
            return potentials
        known = -(self._to_inner @ potentials) - (0.0 if injected is None else injected[self._inner])
        return np.concatenate([potentials, self._lu.solve(known)])


def sinh_cell(scale_v: float) -> CellCurrent:
    """Return I = G s sinh(V / s): tunnelling and hopping cells; nearly linear far below ``scale_v``."""
    return lambda v, g: np.asarray(g * scale_v * np.sinh(v / scale_v))


def cubic_cell(cubic_per_v2: float) -> CellCurrent:
    """Return I = G (V + c V^3)."""
    return lambda v, g: np.asarray(g * (v + cubic_per_v2 * v**3))


class _Lines:
    """Number the nodes (n_lines, n_cells + 1) of lines from their ends on, and the segments between them."""

    def __init__(self, ends: Ints, n_cells: int, first: float, wire: float, free: int) -> None:
        resistances = np.full(n_cells, wire)
        resistances[0] = first
        nodes = [ends]
        for k, resistance in enumerate(resistances):
            nodes.append(free + k * len(ends) + np.arange(len(ends)) if resistance else nodes[-1])
        self.nodes = np.stack(nodes, axis=1)
        real = resistances > 0
        self.segments = np.stack([self.nodes[:, :-1][:, real].ravel(), self.nodes[:, 1:][:, real].ravel()])
        self.usiemens = np.tile(1 / resistances[real], len(ends))


def _differences(edges: Ints) -> sparse.csr_array:
    """Return (n_edges, n_nodes): potential at the beginning less that at the end of each edge.

    Nodes are numbered without gaps.
    """
    used, index = np.unique(edges, return_inverse=True)
    n = edges.shape[1]
    signs, at = np.repeat([1.0, -1.0], n), np.tile(np.arange(n), 2)
    return sparse.csr_array((signs, (at, index.ravel())), shape=(n, used.size))


def _checked(g_usiemens: Floats) -> Floats:
    g = np.ascontiguousarray(g_usiemens, dtype=float)
    if g.ndim != 2 or not g.size or not np.all(np.isfinite(g) & (g >= 0)):
        raise ImcsimError("wires", "conductances must be a matrix of finite numbers >= 0")
    return g
