"""Write files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imcsim.util.errors import ImcsimError

HINT = "choose another place with --out"


@contextmanager
def run_directory(parent: Path, name: str) -> Iterator[Path]:
    """Open a temporary directory beside ``parent/name`` that takes its place when the block ends.

    Whatever interrupts the block, Ctrl-C included, removes it and leaves what was there before. Raises ImcsimError
    where the place cannot be written.
    """
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    partial = parent / f".{name}.{secrets.token_hex(4)}.partial"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        _replace_directory(partial, parent / name)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise ImcsimError(str(parent / name), f"cannot be written ({error.strerror or error})", HINT) from None
        raise


def _replace_directory(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``; what lay there comes back where that fails, and is removed where it does not."""
    old = new.with_suffix(".old")
    while True:
        with suppress(FileNotFoundError):
            os.rename(target, old)
        try:
            os.rename(new, target)
        except BaseException as error:
            if old.exists() and not target.exists():
                os.rename(old, target)
            if isinstance(error, OSError) and target.is_dir() and not old.exists():
                continue  # another run of the same name came between
            raise
        shutil.rmtree(old, ignore_errors=True)
        return


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Open a temporary path in the same directory that takes the place of ``path`` when the block ends.

    It keeps the suffix, by which some writers choose the format. Raises ImcsimError where it cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):  # its folder may be none
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ImcsimError(str(path), f"cannot be written ({error.strerror or error})", HINT) from None
        raise
