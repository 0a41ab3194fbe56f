"""Correct the single weights that a basis misses most: a sparse residual, applied digitally and exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from imcsim.workload.quantised import Integers

MOST = np.iinfo(np.int16).max
LEAST_BITS = 8  # of a stored correction, sign included


@dataclass(frozen=True)
class Residual:
    """Hold ``values``, in units of integer weights, to add to weights ``at`` channel * rows + row, in rising order."""

    at: NDArray[np.int32]
    values: NDArray[np.int16]

    @staticmethod
    def none() -> Residual:
        """Return the residual that corrects nothing."""
        return Residual(np.zeros(0, np.int32), np.zeros(0, np.int16))

    @staticmethod
    def of(missed: NDArray[np.float64], share: float) -> Residual:
        """Correct the ``share`` of the weights of which most is ``missed`` (channels, rows), rounded; none by 0."""
        flat = missed.ravel()
        largest = np.argsort(-np.abs(flat), kind="stable")[: round(share * flat.size)]
        values = np.rint(flat).clip(-MOST, MOST).astype(np.int16)
        at = np.sort(largest[values[largest] != 0])
        return Residual(at.astype(np.int32), values[at])

    def __len__(self) -> int:
        return len(self.at)

    def dense(self, channels: int, rows: int) -> Integers:
        """Return the corrections of all weights (channels, rows), 0 where nothing is corrected."""
        corrections = np.zeros(channels * rows, np.int64)
        corrections[self.at] = self.values
        return corrections.reshape(channels, rows)

    def bits(self, rows: int) -> int:
        """Return the bits stored for one correction: its value, and the row among the ``rows`` of its segment."""
        largest = int(np.abs(self.values.astype(np.int64)).max(initial=0))
        return max(LEAST_BITS, 1 + largest.bit_length()) + (rows - 1).bit_length()

    def is_sound(self) -> bool:
        """Tell whether every correction is of another weight, in order."""
        if self.at.ndim != 1 or self.at.shape != self.values.shape:
            return False
        return bool((np.diff(self.at, prepend=-1) > 0).all())

    def fits(self, n_weights: int) -> bool:
        """Tell whether a layer of ``n_weights`` weights has all those that are corrected."""
        return bool((self.at < n_weights).all())
