"""What a user may choose about a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imcsim.basis.coefficients import LEVELS
from imcsim.basis.initial import STARTS
from imcsim.errors import ImcsimError, did_you_mean
from imcsim.quantised import IntegerLayer

RANGES = {  # what integers of 16 bits hold
    "vectors": (1, 1 << 14), "length": (1, 1 << 14), "nonzeros": (1, 1 << 14), "coeff_bits": (1, 15),
    "basis_bits": (2, 16), "rounds": (0, 10_000), "seed": (0, 1 << 63),
}  # fmt: skip


@dataclass(frozen=True)
class FitOptions:
    """M ``vectors`` of L elements (``length``) in ``basis_bits`` bits, at most q ``nonzeros`` for each kernel segment.

    ``coefficients``: 'uniform' or 'power-of-two', with magnitudes of ``coeff_bits`` bits. ``init``: where the basis
    begins: 'svd', 'ksvd', 'hadamard' or 'random'. ``rounds``: most alternations of coefficients and basis.
    ``resident``: layers that keep their weights, by name, 'first' or 'last'. Raises ImcsimError for what cannot be.
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


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def residents(words: Sequence[str], layers: Sequence[IntegerLayer]) -> tuple[str, ...]:
    """Names of the layers that keep their weights, in the order of the network.

    Raises ImcsimError for a name that is none, or where no layer is left.
    """
    names = [layer.name for layer in layers]
    places = {"first": names[0], "last": names[-1]} if names else {}
    found = {word if word in names else places.get(word, word) for word in words}
    unknown = next((word for word in words if word not in names and word not in places), None)
    if unknown is not None:
        hint = did_you_mean(unknown, [*names, *places])
        raise ImcsimError("--resident", f"there is no layer '{unknown}' with weights", hint)
    if len(found) == len(names):
        raise ImcsimError("--resident", "no layer is left for the basis", "keep fewer layers resident")
    return tuple(name for name in names if name in found)
