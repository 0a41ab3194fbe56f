"""Python files of a user, run as modules that are named by what they contain.

So two versions of a file never mix, and what is declared with a class of a file can say which version that was. Objects
of such classes carry the text of their file where they are pickled: a process that was not there can rebuild them.
"""

from __future__ import annotations

import copyreg
import hashlib
import sys
import traceback
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from imcsim.util.errors import ImcsimError

SUFFIX = ".py"
_PREFIX = "imcsim_file_"
_texts: dict[str, tuple[str, str]] = {}  # module name -> text and path of its file


def is_file(name: str) -> bool:
    """Say whether a name means a Python file."""
    return name.endswith(SUFFIX)


def load_file(path: Path) -> ModuleType:
    """Return a file as a module; it is run once for each content.

    Raises ImcsimError that names the file, and the line where running it fails.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ImcsimError(str(path), "there is no such file", "give the path of a Python file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ImcsimError(str(path), f"cannot be read ({type(error).__name__})", "name a Python file") from None
    return _run(text, str(path))


def digest_of(cls: type) -> str | None:
    """Return a short hash of the file that a class was loaded from; None for a class of an importable module."""
    return cls.__module__.removeprefix(_PREFIX) if cls.__module__ in _texts else None


def loaded(digest: str) -> ModuleType | None:
    """Return the module of a file with this hash, if this process has loaded one."""
    return sys.modules.get(_PREFIX + digest)


def failure(error: BaseException) -> str:
    """Return what went wrong while foreign code was loaded, for an ImcsimError."""
    return f"cannot be loaded ({type(error).__name__}: {str(error).partition(chr(10))[0]})"


def _run(text: str, path: str) -> ModuleType:
    name = _PREFIX + hashlib.sha256(text.encode()).hexdigest()[:12]
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module  # where annotations kept as text are looked up
    try:
        exec(compile(text, path, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ImcsimError(f"{path}{_line(path, error)}", failure(error), "correct the file") from None
    _texts[name] = text, path
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, BaseModel) and cls.__module__ == name:
            copyreg.pickle(cls, _reduced)
    return module


def _line(path: str, error: BaseException) -> str:
    """Say on which line of the file an error arose."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.filename == path else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}" if lines else ""


def _reduced(thing: Any) -> tuple[Callable[..., Any], tuple[str, str, str], Any]:
    """Take an object apart for pickle, the text of its file included."""
    cls = type(thing)
    return _restored, (*_texts[cls.__module__], cls.__qualname__), thing.__getstate__()


def _restored(text: str, path: str, qualified_name: str) -> Any:
    """Return an empty object of a class of a file, to which pickle adds the state."""
    cls = attrgetter(qualified_name)(_run(text, path))
    return cls.__new__(cls)
