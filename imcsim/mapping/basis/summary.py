"""Summarise what a fit came to, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from imcsim.mapping.basis.coefficients import Coded
from imcsim.mapping.basis.options import FitOptions
from imcsim.mapping.basis.residual import Residual
from imcsim.mapping.basis.targets import Target

WEIGHT_BITS = 8  # what coefficients are compared with
SUMMED = ("weights", "coefficients", "bits", "residual_bits", "weight_bits")


def summary(
    targets: Sequence[Target],
    coded: Sequence[Coded],
    options: FitOptions,
    residuals: Mapping[str, Residual] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Return one row for every layer, and one for all.

    ``relative_error``: ||W - W~|| / ||W||. ``coefficients``: those that are stored, ``nonzeros`` for every kernel
    segment; ``bits``: of all of them, each with magnitude, sign and, unless all are there, the index of its vector, and
    ``residual_bits`` of the layer's residual among them. ``utilisation``: share of the basis rows that a kernel's own
    weights use.
    """
    rows = [
        _row(target, encoded, options, residuals.get(target.name, Residual.none()))
        for target, encoded in zip(targets, coded, strict=True)
    ]
    total = {key: sum(row[key] for row in rows) for key in SUMMED}
    lengths2 = [float(target.length2.sum()) for target in targets]
    missed = sum(length2 * row["relative_error"] ** 2 for length2, row in zip(lengths2, rows, strict=True))
    slots = sum(target.n_weights / target.utilisation for target in targets)
    error = float(np.sqrt(missed / (sum(lengths2) or 1.0)))
    shares = {"relative_error": error, "utilisation": total["weights"] / slots}
    return [*rows, {"layer": "all", **total, **shares}]


def _row(target: Target, coded: Coded, options: FitOptions, residual: Residual) -> dict[str, Any]:
    index = 0 if options.nonzeros == options.vectors else (options.vectors - 1).bit_length()
    n_kernels = sum(len(channels) for channels in target.channels) * target.rows.shape[1]
    coefficients = n_kernels * options.nonzeros
    residual_bits = len(residual) * residual.bits(int(target.rows.max()))
    return {
        "layer": target.name,
        "weights": target.n_weights,
        "relative_error": float(np.sqrt(coded.error2.sum() / (target.length2.sum() or 1.0))),
        "coefficients": coefficients,
        "bits": coefficients * (options.coeff_bits + 1 + index) + residual_bits,
        "residual_bits": residual_bits,
        "weight_bits": target.n_weights * WEIGHT_BITS,
        "utilisation": target.utilisation,
    }
