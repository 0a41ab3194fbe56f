"""Note what a long computation has found so far, line by line in a file, so that it can go on after an interruption."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

Place = Path | Literal["nowhere"]


class Journal:
    """Keep entries by key, in ``folder/name.jsonl``; with 'nowhere' as folder they live in memory alone."""

    def __init__(self, folder: Place, name: str) -> None:
        self.path: Place = "nowhere" if isinstance(folder, str) else folder / f"{name}.jsonl"
        self.entries: dict[str, Any] = {}
        if isinstance(self.path, Path) and self.path.is_file():
            self._read(self.path)

    def _read(self, path: Path) -> None:
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # an interrupted write is done again
                key, entry = json.loads(line)
                self.entries[key] = entry

    def add(self, key: str, entry: Any) -> None:
        """Keep an entry that JSON can hold, on disk before this returns."""
        self.entries[key] = entry
        if isinstance(self.path, Path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([key, entry]))  # not on the line of an interrupted write

    def forget(self) -> None:
        """Remove the file, and its folder if it was the last; what it was for is done."""
        if isinstance(self.path, Path):
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are unfinished too, or there was nothing to write
                self.path.parent.rmdir()
