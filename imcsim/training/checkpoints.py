"""Keep what a training has reached in a file that is whole or not there; only the same training goes on from it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file


def save_checkpoint(path: Path, identity: str, content: dict[str, Any]) -> None:
    """Keep tensors, numbers and texts; ``identity`` stands for all that decides the result."""
    kept = BytesIO()  # an interruption inside the library's own writing would abort the process
    torch.save({"identity": identity, **content}, kept)
    with new_file(path) as partial:
        partial.write_bytes(kept.getvalue())


def load_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """Return what was kept, nothing without a file. Raises ImcsimError for another training, or a broken file."""
    if not path.exists():
        return {}
    try:
        content = dict(torch.load(path, weights_only=True))
    except Exception as error:  # whatever a broken file makes the library raise
        raise ImcsimError(str(path), "is no readable unfinished training", "remove it to begin anew") from error
    if content.get("identity") != identity:
        hint = "remove it to begin anew, or give the network, data and options that it was begun with"
        raise ImcsimError(str(path), "holds another unfinished training, or one of another version", hint)
    return content
