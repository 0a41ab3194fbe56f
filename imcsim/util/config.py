"""Read YAML and JSON files into frozen, checked classes, with errors that name file, key and remedy."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from imcsim.util import presets
from imcsim.util.config_errors import in_plain_words
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.python_files import is_file


class Spec(BaseModel):
    """Be the base of all that is declared: frozen, no unknown keys, no NaN, no silent type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Model = TypeVar("Model", bound=BaseModel)
OWN_KEYS = ("name", "description", "published")  # they speak about one file, so `extends` does not hand them down


# -- reading -------------------------------------------------------------------------------------------------------


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Load YAML safely; it refuses a key given twice and reads 1e-3 as the number that it is."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}


_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("+-0123456789"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises ImcsimError where the file is missing, broken or no mapping."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ImcsimError(f"{path}{line}", f"broken YAML, {problem}", "correct this line") from None
    except FileNotFoundError:
        raise ImcsimError(str(path), "there is no such file", "check the path") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ImcsimError(str(path), f"cannot be read ({type(error).__name__})", "name a readable YAML file") from None
    if data is None:
        raise ImcsimError(str(path), "the file is empty", "start from a shipped preset with 'extends'")
    if not _is_finite(data):
        raise ImcsimError(str(path), "refers to itself and has no end", "remove the reference")
    if not isinstance(data, dict):
        raise ImcsimError(str(path), f"expected keys with values, got a {type(data).__name__}", "write 'key: value'")
    return data


def _is_finite(data: Any) -> bool:
    try:
        json.dumps(data, default=str)
    except (ValueError, RecursionError):
        return False
    return True


def read_chain(kind: str, name: str, where: str = "", beside: Path | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """Read a file and all that it extends, base first; ``kind`` is the shipped folder in which names are looked up.

    ``where`` says who asks and ``beside`` the folder of that file, for paths relative to it.
    Raises ImcsimError for a file that extends itself, directly or in a ring, with the ring printed.
    """
    chain: list[tuple[Path, dict[str, Any]]] = []
    path = presets.find(kind, name, beside=beside, where=where)
    while True:
        ring = [*(known for known, _ in chain), path]
        if any(path.resolve() == known.resolve() for known, _ in chain):
            names = " > ".join(known.stem for known in ring)
            raise ImcsimError(str(ring[0]), f"extends itself: {names}", "extend another preset")
        data = read_yaml(path)
        parent = data.pop("extends", None)
        chain.append((path, _with_absolute_files(data, path.parent)))
        if parent is None:
            return chain[::-1]
        path = presets.find(kind, str(parent), beside=path.parent, where=f"{path}: extends")


def _with_absolute_files(block: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a block in which the path of every Python file that is a ``kind`` begins at the root."""
    result = {
        key: _with_absolute_files(value, folder) if isinstance(value, dict) else value for key, value in block.items()
    }
    kind = block.get("kind")
    if isinstance(kind, str) and is_file(kind):
        result["kind"] = str((folder / kind).resolve())
    return result


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the keys of ``top`` over it, block by block; one of another kind replaces the old one."""
    merged = dict(base)
    for key, value in top.items():
        old: Any = base.get(key)
        blocks = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if blocks and not _changes_kind(old, value) else value
    return merged


def _changes_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "kind" in new and new["kind"] != old.get("kind")


def apply_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a copy of ``data`` with values set by dotted key; texts are read as YAML, so ``"6"`` becomes the number 6.

    An override that changes the ``kind`` of a block clears the other keys of the block, so give them too.
    Raises ImcsimError for a key that does not exist, with the nearest one.
    """
    result, changed = copy.deepcopy(dict(data)), set()
    for path in sorted(overrides, key=lambda path: (not path.endswith(".kind"), path.count("."))):
        *parents, key = path.split(".")
        block = _descend(result, parents, f"{where}: {path}")
        value = _scalar(overrides[path], f"{where}: {path}")
        if key == "kind" and block.get(key) != value:
            block.clear()
            changed.add(tuple(parents))
        elif key not in block and not any(tuple(parents[: len(c)]) == c for c in changed):
            raise ImcsimError(f"{where}: {path}", f"unknown key '{key}'", did_you_mean(key, block))
        block[key] = value
    return result


def _descend(data: dict[str, Any], parents: list[str], where: str) -> dict[str, Any]:
    block = data
    for key in parents:
        if key not in block:
            raise ImcsimError(where, f"unknown key '{key}'", did_you_mean(key, block))
        if not isinstance(block[key], dict):
            raise ImcsimError(where, f"'{key}' is a value and has no keys below it", f"set {key} itself")
        block = block[key]
    return block


def _scalar(value: Any, where: str) -> Any:
    try:
        return yaml.load(value, Loader=_Loader) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise ImcsimError(where, f"cannot read the value {value!r}", "give a number, a word or a list") from None


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every (dotted key, value) at the end of nested blocks; a list counts as one value."""
    if not isinstance(data, Mapping):
        yield path, data
        return
    for key, value in data.items():
        yield from leaves(value, f"{path}.{key}" if path else str(key))


def canonical_hash(value: Any, length: int = 12) -> str:
    """Return a short hash of any JSON-like value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


# -- checking ------------------------------------------------------------------------------------------------------


def build(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Check ``data`` against ``model``; the first mistake becomes an ImcsimError with its key path."""
    try:
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise in_plain_words(error, model, data, where) from None
