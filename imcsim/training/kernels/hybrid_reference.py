"""Do what ``hybrid.py`` does in plain numpy: slow, obvious, and what the compiled one is tested against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.kernels.reference import hashed, mixed, pair

Array: TypeAlias = NDArray[Any]


def normal_pair(key: Array, number: Array) -> tuple[Array, Array]:
    """Return the ``number``-th pair of normal numbers of each key."""
    number = np.asarray(number)
    return pair(hashed(key, 2 * number), hashed(key, 2 * number + 1))


def own_keys(key: int, weights: Array) -> Array:
    """Return the key of each weight."""
    return np.asarray(mixed(np.full(weights.shape, key, np.uint64), weights.astype(np.uint64)))


def encoded(value: Array, half: int, code: str) -> Array:
    """Return the bits of accumulators' values."""
    value = value.astype(np.int64)
    if code == "twos_complement":
        return np.asarray(value % (2 * half))
    if code == "sign_magnitude":
        return np.where(value < 0, half - value, value)
    offset = value + half
    return np.asarray(offset ^ (offset >> 1))


@dataclass
class Pairs:
    """Hold the cells of pairs, (2, weights) each, and do to them what befalls them."""

    cell: Any  # a training.physics.Cell
    g: Array
    pulses: Array
    since_s: Array
    exponent: Array
    n_set: Array
    n_reset: Array
    now_s: float = 0.0
    everyone: Array = field(init=False)

    def __post_init__(self) -> None:
        self.everyone = np.arange(self.g.shape[1])

    def _programmed(self, row: int, which: Array, g: Array, normal: Array) -> None:
        cell = self.cell
        log = np.log(np.maximum(g / cell.exponent_full_usiemens, 1e-7))
        mean = np.clip(cell.exponent_log * log + cell.exponent_fixed, cell.exponent_least, cell.exponent_most)
        sigma = np.clip(cell.spread_log * log + cell.spread_fixed, cell.spread_least, cell.spread_most)
        self.g[row, which], self.since_s[row, which] = g, self.now_s
        self.exponent[row, which] = np.abs(mean + sigma * normal)

    def set_pulse(self, row: int, which: Array, normals: tuple[Array, Array]) -> None:
        """Apply one SET pulse to some cells of a row."""
        cell, before = self.cell, self.g[row, which].astype(float)
        self.pulses[row, which] += 1
        history = np.exp(-self.pulses[row, which] / cell.memory_pulses)
        mean = cell.step_by_g * before + cell.step_usiemens + cell.step_by_history * history
        sigma = cell.sigma_by_g * before + cell.sigma_usiemens + cell.sigma_by_history * history
        after = np.clip(before + mean + sigma * normals[0], cell.least_usiemens, cell.full_usiemens)
        self._programmed(row, which, after, normals[1])
        self.n_set[row, which] += 1

    def reset(self, row: int, which: Array, normals: tuple[Array, Array]) -> None:
        """RESET some cells of a row once."""
        cell = self.cell
        after = cell.reset_usiemens + cell.reset_sigma_usiemens * normals[0]
        self.pulses[row, which] = 0
        self._programmed(row, which, np.clip(after, cell.reset_least_usiemens, cell.full_usiemens), normals[1])
        self.n_reset[row, which] += 1

    def drifted(self) -> Array:
        """Return where all cells are by now."""
        age = (self.now_s - self.since_s) / self.cell.first_read_s
        return np.asarray(self.g * (1 + age) ** -self.exponent)

    def seen(self, g: Array, normal: Array) -> Array:
        """Return what one read of cells at ``g`` shows."""
        return np.asarray(np.maximum(g + (self.cell.read_by_g * g + self.cell.read_usiemens) * normal, 0))

    def read(self, key: int, scale: float) -> Array:
        """Return weights as one read of all cells shows them."""
        normals = normal_pair(np.full(self.everyone.shape, key, np.uint64), self.everyone)
        plus, minus = (self.seen(g, normal) for g, normal in zip(self.drifted(), normals, strict=True))
        return scale * (plus - minus)

    def carry(self, key: int, carries: Array, most_pulses: int) -> None:
        """Apply the SET pulses for the carries of an update."""
        for row, sign in enumerate((1, -1)):
            left = np.minimum(np.maximum(sign * carries.astype(int), 0), most_pulses)
            for pulse in range(int(left.max(initial=0))):
                which = np.flatnonzero(left > pulse)
                self.set_pulse(row, which, normal_pair(own_keys(key, which), np.full(which.shape, pulse)))

    def write(self, key: int, which: Array, aim: Array, band: float, most_pulses: int) -> None:
        """RESET some pairs; pulse the cell that carries the sign until a read is within the band."""
        for row in range(2):
            self.reset(row, which, normal_pair(own_keys(key, which), np.full(which.shape, 1 + row)))
        for row in range(2):
            mine = (aim > 0) == (row == 0)
            left, size = which[mine], np.abs(aim[mine])
            for pulse in range(most_pulses):
                keys, number = own_keys(key, left), np.full(left.shape, 3 + 2 * pulse)
                check, _ = normal_pair(keys, number)
                short = size - self.seen(self.g[row, left].astype(float), check) >= band
                left, size = left[short], size[short]
                self.set_pulse(row, left, normal_pair(keys[short], number[short] + 1))

    def refresh(self, key: int, larger: float, smaller: float, band: float, most_pulses: int) -> Array:
        """Rewrite pairs with one cell read above ``larger``, the other above ``smaller``; return which those are."""
        normals = normal_pair(own_keys(key, self.everyone), np.zeros(self.everyone.shape, int))
        plus, minus = (self.seen(g, normal) for g, normal in zip(self.drifted(), normals, strict=True))
        due = (np.maximum(plus, minus) > larger) & (np.minimum(plus, minus) > smaller)
        self.write(key, self.everyone[due], (plus - minus)[due], band, most_pulses)
        return due


def accumulate(key: int, amounts: Array, is_stochastic: bool, half: int, value: Array) -> tuple[Array, Array]:
    """Return (accumulators, carries) after amounts, float32 in units of the accumulator, were rounded and added."""
    weights = np.arange(amounts.size)
    bits = hashed(np.full(amounts.shape, key, np.uint64), weights)
    chance = (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24) if is_stochastic else np.float32(0.5)
    total = value.astype(np.int64) + np.floor(amounts + chance).astype(np.int64)
    carries = np.trunc(total / half).astype(np.int64)
    return total - carries * half, carries


def quantise(x: Array, step: float, most: int, key: int, is_stochastic: bool) -> Array:
    """Return ``x`` as multiples of ``step`` from -most to most, rounded to the nearest or by chance."""
    bits = hashed(np.full(x.shape, key, np.uint64), np.arange(x.size))
    chance = (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24) if is_stochastic else np.float32(0.5)
    return np.float32(step) * np.clip(np.floor(x * np.float32(1 / step) + chance), -most, most)
