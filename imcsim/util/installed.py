"""What installed packages bring: their entry points, read once."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from imcsim.util.errors import ImcsimError


@cache
def points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group such as ``imcsim.devices``, by name and package in order."""
    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, package_of(point))))


def package_of(point: EntryPoint) -> str:
    """Return the name and version of the package that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"


def broken(point: EntryPoint, problem: str, remedy: str = "repair or uninstall the package") -> ImcsimError:
    """Return the error that names a package and its entry point."""
    return ImcsimError(f"package {package_of(point)}, entry point '{point.name}' of {point.group}", problem, remedy)
