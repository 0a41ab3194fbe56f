"""How many threads kernels use; it changes their speed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let kernels use at most so many threads, and no more than this process has."""
    config: Any = numba.config
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
