"""Refuse options that cannot be, in the words of the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from imcsim.util.errors import ImcsimError, did_you_mean


def check_ranges(options: Any, ranges: Mapping[str, tuple[float, float]], flags: Mapping[str, str]) -> None:
    """Raise ImcsimError for fields that are not from least to most; ``flags`` names those with a flag of their own."""
    for key, (least, most) in ranges.items():
        value, flag = getattr(options, key), flags.get(key, f"--{key.replace('_', '-')}")
        if not least <= value <= most:
            raise ImcsimError(flag, f"{value} is not from {least:,} to {most:,}")


def check_word(flag: str, word: str, known: Collection[str]) -> None:
    """Raise ImcsimError for a word that is none of those known."""
    if word not in known:
        raise ImcsimError(flag, f"there is no '{word}'", did_you_mean(word, known))
