"""Keep the weights of one layer as cells: a pair of multi-level ones and an accumulator of binary ones for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.training.hic.options import CODES, HybridOptions
from imcsim.training.hic.physics import LEVEL_USIEMENS
from imcsim.training.kernels import hybrid as kernels
from imcsim.util import random_streams

Array = NDArray[Any]
ARRAYS = ("g", "pulses", "since_s", "exponent", "value", "n_set", "n_reset", "bit_set", "bit_reset")


@dataclass
class Tally:
    """Count what updates did to a layer so far, for meters and for the price of a step."""

    updates: int = 0
    carries: int = 0  # in absolute value
    lost: int = 0  # carries beyond the most pulses of an update
    rows: int = 0  # with any carry, over all updates
    longest: int = 0  # sum over those rows of the pulses of their longest carry
    checks: int = 0
    refreshed: int = 0
    refresh_pulses: int = 0  # SET pulses that brought refreshed pairs back


@dataclass
class HybridWeights:
    """Hold the cells of one layer's weights.

    ``shape``: of the weights, outputs first; one column of the crossbar for each output. ``scale``: weight per uS. Of
    ``g`` (uS), ``pulses`` since RESET, ``since_s`` (time of the last pulse), drift ``exponent``, ``n_set`` and
    ``n_reset`` the first row is the positive cell: (2, weights). ``value``: (weights,) of the accumulator; ``bit_set``
    and ``bit_reset``: (weights, bits) how often each of its cells was written.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    options: HybridOptions
    seed: int
    g: Array
    pulses: Array
    since_s: Array
    exponent: Array
    value: Array
    n_set: Array
    n_reset: Array
    bit_set: Array
    bit_reset: Array
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def program(cls, name: str, initial: Array, options: HybridOptions, seed: int) -> HybridWeights:
        """Return fresh cells, written to ``initial`` at time 0."""
        n, spread = initial.size, float(initial.std()) or 1.0
        scale = options.range_sigmas * spread / options.range_usiemens
        pair, bits = (2, n), (n, options.bits)
        weights = cls(
            name, tuple(initial.shape), scale, options, seed, np.zeros(pair, np.float32), np.zeros(pair, np.int16),
            np.zeros(pair), np.zeros(pair, np.float32), np.zeros(n, np.int16), np.zeros(pair, np.int32),
            np.zeros(pair, np.int32), np.zeros(bits, np.int32), np.zeros(bits, np.int32),
        )  # fmt: skip
        aim = np.clip(initial.reshape(-1) / scale, -options.range_usiemens, options.range_usiemens)
        kernels.write(
            weights._key("write", 0), aim.astype(np.float64), LEVEL_USIEMENS / 2, options.most_writes, 0.0,
            options.physics.cell, weights._pairs,
        )  # fmt: skip
        return weights

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return self.value.size

    @property
    def rows(self) -> int:
        """Return the rows of crossbars: each wordline as often as the outputs need crossbars side by side."""
        return self.size // self.shape[0] * -(-self.shape[0] // self.options.columns)

    @property
    def unit(self) -> float:
        """Return the weight that one unit of the accumulator stands for."""
        return LEVEL_USIEMENS * self.scale / self.options.half

    @property
    def _n_pulses(self) -> int:
        return int(self.n_set.sum(dtype=np.int64))

    @property
    def _pairs(self) -> kernels.PairArrays:
        return kernels.PairArrays(self.g, self.pulses, self.since_s, self.exponent, self.n_set, self.n_reset)

    @property
    def _accumulators(self) -> kernels.Accumulators:
        half, code = self.options.half, CODES.index(self.options.code)
        return kernels.Accumulators(self.value, self.bit_set, self.bit_reset, half, code)

    def _key(self, purpose: str, number: int) -> np.uint64:
        return np.uint64(random_streams.rng(self.seed, self.name, purpose, number).integers(1 << 63))

    def drifted(self, now_s: float) -> Array:
        """Return (2, weights) conductances in uS at a time."""
        if self.options.physics.drift == "none":
            return self.g
        conductances = np.empty_like(self.g)
        kernels.drift(now_s, self.options.physics.cell, self.g, self.since_s, self.exponent, conductances)
        return conductances

    def reader(self, now_s: float) -> Callable[[int], Array]:
        """Return a reader of the cells as they are at a time: by number, each read gives weights in their shape."""
        g, cell = self.drifted(now_s), self.options.physics.cell

        def read(number: int) -> Array:
            weights = np.empty(self.size, np.float32)
            kernels.read(self._key("read", number), cell, self.scale, g, weights)
            return weights.reshape(self.shape)

        return read

    def update(self, gradient: Array, rate: float, now_s: float) -> Array:
        """Descend along a gradient (of the shape of the weights).

        Returns the carries of each weight, before any were lost.
        """
        options, carries = self.options, np.empty(self.size, np.int32)
        kernels.update(
            self._key("update", self.tally.updates), np.ascontiguousarray(gradient).reshape(-1), -rate / self.unit,
            options.rounding == "stochastic", options.most_pulses, now_s, options.physics.cell, self._accumulators,
            self._pairs, carries,
        )  # fmt: skip
        self._note(np.abs(carries))
        return carries.reshape(self.shape)

    def _note(self, carries: Array) -> None:
        tally = self.tally
        tally.updates += 1
        if not carries.any():
            return
        tally.carries += int(carries.sum(dtype=np.int64))
        tally.lost += int(np.maximum(carries - self.options.most_pulses, 0).sum(dtype=np.int64))
        outputs = np.arange(0, self.shape[0], self.options.columns)
        longest = np.maximum.reduceat(carries.reshape(self.shape[0], -1), outputs, axis=0)  # of each row
        tally.rows += int(np.count_nonzero(longest))
        tally.longest += int(np.minimum(longest, self.options.most_pulses).sum(dtype=np.int64))

    def refresh(self, now_s: float) -> Array:
        """Rewrite the pairs that are nearly full and return which those are, in the shape of the weights."""
        options, refreshed, before = self.options, np.empty(self.size, np.bool_), self._n_pulses
        kernels.refresh(
            self._key("refresh", self.tally.checks), options.refresh_larger, options.refresh_smaller,
            LEVEL_USIEMENS / 2, options.most_writes, now_s, options.physics.cell, self._pairs, refreshed,
        )  # fmt: skip
        self.tally.checks += 1
        self.tally.refreshed += int(refreshed.sum())
        self.tally.refresh_pulses += self._n_pulses - before
        return refreshed.reshape(self.shape)
