"""Fit a global basis: coefficients for a basis, a basis for the coefficients, for as long as it helps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from imcsim.mapping.basis.coefficients import Coded, encode, levels_of, recode
from imcsim.mapping.basis.fitted import FittedBasis, LayerCoefficients
from imcsim.mapping.basis.initial import STARTS
from imcsim.mapping.basis.options import FitOptions as FitOptions
from imcsim.mapping.basis.options import corrected, residents
from imcsim.mapping.basis.residual import Residual
from imcsim.mapping.basis.summary import summary
from imcsim.mapping.basis.targets import Floats, Target
from imcsim.util import random_streams
from imcsim.util.progress import Progress, silent
from imcsim.util.version import VERSION
from imcsim.workload.quantised import IntegerLayer, Integers, load_quantised

CLIPPED = np.linspace(1.0, 0.3, 36)  # largest integers that are tried, relative to the largest element
RIDGE = 1e-9  # pull towards the elements before, relative: vectors that nobody uses stay as they are
LEAST_GAIN = 1e-4  # of the relative error, for another round


def fit_basis(model: str | Path, options: FitOptions | None = None, progress: Progress = silent) -> FittedBasis:
    """Fit a global basis with quantised coefficients to the weights of a quantised network.

    Parameters
    ----------
    model : str or Path
        A quantised ONNX or TensorFlow Lite model.
    options : FitOptions, optional
        Sizes of the basis (vectors of a length in elements), bits, and the layers that keep weights of their own.
    progress : callable
        Is told of what is done, the total and the relative error so far.

    Returns
    -------
    FittedBasis
        Integer elements (length, vectors) and the coefficients of every layer; ``FittedBasis.write`` makes its file.

    Raises
    ------
    ImcsimError
        Where the file is no quantised model, or the options do not fit its layers.
    """
    options, network = options or FitOptions(), load_quantised(model)
    source = {"model": Path(model).name, "model_sha256": hashlib.sha256(Path(model).read_bytes()).hexdigest()}
    return fit(network.layers, options, source, progress)


def fit(
    layers: Sequence[IntegerLayer], options: FitOptions, source: Mapping[str, Any], progress: Progress = silent
) -> FittedBasis:
    """Fit a basis to the integer weights of some layers, then the residual; ``source`` is added to its provenance.

    Raises ImcsimError where options do not fit the layers.
    """
    resident, to_correct = residents(options.resident, layers), corrected(options, layers)
    targets = [Target.of(layer, options.length) for layer in layers if layer.name not in resident]
    elements, coded, errors = alternate(targets, options, progress)
    coefficients = {target.name: _coefficients(target, encoded) for target, encoded in zip(targets, coded, strict=True)}
    bits = options.coeff_bits, options.basis_bits
    plain = FittedBasis(elements, options.nonzeros, *bits, resident, coefficients, {})
    missed = {layer.name: layer.weights - plain.weights(layer) for layer in layers if layer.name in to_correct}
    residuals = {name: Residual.of(differences, options.residual) for name, differences in missed.items()}
    corrected_layers = {
        name: replace(layer, residual=residuals.get(name, layer.residual)) for name, layer in coefficients.items()
    }
    left = [
        _less(target, encoded, missed[target.name], residuals[target.name]) if target.name in residuals else encoded
        for target, encoded in zip(targets, coded, strict=True)
    ]
    made_on = {
        **source,
        "imcsim_version": VERSION,
        "options": {**asdict(options), "resident": list(resident)},
        "errors": errors,
        "layers": summary(targets, left, options, residuals),
    }
    return replace(plain, layers=corrected_layers, made_on=made_on)


def _less(target: Target, coded: Coded, missed: Floats, residual: Residual) -> Coded:
    """Return coefficients with the errors that a residual for what the layer ``missed`` (channels, rows) leaves."""
    rest = missed - residual.dense(*missed.shape)
    removed = (np.square(missed) - np.square(rest)).sum(axis=1) / target.unit**2
    error2 = coded.error2.copy()
    for block_error2, channels in zip(error2, target.channels, strict=True):
        block_error2[: len(channels)] -= removed[channels]
    return replace(coded, error2=np.maximum(error2, 0.0))


def alternate(
    targets: Sequence[Target], options: FitOptions, progress: Progress = silent
) -> tuple[Integers, list[Coded], list[float]]:
    """Return integer elements, coefficients of every target, and the relative error of every round, which never rises.

    A round takes the least-squares basis of the coefficients, in integers, and for every kernel the better of its old
    coefficients, improved, and new ones; a round that does not help is the last, and is dropped.
    """
    levels = levels_of(options.coefficients, options.coeff_bits)
    start, rng = STARTS[options.init], random_streams.rng(options.seed, "basis", options.init)
    progress(0, options.rounds + 1, "first coefficients")
    elements = integer(start(targets, options.vectors, options.nonzeros, rng), options.basis_bits)
    coded = [encode(target, elements.astype(float), options.nonzeros, levels) for target in targets]
    errors = [_error(targets, coded)]
    for number in range(1, options.rounds + 1):
        progress(number, options.rounds + 1, f"relative error {errors[-1]:.4f}")
        better = integer(_least_squares(targets, coded, elements.astype(float)), options.basis_bits)
        vectors = better.astype(float)
        tried = [
            recode(target, vectors, encoded, levels).better(encode(target, vectors, options.nonzeros, levels))
            for target, encoded in zip(targets, coded, strict=True)
        ]
        error = _error(targets, tried)
        if error >= errors[-1]:
            break
        gain = 1 - error / errors[-1]
        elements, coded = better, tried
        errors.append(error)
        if gain < LEAST_GAIN:
            break
    return elements, coded, errors


def integer(elements: Floats, bits: int) -> Integers:
    """Round elements to integers of so many bits, sign included, at the scale that errs least."""
    most, top = (1 << (bits - 1)) - 1, np.abs(elements).max() or 1.0
    scales = most / (top * (CLIPPED if bits < 8 else CLIPPED[:1]))  # fine steps are worth no clipping
    tried = [np.clip(np.rint(elements * scale), -most, most) for scale in scales]
    missed = [float(np.square(elements - e / scale).sum()) for e, scale in zip(tried, scales, strict=True)]
    return np.asarray(tried[int(np.argmin(missed))], np.int64)


def _error(targets: Sequence[Target], coded: Sequence[Coded]) -> float:
    """Return the relative error of all weights together, each layer scaled to unit mean square."""
    missed = sum(float(encoded.error2.sum()) for encoded in coded)
    wanted = sum(float(target.length2.sum()) for target in targets)
    return float(np.sqrt(missed / wanted)) if wanted else 0.0


def _least_squares(targets: Sequence[Target], coded: Sequence[Coded], before: Floats) -> Floats:
    """Return the basis (length, vectors) that errs least with given coefficients, by row over segments that have it."""
    moments = _moments(targets, coded, before.shape)
    elements, reach = before.copy(), len(before)
    square, product = np.zeros((before.shape[1],) * 2), np.zeros(before.shape[::-1])
    lengths = sorted(moments, reverse=True)
    for rows, shorter in zip(lengths, [*lengths[1:], 0], strict=True):
        square, product = square + moments[rows][0], product + moments[rows][1]
        pull = RIDGE * (np.trace(square) / len(square) or 1.0)
        band = slice(shorter, min(rows, reach))
        wanted = product[:, band] + pull * before[band].T
        elements[band] = np.linalg.solve(square + pull * np.eye(len(square)), wanted).T
    return elements


def _moments(
    targets: Sequence[Target], coded: Sequence[Coded], shape: tuple[int, ...]
) -> dict[int, tuple[Floats, Floats]]:
    """Return, by rows of a segment, products of coefficients (M, M), and of coefficients and weights (M, length)."""
    moments: dict[int, tuple[Floats, Floats]] = {}
    length, vectors = shape
    for target, encoded in zip(targets, coded, strict=True):
        for rows in np.unique(target.rows):
            here = target.rows == rows
            scaled = encoded.codes * encoded.scales[:, None, :, None]
            weights, signals = scaled[here].reshape(-1, vectors), target.kernels[here].reshape(-1, length)
            square, product = moments.get(int(rows), (0.0, 0.0))
            moments[int(rows)] = square + weights.T @ weights, product + weights.T @ signals
    return moments


def _coefficients(target: Target, coded: Coded) -> LayerCoefficients:
    codes, scales = coded.codes, coded.scales * target.unit
    values = np.ascontiguousarray(codes.reshape(-1, *codes.shape[2:]).swapaxes(1, 2))
    scale = np.zeros(1 + max(int(channels.max()) for channels in target.channels), np.float32)
    for channels, block_scales in zip(target.channels, scales, strict=True):
        scale[channels] = block_scales[: len(channels)]
    return LayerCoefficients(values, scale)
