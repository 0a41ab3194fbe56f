"""The crossbars of a chip through the writes of a plan: what every cell holds, and what each write really took.

A batch is written twice over, so that the second time every crossbar holds what the plan left in it. Copies of a
crossbar have its cells; the times of their rows are drawn from its own. Drift between two writes is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.placement import Content
from imcsim.hardware.devices import Cells, DeviceSpec, Floats
from imcsim.hardware.hardware import Hardware
from imcsim.hardware.write_circuits import Written
from imcsim.mapping.plan import Plan, Program
from imcsim.mapping.write_work import WriteWork
from imcsim.util import random_streams
from imcsim.util.progress import Progress, silent

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WrittenChip:
    """Hold what the writes of a plan left.

    ``cells``: by layer and number of the crossbar in it, (rows, columns) used. ``works``: by write.

    ``programmings``: by crossbar of the chip, how often each cell is programmed in one batch, (rows, columns).
    ``pulses``: how many cells took 0, 1, ... pulses, setup and one batch; empty where the circuit does not count them.
    """

    cells: Mapping[tuple[str, int], Cells]
    works: Mapping[Program, WriteWork]
    programmings: Mapping[int, Ints]
    pulses: Ints

    @property
    def most_programmings(self) -> tuple[int, int]:
        """How often the cell that wears most is programmed in one batch, and its crossbar; (0, 0) if none is."""
        most = {crossbar: int(counts.max()) for crossbar, counts in self.programmings.items()}
        crossbar = max(most, key=lambda number: (most[number], -number), default=0)
        return most.get(crossbar, 0), crossbar


def write_chip(
    plan: Plan,
    contents: Mapping[str, Content],
    hardware: Hardware,
    device: DeviceSpec,
    seed: int,
    progress: Progress = silent,
) -> WrittenChip:
    """Write everything that a plan writes. ``contents``: of each layer that has writes, by its name in the plan."""
    batch = [operation for operation in plan.operations() if isinstance(operation, Program)]
    writer = _Writer(contents, hardware, device, seed, _depends(batch, hardware))
    rounds = [("setup", plan.setup), *([("first", batch)] if writer.remembers else []), ("batch", batch)]
    steps = [(name, operation) for name, part in rounds for operation in part]
    for done, (name, operation) in enumerate(steps):
        progress(done, len(steps), operation.name)
        writer.write(operation, name)
    return WrittenChip(writer.cells, writer.works, writer.programmings, writer.pulses)


def _depends(batch: Sequence[Program], hardware: Hardware) -> bool:
    """Whether a write depends on what was there before."""
    begins_there = hardware.cell.write.begins_where_cells_are
    return begins_there or any(operation.unchanged_frac for operation in batch)


class _Writer:
    """``remembers``: whether what crossbars hold matters to the next write."""

    def __init__(
        self, contents: Mapping[str, Content], hardware: Hardware, device: DeviceSpec, seed: int, remembers: bool
    ) -> None:
        self.contents, self.hardware, self.device, self.seed = contents, hardware, device, seed
        self.remembers = remembers
        self.held: dict[int, Cells] = {}  # by crossbar of the chip, all its cells
        self.cells: dict[tuple[str, int], Cells] = {}
        self.works: dict[Program, WriteWork] = {}
        self.programmings: dict[int, Ints] = {}
        self.pulses = np.zeros(0, np.int64)

    def write(self, operation: Program, round_: str) -> None:
        """One write of the plan; the last of its kind is the one that counts."""
        writes = [self._crossbar(operation, i, round_) for i in range(operation.grid.crossbars)]
        self.works[operation] = self._work(operation, writes, round_)

    def _crossbar(self, operation: Program, i: int, round_: str) -> Written:
        number, region = operation.grid.start + i, operation.region
        crossbars = range(region.first + i, region.first + i + region.total, region.crossbars)
        target = self._target(operation.layer, number)
        old = _part(self._held(crossbars[0]), target.shape)
        kept = np.zeros(target.shape, bool)
        if operation.unchanged_frac:
            kept = np.isclose(old.target_usiemens, target, rtol=1e-9)
        rng = random_streams.rng(self.seed, "program", operation.layer, number, round_)
        new, written = self.hardware.cell.write.write_cells(self.device, target, old, kept, rng)
        self.cells[operation.layer, number] = new
        if round_ != "first":
            self._count_pulses(written)
        if round_ == "batch":
            self._count_wear(crossbars, written)
        if self.remembers:
            for crossbar in crossbars:
                self.held[crossbar] = _overlaid(self._held(crossbar), new, target)
        return written

    def _target(self, layer: str, number: int) -> Floats:
        content, low = self.contents[layer], self.device.g_min_usiemens
        step = (self.device.g_max_usiemens - low) / (content.code.levels - 1)
        return low + step * content.code.encode(content.blocks[number].weights)

    def _held(self, crossbar: int) -> Cells:
        """What a crossbar holds; one that was never written is erased."""
        if crossbar not in self.held:
            shape = (self.hardware.crossbar.rows, self.hardware.crossbar.device_columns)
            rng = random_streams.rng(self.seed, "erased", crossbar)
            faults = self.device.draw_faults(shape, rng)
            self.held[crossbar] = self.device.program(np.full(shape, self.device.g_min_usiemens), rng, faults)
        return self.held[crossbar]

    def _count_pulses(self, written: Written) -> None:
        if np.issubdtype(written.pulses.dtype, np.integer):
            counts = np.bincount(written.pulses.ravel())
            shorter, longer = sorted((counts, self.pulses), key=len)
            self.pulses = longer + np.pad(shorter, (0, len(longer) - len(shorter)))

    def _count_wear(self, crossbars: Iterable[int], written: Written) -> None:
        bar, (rows, columns) = self.hardware.crossbar, written.pulses.shape
        for crossbar in crossbars:
            counts = self.programmings.setdefault(crossbar, np.zeros((bar.rows, bar.device_columns), np.int64))
            counts[:rows, :columns] += written.pulses > 0

    def _work(self, operation: Program, writes: Sequence[Written], round_: str) -> WriteWork:
        copies = operation.region.copies
        rng = random_streams.rng(self.seed, "copies", operation.name, operation.grid.start, round_)
        actions: dict[str, float] = {}
        for written in writes:
            for action, amount in written.actions.items():
                actions[action] = actions.get(action, 0.0) + amount * copies
        return WriteWork(
            tuple(time for written in writes for time in _times_ns(written.row_time_ns, copies, rng)),
            actions,
            float(sum((written.pulses > 0).sum() for written in writes) * copies),
            float(sum(written.pulses.sum() for written in writes) * copies),
            float(sum(written.failed.sum() for written in writes) * copies),
        )


def _times_ns(row_time_ns: Floats, copies: int, rng: np.random.Generator) -> list[float]:
    """The time of a crossbar, and those of its further copies with rows drawn from its own."""
    others = rng.choice(row_time_ns, (copies - 1, len(row_time_ns))).sum(axis=1)
    return [float(row_time_ns.sum()), *map(float, others)]


def _part(cells: Cells, shape: tuple[int, ...]) -> Cells:
    """The first rows and columns."""
    at = tuple(slice(0, n) for n in shape)
    traits = {name: value[at] for name, value in cells.traits.items()}
    return Cells(cells.target_usiemens[at], cells.programmed_usiemens[at], traits, cells.stuck[at])


def _overlaid(cells: Cells, new: Cells, target_usiemens: Floats) -> Cells:
    """All cells of a crossbar after ``new`` was written to its first rows and columns; what is stuck there stays."""
    traits = {name: _with_part(cells.traits[name], value) for name, value in new.traits.items()}
    written = np.where(new.stuck, target_usiemens, new.programmed_usiemens)  # a copy has faults of its own
    programmed = np.where(cells.stuck, cells.programmed_usiemens, _with_part(cells.programmed_usiemens, written))
    return Cells(_with_part(cells.target_usiemens, target_usiemens), programmed, traits, cells.stuck)


def _with_part(array: NDArray[Any], part: NDArray[Any]) -> NDArray[Any]:
    copy = array.copy()
    copy[tuple(slice(0, n) for n in part.shape)] = part
    return copy
