"""What one write of a plan takes: expected, drawn at random, or counted cell by cell (``functional/chip.py``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Program
from imcsim.util import random_streams


@dataclass(frozen=True)
class WriteWork:
    """Time, actions of the component ``cell`` and wear of a write, over all copies of its crossbars.

    ``times_ns``: of each crossbar, its copies one after another. ``cells``: those that were programmed, not skipped.
    """

    times_ns: tuple[float, ...]
    actions: Mapping[str, float]
    cells: float
    pulses: float
    failed: float  # cells that stay outside their target


Works = Mapping[Program, WriteWork]


def work_of(operation: Program, works: Works, hardware: Hardware) -> WriteWork:
    """What was found out about a write, else what is expected of it."""
    return works[operation] if operation in works else expected_work(operation, hardware)


def expected_work(operation: Program, hardware: Hardware) -> WriteWork:
    """Expected times and amounts of the write circuit."""
    write = hardware.cell.write
    known = {size: write.time_ns(*size, operation.unchanged_frac) for size in set(_sizes(operation))}
    return _work(operation, hardware, tuple(known[size] for size in _sizes(operation)))


def drawn_work(operation: Program, hardware: Hardware, seed: int) -> WriteWork:
    """Each crossbar's time drawn from the write circuit's distribution; amounts as expected."""
    random, write = random_streams.rng(seed, "write", operation.name), hardware.cell.write
    times_ns = [write.sample_time_ns(*size, operation.unchanged_frac, random) for size in _sizes(operation)]
    return _work(operation, hardware, tuple(times_ns))


def _work(operation: Program, hardware: Hardware, times_ns: tuple[float, ...]) -> WriteWork:
    write, copies = hardware.cell.write, operation.region.copies
    actions: dict[str, float] = defaultdict(float)
    for (rows, columns, used), n in operation.grid.kinds.items():
        for action, amount in write.amounts(rows, columns, used, operation.unchanged_frac).items():
            actions[action] += amount * n * copies
    cells = sum(operation.grid.cells) * copies * (1 - operation.unchanged_frac)
    return WriteWork(times_ns, dict(actions), cells, cells * write.mean_pulses, cells * write.fail_frac)


def _sizes(operation: Program) -> list[tuple[int, int]]:
    grid = operation.grid
    return [size for size in zip(grid.rows, grid.columns, strict=True) for _ in range(operation.region.copies)]
