"""Say where every declared number comes from: sentences for the keys of chip, tile, crossbar and cell.

A file's ``sources`` map a dotted key, or the beginning of one, to a sentence; the longest that fits speaks for a key.
Once loaded, every key has its own sentence, so that a file that extends another answers for its own numbers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imcsim.util import config
from imcsim.util.errors import ImcsimError, did_you_mean

TREE = ("chip", "tile", "crossbar", "cell")
ASSUMED = "assumed"  # a sentence that begins so marks a number that nobody published


def tree(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is declared in chip, tile, crossbar and cell, by dotted key."""
    return dict(config.leaves({key: data[key] for key in TREE if key in data}))


def numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers among them, which need a source; a list counts as one."""
    return {key: value for key, value in tree(data).items() if isinstance(value, (int, float, list))}


def lookup(sources: Mapping[str, str], key: str) -> str:
    """Return the sentence of the longest entry that begins ``key``; empty where there is none."""
    prefixes = [prefix for prefix in sources if covers(prefix, key)]
    return sources[max(prefixes, key=len)] if prefixes else ""


def is_assumed(source: str) -> bool:
    """Say whether a sentence marks a number that nobody published."""
    return source.startswith(ASSUMED)


def covers(prefix: str, key: str) -> bool:
    """Say whether ``key`` is the block ``prefix`` itself or inside it."""
    return key == prefix or key.startswith(f"{prefix}.")


def add_layer(data: dict[str, Any], layer: dict[str, Any], where: str) -> dict[str, Any]:
    """Put one file over what it extends, with one sentence per key.

    Raises ImcsimError where a number of the file has no source.
    """
    _check(layer, where)
    merged = config.merge(data, {key: value for key, value in layer.items() if key != "sources"})
    merged["sources"] = resolve(merged, tree(layer), layer.get("sources", {}), data.get("sources", {}))
    return merged


def resolve(
    data: Mapping[str, Any], changed: Iterable[str], new: Mapping[str, str], old: Mapping[str, str]
) -> dict[str, str]:
    """Return one sentence per key of the tree: for ``changed`` keys from ``new``, for the others from ``old``."""
    changed_keys = set(changed)
    sentences = {key: lookup(new if key in changed_keys else old, key) for key in tree(data)}
    return {key: sentence for key, sentence in sentences.items() if sentence}


def _check(layer: dict[str, Any], where: str) -> None:
    given, parts = layer.get("sources", {}), layer.get("parts")
    if not isinstance(given, Mapping) or not all(isinstance(text, str) and text for text in given.values()):
        raise ImcsimError(f"{where}: sources", "expected a sentence for every key", "write 'tile.adc: where from'")
    for key in numbers(layer):
        if not lookup(given, key):
            raise ImcsimError(f"{where}: {key}", "the number has no source", f"add '{key}' or a block above to sources")
    for prefix in given:
        if not any(covers(prefix, key) for key in tree(layer)):
            near = did_you_mean(prefix, tree(layer))
            raise ImcsimError(f"{where}: sources", f"nothing is declared at '{prefix}'", near)
    for row, part in parts.items() if isinstance(parts, Mapping) else ():
        if isinstance(part, Mapping) and "source" not in part:
            raise ImcsimError(f"{where}: parts.{row}", "the row has no source", "add 'source: ...' to it")
