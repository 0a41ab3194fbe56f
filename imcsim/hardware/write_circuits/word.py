"""A write circuit known by its words: how long one takes, and what a cell in it costs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from imcsim.hardware.pulses import Frac
from imcsim.hardware.write_circuits._base import Bools, WriteSpec, Written, groups

WRITE = "write"  # what is counted and priced


class Word(WriteSpec):
    """A macro with its own write controller, measured from outside: the time of a word, the energy of a cell."""

    kind: Literal["word"]
    word_ns: PositiveFloat
    cells_at_once: PositiveInt
    cell_pj: NonNegativeFloat
    mean_pulses: PositiveFloat
    fail_frac: Frac

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Return the expected time of one crossbar; a word is skipped where all its cells are unchanged."""
        words = groups(rows, columns, self.cells_at_once)
        return self.word_ns * sum(n * (1 - unchanged_frac**cells) for cells, n in words.items())

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """Return the time of one write with the skipped words drawn at random."""
        words = groups(rows, columns, self.cells_at_once)
        return self.word_ns * sum(int(rng.binomial(n, 1 - unchanged_frac**cells)) for cells, n in words.items())

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Return the cells written."""
        return {WRITE: cells * (1 - unchanged_frac)}

    def prices_pj(self) -> dict[str, float]:
        """Return the energy of one cell."""
        return {WRITE: self.cell_pj}

    def count(self, kept: Bools, rng: np.random.Generator) -> Written:
        """Return what it takes to write the words in which a cell changes; a fraction of their cells fails."""
        changed = ~kept
        starts = np.arange(0, changed.shape[1], self.cells_at_once)
        words = np.logical_or.reduceat(changed, starts, axis=1).sum(axis=1)
        failed = changed & (rng.random(changed.shape) < self.fail_frac)
        cells, none = float(changed.sum()), np.zeros(changed.shape, np.int64)
        pulses = self.mean_pulses * changed
        return Written(pulses, none, failed, words * self.word_ns, cells * self.cell_pj, {WRITE: cells})
