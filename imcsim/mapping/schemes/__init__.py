"""Schemes: one file each. A new file in this folder, or a file given by its path, is a new scheme."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from imcsim.mapping.schemes.base import Scheme
from imcsim.util.config import build
from imcsim.util.errors import ImcsimError, did_you_mean


def registered() -> dict[str, type[Scheme]]:
    """All schemes of this folder, by name."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return {cls.name: cls for module in modules for cls in _schemes_in(module)}


def load_scheme(name: str, options: Mapping[str, Any]) -> Scheme:
    """A scheme by its name, or from a Python file by its path, with its options checked.

    Raises ImcsimError for unknown schemes and options, with the nearest known word.
    """
    known = _from_file(Path(name)) if name.endswith(".py") else registered()
    cls = next(iter(known.values())) if name.endswith(".py") else known.get(name)
    if cls is None:
        raise ImcsimError(f"scheme '{name}'", "there is no such scheme", did_you_mean(name, known))
    return build(cls, dict(options), f"scheme '{cls.name}', option")


def _from_file(path: Path) -> dict[str, type[Scheme]]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImcsimError(str(path), "there is no such file", "give the path of a Python file with a Scheme class")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {cls.name: cls for cls in _schemes_in(module)}
    if not found:
        raise ImcsimError(
            str(path),
            "it defines no scheme",
            "derive a class from imcsim.mapping.schemes.base.Scheme and give it a name",
        )
    return found


def _schemes_in(module: ModuleType) -> list[type[Scheme]]:
    """Scheme classes that a module defines itself and that carry a name."""
    return [
        cls
        for cls in vars(module).values()
        if isinstance(cls, type)
        and issubclass(cls, Scheme)
        and cls.__module__ == module.__name__
        and "name" in vars(cls)
    ]
