"""Pulse, read, repeat: one cell after another, rows in parallel, every cell with random numbers of its own.

Random bits: splitmix64 (Steele, Lea and Flood, OOPSLA 2014, doi 10.1145/2660193.2660195), started for each cell at a
hash of key and cell, so that a result depends on neither threads nor order. Normal numbers: the ziggurat of Marsaglia
and Tsang (J. Stat. Softw. 2000, doi 10.18637/jss.v005.i08), exact to the resolution of 53 bits, tails included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

if TYPE_CHECKING:
    from imcsim.cell_writing import PulsedCell

Floats = NDArray[np.float64]
GOLDEN, FACTOR_1, FACTOR_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFT_1, SHIFT_2, SHIFT_3, UNUSED = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
LAYER_MASK = np.uint64(127)
TAIL = 3.442619855899  # where the lowest of 128 layers ends, each of the area
AREA = 9.91256303526217e-3


def _ziggurat() -> Floats:
    """Right edges of the layers from the lowest up, and 0: shape (129,); the lowest is as wide as its area asks."""
    height = math.exp(-(TAIL**2) / 2)
    edges = [AREA / height, TAIL]
    while len(edges) < 128:
        height += AREA / edges[-1]
        edges.append(math.sqrt(-2 * math.log(height)))
    return np.array([*edges, 0.0])


EDGES = _ziggurat()
SIGNED_SHIFT = 7  # takes the bits of the layer away, so that the number has 57 of its own
SCALES = EDGES * 2.0**-56


@njit(cache=True)
def mix(bits: np.uint64) -> np.uint64:
    """Splitmix64's bijective hash of 64 bits."""
    bits = (bits ^ (bits >> SHIFT_1)) * FACTOR_1
    bits = (bits ^ (bits >> SHIFT_2)) * FACTOR_2
    return bits ^ (bits >> SHIFT_3)


@njit(cache=True)
def uniform(bits: np.uint64) -> float:
    """The upper 53 bits as a number inside (0, 1)."""
    return (np.float64(bits >> UNUSED) + 0.5) * 2.0**-53


@njit(cache=True)
def edge_normal(state: np.uint64, layer: np.int64, x: float) -> tuple[np.uint64, float, bool]:
    """What the ziggurat does outside its inner boxes: new state, a normal number, and whether it is accepted."""
    if layer > 0:
        state += GOLDEN
        outer, inner = math.exp((x * x - EDGES[layer] ** 2) / 2), math.exp((x * x - EDGES[layer + 1] ** 2) / 2)
        return state, x, outer + uniform(mix(state)) * (inner - outer) < 1.0
    while True:
        state += GOLDEN
        beyond = -math.log(uniform(mix(state))) / TAIL
        state += GOLDEN
        if -2 * math.log(uniform(mix(state))) > beyond * beyond:
            return state, math.copysign(TAIL + beyond, x), True


@njit(cache=True)
def normal(state: np.uint64) -> tuple[np.uint64, float]:
    """New state and a standard normal number; 98.8 % of them take one hash and one comparison."""
    while True:
        state += GOLDEN
        bits = mix(state)
        layer = np.int64(bits & LAYER_MASK)
        x = np.float64(np.int64(bits) >> SIGNED_SHIFT) * SCALES[layer]
        if abs(x) < EDGES[layer + 1]:
            return state, x
        state, x, accepted = edge_normal(state, layer, x)
        if accepted:
            return state, x


@njit(cache=True)
def begin(key: np.uint64, cell: int) -> np.uint64:
    """The state from which a cell draws."""
    return mix(key ^ mix(np.uint64(cell) * GOLDEN + GOLDEN))


@njit(cache=True)
def normals(key: np.uint64, n_cells: int, n_each: int) -> Floats:
    """The first normal numbers of cells 0, 1, ...: shape (n_cells, n_each)."""
    drawn = np.empty((n_cells, n_each))
    for cell in range(n_cells):
        state = begin(key, cell)
        for i in range(n_each):
            state, drawn[cell, i] = normal(state)
    return drawn


@njit(cache=True)
def write_cell(
    state: np.uint64, target: float, g: float, factor: float, cell: PulsedCell, cap: int
) -> tuple[float, int, bool]:
    """Final conductance of one cell, its pulses, and whether it was given up; verify reads are one more than pulses.

    One normal number for the first read, then two for each round: variation of the step, noise of the next read.
    """
    up, down = cell.set_step_usiemens * factor, -cell.reset_step_usiemens * factor
    next_up, next_down = up, down
    state, noise = normal(state)
    aim = target - cell.read_sigma_usiemens * noise
    for n in range(cap):
        missing = aim - g
        if abs(missing) <= cell.band_usiemens:
            return g, n, False
        state, varied = normal(state)
        state, noise = normal(state)
        aim = target - cell.read_sigma_usiemens * noise
        is_low = missing > 0
        g += (next_up if is_low else next_down) * (1 + cell.step_sigma_frac * varied)
        g = min(max(g, cell.g_min_usiemens), cell.g_max_usiemens)
        next_up = next_up + up * cell.growth_frac if is_low else up
        next_down = down if is_low else next_down + down * cell.growth_frac
    return g, cap, abs(aim - g) > cell.band_usiemens


@njit(cache=True, parallel=True)
def write_cells(
    key: np.uint64, target: Floats, g: Floats, factor: Floats, cell: PulsedCell, cap: int
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Final conductances, pulses and failures of all cells; every array is (rows, columns)."""
    rows, columns = target.shape
    final, pulses, failed = np.empty(target.shape), np.empty(target.shape, np.int64), np.empty(target.shape, np.bool_)
    for row in prange(rows):
        for column in range(columns):
            state = begin(key, row * columns + column)
            final[row, column], pulses[row, column], failed[row, column] = write_cell(
                state, target[row, column], g[row, column], factor[row, column], cell, cap
            )
    return final, pulses, failed
