"""Pulse, read, repeat: thousands of cells are in step with each other, so that one instruction serves many of them.

A block of cells takes one turn after another: each cell that is not yet in its band takes a pulse and a read. Cells
that have finished idle in their slots until a quarter of the slots is idle; then those left move together.

Turn and cell decide the two random numbers of a turn, a Box-Muller pair from 64 hashed bits as in ``noise.py``, so a
result depends on neither threads nor blocks; the tails are right to 6 sigma, and no number exceeds 6.66.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange
from numpy.typing import NDArray

from imcsim.util.compiling import compiled, inlined, parallel
from imcsim.util.kernels.counter_noise import bits_of, direction, mixed, squared_radius

if TYPE_CHECKING:
    from imcsim.hardware.pulsed_cell import PulsedCell

Floats = NDArray[np.float64]
BLOCK = 1024  # cells in step; what they need stays in the second-level cache
# rows of scratch: float64 (RUN: pulses in one direction, negative downwards; PLACE: the cell), uint32, float32
TARGET, G, MISSING, FACTOR, RUN, PULSES, PLACE, STATE_SIZE = (BLOCK * i for i in range(8))
LOW, HIGH, KEYS_SIZE = (BLOCK * i for i in range(3))
VARIED, NOISE, DRAWN_SIZE = (BLOCK * i for i in range(3))


@inlined
def draw(keys, turn, n, drawn):  # type: ignore[no-untyped-def]
    """Draw two standard normal numbers for each of n slots: variation of the step, noise of the read after it."""
    for i in range(n):
        low, high = keys[LOW + i], keys[HIGH + i]
        radius = np.float32(math.sqrt(squared_radius(bits_of(low, high, np.uint32(2 * turn)))))
        cosine, sine = direction(bits_of(low, high, np.uint32(2 * turn + 1)))
        drawn[VARIED + i], drawn[NOISE + i] = radius * cosine, radius * sine


@inlined
def pulse(state, drawn, n, cell):  # type: ignore[no-untyped-def]
    """Give one pulse and one read to those of n slots that need them; return how many need another."""
    left = 0
    for i in range(n):
        missing, g, run = state[MISSING + i], state[G + i], state[RUN + i]
        is_moved, is_low = abs(missing) > cell.band_usiemens, missing > 0
        before = max(run, 0.0) if is_low else max(-run, 0.0)
        step = (cell.set_step_usiemens if is_low else -cell.reset_step_usiemens) * state[FACTOR + i]
        moved = g + step * (1 + cell.growth_frac * before) * (1 + cell.step_sigma_frac * np.float64(drawn[VARIED + i]))
        moved = min(max(moved, cell.g_min_usiemens), cell.g_max_usiemens)
        seen = state[TARGET + i] - cell.read_sigma_usiemens * np.float64(drawn[NOISE + i]) - moved
        state[RUN + i] = before + 1 if is_low else -before - 1
        state[PULSES + i] += 1.0 if is_moved else 0.0
        state[G + i] = moved if is_moved else g
        state[MISSING + i] = seen if is_moved else missing
        left += 1 if is_moved and abs(seen) > cell.band_usiemens else 0
    return left


@inlined
def keep(state, keys, n, band, final, pulses, failed):  # type: ignore[no-untyped-def]
    """Note how n slots stand and move those outside their band to the front; how many these are."""
    kept = 0
    for i in range(n):
        place, is_outside = np.int64(state[PLACE + i]), abs(state[MISSING + i]) > band
        final[place], pulses[place], failed[place] = state[G + i], np.int64(state[PULSES + i]), is_outside
        for row in range(0, STATE_SIZE, BLOCK):
            state[row + kept] = state[row + i]
        keys[LOW + kept], keys[HIGH + kept] = keys[LOW + i], keys[HIGH + i]
        kept += is_outside
    return kept


@inlined
def write_block(key, first, n, target, g, factor, cell, cap, final, pulses, failed):  # type: ignore[no-untyped-def]
    """Take all turns of n cells from number ``first`` on."""
    state, keys, drawn = np.zeros(STATE_SIZE), np.zeros(KEYS_SIZE, np.uint32), np.zeros(DRAWN_SIZE, np.float32)
    band, is_noisy = cell.band_usiemens, cell.step_sigma_frac > 0 or cell.read_sigma_usiemens > 0
    for i in range(n):
        cell_key = mixed(key, first + i)
        keys[LOW + i], keys[HIGH + i] = np.uint32(cell_key), np.uint32(cell_key >> np.uint64(32))
    if is_noisy:
        draw(keys, 0, n, drawn)
    for i in range(n):
        place = first + i
        state[TARGET + i], state[G + i], state[FACTOR + i] = target[place], g[place], factor[place]
        state[PLACE + i] = place
        state[MISSING + i] = target[place] - cell.read_sigma_usiemens * np.float64(drawn[NOISE + i]) - g[place]
    n = keep(state, keys, n, band, final, pulses, failed)
    for turn in range(1, cap + 1):
        if n == 0:
            return
        if is_noisy:
            draw(keys, turn, n, drawn)
        left = pulse(state, drawn, n, cell)
        if 4 * left < 3 * n or turn == cap:
            n = keep(state, keys, n, band, final, pulses, failed)


@parallel
def write_blocks(  # type: ignore[no-untyped-def]
    key, target, g, factor, cell, cap, final, pulses, failed
):
    """Write like ``write_cells``, into three arrays; every array is (cells,)."""
    for block in prange((target.size + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        n = min(BLOCK, target.size - first)
        write_block(key, first, n, target, g, factor, cell, cap, final, pulses, failed)


def write_cells(
    key: np.uint64, target: Floats, g: Floats, factor: Floats, cell: PulsedCell, cap: int
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Return final conductances, pulses and failures of all cells; every array is (rows, columns).

    Verify reads are one more than pulses, as a read comes first. No numbers are drawn where both sigmas are 0.
    """
    results = np.empty(target.shape), np.empty(target.shape, np.int64), np.empty(target.shape, np.bool_)
    given, taken = ([array.reshape(-1) for array in arrays] for arrays in ((target, g, factor), results))
    write_blocks(key, *given, cell, cap, *taken)
    return results


@compiled
def normals(key: np.uint64, n_cells: int, n_turns: int) -> NDArray[np.float32]:
    """Return the numbers of cells 0, 1, ... and turns 0, 1, ...: (n_cells, n_turns, 2); the very first is not used."""
    numbers = np.empty((n_cells, n_turns, 2), np.float32)
    keys, drawn = np.zeros(KEYS_SIZE, np.uint32), np.zeros(DRAWN_SIZE, np.float32)
    for cell in range(n_cells):
        cell_key = mixed(key, cell)
        keys[LOW], keys[HIGH] = np.uint32(cell_key), np.uint32(cell_key >> np.uint64(32))
        for turn in range(n_turns):
            draw(keys, turn, 1, drawn)
            numbers[cell, turn] = drawn[VARIED], drawn[NOISE]
    return numbers
