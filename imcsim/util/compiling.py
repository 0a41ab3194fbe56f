"""Say how kernels are compiled, when the compiled code of an earlier run may be used again, and on how many threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit, types
from numba.core import cgutils as numba_cgutils
from numba.extending import intrinsic as numba_intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

cgutils: Any = numba_cgutils  # both without types
intrinsic: Any = numba_intrinsic


def kernel_sources() -> list[Path]:
    """Return every file whose text ends up in compiled code: the kernels of all wings, and this file."""
    return sorted([Path(__file__), *Path(__file__).parents[1].glob("**/kernels/*.py")])


SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in kernel_sources())).hexdigest()


def compiled(function: Function) -> Function:
    """Compile at the first call, and keep the code on disk for as long as no kernel's source changes.

    Numba's cache alone asks whether the function's own file has changed. Here constants and inlined functions come from
    other files, and old code on a new memory would write anywhere, so the stamp of all sources takes its place.
    """
    return cast(Function, _stamped(njit(cache=True, error_model="numpy")(function)))


def parallel(function: Any) -> Any:
    """Compile like ``compiled``, for a kernel whose ``prange`` is divided among threads."""
    return _stamped(njit(cache=True, error_model="numpy", parallel=True)(function))


def contracted(function: Function) -> Function:
    """Compile like ``compiled``, and let a product and a sum be fused into one operation that rounds once."""
    return cast(Function, _stamped(njit(cache=True, error_model="numpy", fastmath={"contract"})(function)))


def _stamped(dispatcher: Any) -> Any:
    """Give the cache of a function the stamp of all sources, and let it forget what other sources left behind.

    Numba unpickles what it kept before it compares stamps, and fails where a type of an argument has since gone.
    """
    cache_file = dispatcher._cache._cache_file
    load_index = cache_file._load_index

    def load_index_or_nothing() -> Any:
        try:
            return load_index()
        except (AttributeError, ImportError):
            return {}

    cache_file._source_stamp, cache_file._load_index = SOURCES, load_index_or_nothing
    return dispatcher


def inlined(function: Any) -> Any:
    """Compile into the code, and the cache, of the callers."""
    return njit(forceinline=True, error_model="numpy")(function)


@intrinsic
def fused(context, x, y, z):  # type: ignore[no-untyped-def]
    """Return ``x * y + z`` of float32, rounded once, on every machine."""
    number = types.float32
    return number(number, number, number), lambda context, builder, signature, values: builder.fma(*values)


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let kernels use at most so many threads, and no more than this process has; only their speed changes."""
    config: Any = numba.config
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
