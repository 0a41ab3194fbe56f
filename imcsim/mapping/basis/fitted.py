"""Hold a fitted basis, and read and write its file: one safetensors file, of integers and one scale per channel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imcsim.mapping.basis.residual import Residual
from imcsim.mapping.tiling import Tiling
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file

if TYPE_CHECKING:
    from imcsim.workload.quantised import IntegerLayer

Floats = NDArray[np.float64]

KEY = "imcsim_basis"  # of the metadata
HINT = "make one with imcsim basis fit"
SIZES = ("nonzeros", "coeff_bits", "basis_bits")


@dataclass(frozen=True)
class LayerCoefficients:
    """Combine the integer weights of a layer: about ``scale`` times (elements @ ``values``), segment by segment.

    ``values``: (segments, vectors, channels of a segment), magnitudes below 2**coeff_bits, at most ``nonzeros`` for a
    segment and channel; zero beyond the channels of a narrower segment. ``scale``: (channels of the layer,).
    ``bias``: (channels,) added to the biases of the layer, in units of its sums; zeros where none is given.
    ``residual``: what is added to single weights.
    """

    values: NDArray[np.int16]
    scale: NDArray[np.float32]
    bias: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    residual: Residual = field(default_factory=Residual.none)

    def __post_init__(self) -> None:
        if not len(self.bias):
            object.__setattr__(self, "bias", np.zeros(len(self.scale), np.int32))


@dataclass(frozen=True)
class FittedBasis:
    """Hold a basis and the coefficients of the layers that were fitted to it.

    ``elements``: (length, vectors) of ``basis_bits`` bits, sign included; a shorter segment uses its first rows.
    ``coeff_bits``: of magnitudes. ``resident``: weighted layers that keep weights of their own; ``layers``: all others.
    ``made_on``: model, options, version and errors.
    """

    elements: NDArray[np.int64]
    nonzeros: int
    coeff_bits: int
    basis_bits: int
    resident: tuple[str, ...]
    layers: Mapping[str, LayerCoefficients]
    made_on: Mapping[str, Any]

    def weights(self, layer: IntegerLayer) -> Floats:
        """Return (channels, rows) what the integer weights of a layer are approximated by, residual included.

        Where groups share a segment, what a kernel makes of the rows of other groups is not among them.
        """
        stored, tiling = self.layers[layer.name], Tiling.of(layer, len(self.elements))
        n_sets, shared = tiling.group_sets, tiling.shared
        values = stored.values.reshape(n_sets, tiling.row_tiles, *stored.values.shape[1:])
        rows = np.einsum("lm,stmc->sctl", self.elements, values).reshape(n_sets, tiling.channels_per_block, -1)
        kernels = rows[..., : shared * layer.rows].reshape(n_sets, shared, -1, shared, layer.rows)
        diagonal = np.einsum("sgkgr->sgkr", kernels).reshape(-1, layer.rows)
        combined = diagonal[: layer.channels] * stored.scale[:, None].astype(float)
        return np.asarray(combined + stored.residual.dense(layer.channels, layer.rows))

    def write(self, path: str | Path) -> None:
        """Write the basis as one safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            The file, which the schemes take as their option ``basis``.

        Raises
        ------
        ImcsimError
            Where it cannot be written.
        """
        from safetensors.numpy import save

        head = {key: getattr(self, key) for key in SIZES}
        head |= {"resident": list(self.resident), "layers": list(self.layers), "made_on": dict(self.made_on)}
        tensors: dict[str, NDArray[Any]] = {"elements": self.elements}
        for name, layer in self.layers.items():
            tensors |= {f"{name}.values": layer.values, f"{name}.scale": layer.scale, f"{name}.bias": layer.bias}
            if len(layer.residual):
                tensors |= {f"{name}.residual": layer.residual.values, f"{name}.residual_at": layer.residual.at}
        content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, {KEY: json.dumps(head)})
        with new_file(Path(path)) as partial:
            partial.write_bytes(content)


def load_fitted(path: str | Path) -> FittedBasis:
    """Read a file of ``imcsim basis fit``. Raises ImcsimError where it is none, or broken."""
    if not Path(path).exists():
        raise ImcsimError(str(path), "there is no such file", HINT)
    return _loaded(str(path), Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _loaded(path: str, mtime_ns: int) -> FittedBasis:
    """Read the file as it was at a time: a plan and its values read it many times."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            head = json.loads(file.metadata()[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        layers = {name: _layer(tensors, name) for name in head["layers"]}
        sizes = {key: int(head[key]) for key in SIZES}
        elements = tensors["elements"].astype(np.int64, casting="safe")
        basis = FittedBasis(elements, **sizes, resident=tuple(head["resident"]), layers=layers, made_on=head["made_on"])
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        raise ImcsimError(str(path), "is no readable basis", HINT) from None
    if not _is_sound(basis):
        raise ImcsimError(str(path), "holds numbers that do not fit its own sizes", HINT)
    return basis


