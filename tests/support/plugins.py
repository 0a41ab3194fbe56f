"""Classes of a registry, new files in the folder in which it looks, and packages that bring more."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imcsim.util import installed
from imcsim.util.registry import Registry


def classes(registry: Registry[Any]) -> dict[str, type[Any]]:
    """Return every class by its word."""
    return {name: registry.find(name) for name in registry.origins}


def drop(code: str, file: str, registry: Registry[Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file with some code stand in the folder of a registry until the test ends."""
    (folder / file).write_text(code)
    package, name = sys.modules[registry.folder], f"{registry.folder}.{Path(file).stem}"
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setitem(sys.modules, name, None)  # so that what is imported now is forgotten afterwards
    del sys.modules[name]
    monkeypatch.setitem(vars(registry), "origins", None)
    del vars(registry)["origins"]


def install(name: str, points: Mapping[str, Mapping[str, str]], files: Mapping[str, str], folder: Path) -> None:
    """Make a folder hold an installed package: its files, and its entry points by group."""
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in pairs.items()) for group, pairs in points.items())
    (facts / "entry_points.txt").write_text("\n".join(groups))


@contextmanager
def on_the_path(folder: Path, *registries: Registry[Any]) -> Iterator[None]:
    """Look for packages in a folder too, as long as the block lasts."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    forget(*registries)
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
        forget(*registries)


def forget(*registries: Registry[Any]) -> None:
    """Make registries look again for what is installed."""
    installed.points.cache_clear()
    importlib.invalidate_caches()
    for registry in registries:
        vars(registry).pop("origins", None)
