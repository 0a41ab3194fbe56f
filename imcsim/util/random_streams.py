"""Make independent random generators, keyed by what they are for."""

from __future__ import annotations

import zlib

import numpy as np


def rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a generator that depends on the seed and the purpose alone, never on call order or threads."""
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in purpose]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))