def _layer(tensors: Mapping[str, NDArray[Any]], name: str) -> LayerCoefficients:
    values, scale = tensors[f"{name}.values"], tensors[f"{name}.scale"]
    bias = tensors.get(f"{name}.bias", np.zeros(len(scale), np.int32))  # absent where nothing was trained
    return LayerCoefficients(
        values.astype(np.int16, casting="safe"),
        scale.astype(np.float32, casting="safe"),
        bias.astype(np.int32, casting="safe"),
        _residual(tensors, name),
    )


def _residual(tensors: Mapping[str, NDArray[Any]], name: str) -> Residual:
    if f"{name}.residual" not in tensors:
        return Residual.none()
    at, values = tensors[f"{name}.residual_at"], tensors[f"{name}.residual"]
    return Residual(at.astype(np.int32, casting="safe"), values.astype(np.int16, casting="safe"))


def _is_sound(basis: FittedBasis) -> bool:
    if basis.elements.ndim != 2 or not (np.abs(basis.elements) < 1 << (basis.basis_bits - 1)).all():
        return False
    return all(_is_layer_sound(basis, layer) for layer in basis.layers.values())


def _is_layer_sound(basis: FittedBasis, layer: LayerCoefficients) -> bool:
    values, scale = layer.values, layer.scale
    if values.ndim != 3 or values.shape[1] != basis.elements.shape[1] or scale.ndim != 1:
        return False
    if layer.bias.shape != scale.shape or not layer.residual.is_sound():
        return False
    sizes = np.abs(values.astype(np.int32))
    sparse = (np.count_nonzero(values, axis=1) <= basis.nonzeros).all()
    return bool(sparse and (sizes < 1 << basis.coeff_bits).all() and np.isfinite(scale).all())


def check_fits(basis: FittedBasis, layers: Sequence[IntegerLayer], rows: int) -> None:
    """Raise ImcsimError where a basis is of another network, or longer than a crossbar has ``rows``."""
    length = len(basis.elements)
    if length > rows:
        raise ImcsimError("basis", f"its {length} elements do not fit the {rows} rows of a crossbar", HINT)
    known = {layer.name for layer in layers}
    unknown = [name for name in (*basis.layers, *basis.resident) if name not in known]
    missing = [layer.name for layer in layers if layer.name not in (*basis.layers, *basis.resident)]
    if unknown or missing:
        problem = f"has a layer '{unknown[0]}'" if unknown else f"has nothing for layer '{missing[0]}'"
        raise ImcsimError("basis", f"is of another network: it {problem}", HINT)
    for layer in layers:
        stored = basis.layers.get(layer.name)
        if stored and not _fits_layer(stored, basis, layer):
            raise ImcsimError("basis", f"is of another network: layer '{layer.name}' has other sizes", HINT)


def _fits_layer(stored: LayerCoefficients, basis: FittedBasis, layer: IntegerLayer) -> bool:
    tiling, vectors = Tiling.of(layer, len(basis.elements)), basis.elements.shape[1]
    same_values = stored.values.shape == (tiling.n_blocks, vectors, tiling.channels_per_block)
    return same_values and stored.scale.shape == (layer.channels,) and stored.residual.fits(layer.weights.size)
