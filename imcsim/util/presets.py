"""Where the presets and traces lie that come with the package, and how a name or a path finds one."""

from __future__ import annotations

from pathlib import Path

from imcsim.util.errors import ImcsimError, did_you_mean

YAML_SUFFIXES = (".yaml", ".yml")


def shipped_dir(kind: str) -> Path:
    """The folder ``workloads``, ``hwconfigs`` or one below: in a wheel, else beside the package (source checkout).

    Raises ImcsimError where the installation lacks it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_shipped" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise ImcsimError(kind, "the installation lacks this folder", "install imcsim again")


def shipped_files(kind: str, suffixes: tuple[str, ...] = YAML_SUFFIXES) -> dict[str, Path]:
    """Every shipped file of a kind by its name (without the suffix), sorted."""
    files = (path for path in shipped_dir(kind).iterdir() if path.name.endswith(suffixes))
    return {_stem(path.name, suffixes): path for path in sorted(files)}


def find(
    kind: str, name: str, suffixes: tuple[str, ...] = YAML_SUFFIXES, beside: Path | None = None, where: str = ""
) -> Path:
    """The file that a user means: an existing file (also relative to the folder ``beside``), else a shipped name.

    Raises ImcsimError with the nearest name; ``where`` says which file and key asked for it.
    """
    path, asked = Path(name) if beside is None else beside / name, f"{where}: {name}" if where else name
    if path.is_file():
        return path
    known = shipped_files(kind, suffixes)
    if name in known:
        return known[name]
    if path.is_dir():
        raise ImcsimError(asked, "is a directory, not a file", f"name a file in it, or one of: {', '.join(known)}")
    if name.endswith(suffixes) or "/" in name:
        raise ImcsimError(asked, "there is no such file", "check the path")
    raise ImcsimError(asked, f"no file and no name that is shipped in {kind}", did_you_mean(name, known))


def _stem(filename: str, suffixes: tuple[str, ...]) -> str:
    longest = max((suffix for suffix in suffixes if filename.endswith(suffix)), key=len)
    return filename.removesuffix(longest)
