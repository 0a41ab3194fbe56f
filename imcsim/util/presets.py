"""Where presets and traces lie, those of the package and of installed ones, and how a name or a path finds one."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

from imcsim.util import installed
from imcsim.util.errors import ImcsimError, did_you_mean

YAML_SUFFIXES = (".yaml", ".yml")
GROUP = "imcsim.presets"
SHIPPED = "imcsim"


class KnownFile(NamedTuple):
    """A file that has a name, and the package that it comes from."""

    path: Path
    package: str


def shipped_dir(kind: str) -> Path:
    """Return the folder ``workloads``, ``hwconfigs`` or one below: in a wheel, or beside the package (source checkout).

    Raises ImcsimError where the installation lacks it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_shipped" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise ImcsimError(kind, "the installation lacks this folder", "install imcsim again")


def shipped_files(kind: str, suffixes: tuple[str, ...] = YAML_SUFFIXES) -> dict[str, Path]:
    """Return every shipped file of a kind by its name (without the suffix), sorted."""
    return _files(shipped_dir(kind), suffixes)


def known_files(kind: str, suffixes: tuple[str, ...] = YAML_SUFFIXES) -> dict[str, list[KnownFile]]:
    """Return every file that has a name, shipped and of installed packages; broken packages are left out."""
    known: dict[str, list[KnownFile]] = defaultdict(list)
    for package, folder in ((SHIPPED, shipped_dir(kind)), *_installed_folders(kind)):
        for name, path in _files(folder, suffixes).items():
            known[name].append(KnownFile(path, package))
    return dict(sorted(known.items()))


def broken_packages() -> list[ImcsimError]:
    """Return an error for each installed package that announces presets which are not there."""
    return [
        installed.broken(point, f"there is no package '{point.value}' with presets")
        for point in installed.points(GROUP)
        if not _folders(point)
    ]


def find(
    kind: str, name: str, suffixes: tuple[str, ...] = YAML_SUFFIXES, beside: Path | None = None, where: str = ""
) -> Path:
    """Return the file that a user means: an existing one (also relative to the folder ``beside``) or one with a name.

    Raises ImcsimError with the nearest name, or where two packages bring the name; ``where`` says which file and key
    asked for it.
    """
    path, asked = Path(name) if beside is None else beside / name, f"{where}: {name}" if where else name
    if path.is_file():
        return path
    known = known_files(kind, suffixes)
    if name in known:
        return only(known[name], asked).path
    if path.is_dir():
        raise ImcsimError(asked, "is a directory, not a file", f"name a file in it, or one of: {', '.join(known)}")
    if name.endswith(suffixes) or "/" in name:
        raise ImcsimError(asked, "there is no such file", "check the path")
    for broken in broken_packages():
        raise broken
    raise ImcsimError(asked, f"no file and no name that is shipped in {kind}", did_you_mean(name, known))


def only(presets: list[KnownFile], asked: str) -> KnownFile:
    """Return the one preset of a name; ImcsimError where several packages bring it."""
    if len(presets) > 1:
        packages = " and ".join(preset.package for preset in presets)
        raise ImcsimError(asked, f"is brought by {packages}", "give the path of the file, or uninstall one package")
    return presets[0]


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    files = (path for path in folder.iterdir() if path.name.endswith(suffixes))
    return {_stem(path.name, suffixes): path for path in sorted(files)}


def _installed_folders(kind: str) -> Iterator[tuple[str, Path]]:
    """Yield each package with the folder of this kind that it brings."""
    for point in installed.points(GROUP):
        for folder in _folders(point):
            if (folder / kind).is_dir():
                yield installed.package_of(point), folder / kind


def _folders(point: EntryPoint) -> list[Path]:
    """Return where the package of an entry point lies that holds ``hwconfigs`` or ``workloads``."""
    try:
        spec = importlib.util.find_spec(point.value)
    except Exception:  # whatever importing the package above it raises
        return []
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return [folder for folder in folders if any((folder / kind).is_dir() for kind in ("hwconfigs", "workloads"))]


def _stem(filename: str, suffixes: tuple[str, ...]) -> str:
    longest = max((suffix for suffix in suffixes if filename.endswith(suffix)), key=len)
    return filename.removesuffix(longest)
