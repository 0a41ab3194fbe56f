"""Set how PyTorch computes here: the same result from the same seed, on a given number of threads."""

from __future__ import annotations

import torch


def reproducible(threads: int) -> None:
    """Let PyTorch use so many threads, and no operation whose result differs from run to run."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a tenth of the time
