"""Drift compensation: factors for the outputs of a crossbar, from its outputs after programming and now.

Outputs are those for one-hot inputs, one row at a time, as aihwkit 1.2.0 reads them (inference/compensation/drift.py;
its documentation speaks of an input of ones, its code of one-hot inputs). Without compensation the factor is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imcsim.util.errors import ImcsimError


def global_factor(reference: ArrayLike, present: ArrayLike) -> float:
    """One factor for a crossbar: mean |reference| / mean |present|; both (n_rows, n_columns), in any one unit.

    Nothing can be said of outputs that are all 0: their factor is 1 (aihwkit cuts the means off at 0.0001 instead).
    Raises ImcsimError for shapes that differ or are no matrix.
    """
    before, now = _outputs(reference, present)
    return float(_ratio(before.mean(), now.mean()))


def column_factors(reference: ArrayLike, present: ArrayLike) -> NDArray[np.float64]:
    """One factor for each column, (n_columns,); otherwise as ``global_factor``."""
    before, now = _outputs(reference, present)
    return _ratio(before.mean(axis=0), now.mean(axis=0))


def _ratio(before: Any, now: Any) -> NDArray[np.float64]:
    known = (np.asarray(now) > 0) & (np.asarray(before) > 0)
    return np.where(known, before / np.where(known, now, 1), 1)


def _outputs(reference: ArrayLike, present: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    before, now = (np.abs(np.asarray(outputs, dtype=np.float64)) for outputs in (reference, present))
    if before.shape != now.shape or before.ndim != 2 or not before.size:
        problem = f"the outputs have the shapes {before.shape} and {now.shape}"
        raise ImcsimError("drift compensation", problem, "give two matrices (n_rows, n_columns) of one shape")
    return before, now
