"""One file per scheme: a class derived from ``Scheme`` with a name is all that a new one takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imcsim.mapping.schemes.base import Scheme
from imcsim.util.config import build
from imcsim.util.registry import Registry, name_of

SCHEMES = Registry(
    "scheme",
    Scheme,  # type: ignore[type-abstract]
    folder=__name__,
    group="imcsim.schemes",
    remedy="derive a class from imcsim.mapping.Scheme and give it a name",
    word_of=name_of,
)


def load_scheme(name: str, options: Mapping[str, Any]) -> Scheme:
    """Return a scheme with its options checked.

    Parameters
    ----------
    name : str
        The name of a scheme, or the path of a Python file (ending in .py).
    options : mapping of str to value
        Options of the scheme.

    Returns
    -------
    Scheme
        Frozen.

    Raises
    ------
    ImcsimError
        For unknown schemes and options, with the nearest known word.
    """
    cls = SCHEMES.find(name)
    return build(cls, dict(options), f"scheme '{cls.name}', option")
