"""Work that several processes share, with its results in order."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Case = TypeVar("Case")
Result = TypeVar("Result")


def in_order(work: Callable[[Case], Result], cases: Sequence[Case], processes: int) -> Iterator[Result]:
    """Yield the results of all cases in their order, some computed at the same time; workers leave Ctrl-C to us."""
    if processes < 2:
        yield from map(work, cases)
        return
    with _ignored_interrupts():
        pool = multiprocessing.get_context("spawn").Pool(min(processes, len(cases)))
    with pool:
        yield from pool.imap(work, cases)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Let processes that are started inside ignore Ctrl-C all their life."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
