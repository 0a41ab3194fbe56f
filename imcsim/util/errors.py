"""Define the exceptions that a user may see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class ImcsimError(Exception):
    """Report bad input in one sentence: where, what is wrong, and what to do instead.

    The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, where: str, problem: str, suggestion: str = "") -> None:
        self.where, self.problem, self.suggestion = where, problem, suggestion
        tail = f"; {suggestion}" if suggestion else ""
        super().__init__(f"{where}: {problem}{tail}")

    def __reduce__(self) -> tuple[type[ImcsimError], tuple[Any, ...]]:
        """Let the error pass from one process to another."""
        return type(self), (self.where, self.problem, self.suggestion)


class DoesNotFit(ImcsimError):  # noqa: N818  what a scheme says, and a comparison makes a row of
    """Say that a network needs more crossbars than the chip has: ``missing`` of them."""

    def __init__(self, where: str, problem: str, suggestion: str = "", missing: int = 0) -> None:
        self.missing = missing
        super().__init__(where, problem, suggestion)

    def __reduce__(self) -> tuple[type[DoesNotFit], tuple[Any, ...]]:
        """Let the error pass from one process to another with what is missing."""
        return type(self), (self.where, self.problem, self.suggestion, self.missing)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion that names the nearest known word, or lists them all."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
