"""Declare what a user may choose about a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imcsim.mapping.basis.coefficients import LEVELS
from imcsim.mapping.basis.initial import STARTS
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.workload.quantised import IntegerLayer

RANGES = {  # what integers of 16 bits hold
    "vectors": (1, 1 << 14),
    "length": (1, 1 << 14),
    "nonzeros": (1, 1 << 14),
    "coeff_bits": (1, 15),
    "basis_bits": (2, 16),
    "rounds": (0, 10_000),
    "seed": (0, 1 << 63),
    "residual": (0, 1),
}


@dataclass(frozen=True)
class FitOptions:
    """Describe a fit of M ``vectors`` of L elements (``length``), at most q ``nonzeros`` of them for a kernel segment.

    ``basis_bits``: bits of an element, sign included. ``coefficients``: 'uniform' or 'power-of-two', with magnitudes
    of ``coeff_bits`` bits. ``init``: where the basis begins: 'svd', 'ksvd', 'hadamard' or 'random'. ``rounds``: most
    alternations of coefficients and basis. ``resident``: layers that keep their weights, by name, 'first' or 'last'.
    ``residual``: share of the weights, those that are missed most, that get a correction, in all other layers or in
    ``residual_layers``. Raises ImcsimError for what cannot be.
    """

    vectors: int = 128
    length: int = 128
    nonzeros: int = 8
    coeff_bits: int = 4
    basis_bits: int = 8
    coefficients: str = "uniform"
    init: str = "ksvd"
    rounds: int = 20
    resident: tuple[str, ...] = ()
    seed: int = 0
    residual: float = 0.0
    residual_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, (least, most) in RANGES.items():
            if not least <= getattr(self, key) <= most:
                raise ImcsimError(_flag(key), f"{getattr(self, key)} is not from {least:,} to {most:,}")
        if self.nonzeros > self.vectors:
            problem = f"{self.nonzeros} coefficients of {self.vectors} basis vectors"
            raise ImcsimError("--nonzeros", problem, "use at most as many as there are vectors")
        for key, known in (("coefficients", LEVELS), ("init", STARTS)):
            value = getattr(self, key)
            if value not in known:
                raise ImcsimError(_flag(key), f"there is no '{value}'", did_you_mean(value, known))
        if self.residual_layers and not self.residual:
            raise ImcsimError("--residual-layers", "no share of weights is given", "add for example --residual 0.02")


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def residents(words: Sequence[str], layers: Sequence[IntegerLayer]) -> tuple[str, ...]:
    """Return the names of the layers that keep their weights, in the order of the network.

    Raises ImcsimError for a name that is none, or where no layer is left.
    """
    names = _named(words, layers, "--resident")
    if len(names) == len(layers):
        raise ImcsimError("--resident", "no layer is left for the basis", "keep fewer layers resident")
    return names


def corrected(options: FitOptions, layers: Sequence[IntegerLayer]) -> tuple[str, ...]:
    """Return the names of the layers that get a residual; ImcsimError for one that keeps its weights, or is none."""
    if not options.residual:
        return ()
    resident = residents(options.resident, layers)
    names = _named(options.residual_layers, layers, "--residual-layers")
    kept = next((name for name in names if name in resident), None)
    if kept is not None:
        raise ImcsimError("--residual-layers", f"layer '{kept}' keeps its own weights", "leave it out")
    return names or tuple(layer.name for layer in layers if layer.name not in resident)


def _named(words: Sequence[str], layers: Sequence[IntegerLayer], where: str) -> tuple[str, ...]:
    """Return the names of the layers that words mean, in the order of the network."""
    names = [layer.name for layer in layers]
    places = {"first": names[0], "last": names[-1]} if names else {}
    chosen = {word if word in names else places.get(word, word) for word in words}
    unknown = next((word for word in words if word not in names and word not in places), None)
    if unknown is not None:
        hint = did_you_mean(unknown, [*names, *places])
        raise ImcsimError(where, f"there is no layer '{unknown}' with weights", hint)
    return tuple(name for name in names if name in chosen)
