"""Estimate whether work will fit into memory before it begins, so that nobody waits for a failure."""

from __future__ import annotations

import os
from contextlib import suppress

from imcsim.util.errors import ImcsimError

GIB = 1 << 30


def available_bytes() -> int:
    """Return the memory of this machine that is free or can be freed."""
    with suppress(OSError), open("/proc/meminfo", encoding="ascii") as file:  # Linux has the better answer
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def need_bytes(amount: float, what: str, hint: str) -> None:
    """Raise ImcsimError where ``what`` takes more bytes than there are."""
    there = available_bytes()
    if amount > there:
        raise ImcsimError(what, f"takes about {amount / GIB:.1f} GiB, {there / GIB:.1f} GiB are free", hint)
