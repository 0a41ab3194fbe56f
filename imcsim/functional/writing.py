"""One crossbar's write: a write circuit of the hardware file puts conductances into cells of a device."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.cell_writing import Written, count_arrays, count_words, draw_counts, write_verify
from imcsim.hardware.devices import Cells, DeviceSpec, Floats
from imcsim.hardware.pulses import Stepped
from imcsim.hardware.write_circuit import Array, Verify, Word, WriteSpec

Bools = NDArray[np.bool_]


@singledispatch
def write_block(
    circuit: WriteSpec, device: DeviceSpec, target_usiemens: Floats, old: Cells, kept: Bools, rng: np.random.Generator
) -> tuple[Cells, Written]:
    """Cells (rows, columns) afterwards, and what the write took; ``kept`` are the cells that need no write.

    Where the circuit counts pulses without moving conductances, the device's own error says where a cell ends.
    """
    raise TypeError(f"no write for {type(circuit).__name__}")


@write_block.register
def _(
    circuit: Verify, device: DeviceSpec, target_usiemens: Floats, old: Cells, kept: Bools, rng: np.random.Generator
) -> tuple[Cells, Written]:
    if isinstance(circuit.pulses, Stepped):
        return _step(circuit, circuit.pulses, device, target_usiemens, old, rng)
    written = draw_counts(circuit, *_size(target_usiemens), rng, kept)
    return _keep(_program(device, target_usiemens, old, rng), old, kept), written


@write_block.register
def _(
    circuit: Word, device: DeviceSpec, target_usiemens: Floats, old: Cells, kept: Bools, rng: np.random.Generator
) -> tuple[Cells, Written]:
    written = count_words(circuit, kept, rng)
    return _keep(_program(device, target_usiemens, old, rng), old, kept), written


@write_block.register
def _(
    circuit: Array, device: DeviceSpec, target_usiemens: Floats, old: Cells, kept: Bools, rng: np.random.Generator
) -> tuple[Cells, Written]:
    written = count_arrays(circuit, *_size(target_usiemens), rng)
    return _program(device, target_usiemens, old, rng), written


def _step(
    circuit: Verify, pulses: Stepped, device: DeviceSpec, target: Floats, old: Cells, rng: np.random.Generator
) -> tuple[Cells, Written]:
    """Pulse by pulse from where the cells were left; a read comes first, so that no cell is written in vain."""
    cell = pulses.cell(device.g_min_usiemens, device.g_max_usiemens)
    works = np.where(old.stuck, 0.0, 1.0)
    here, there = (np.asarray(g_usiemens, float) for g_usiemens in (old.programmed_usiemens, target))
    final, written = write_verify(there, here, cell, circuit, rng, works)
    return device.leave(target, final, rng, _stuck_at(old)), written


def _program(device: DeviceSpec, target: Floats, old: Cells, rng: np.random.Generator) -> Cells:
    return device.program(target, rng, _stuck_at(old))


def _size(cells: Floats) -> tuple[int, int]:
    rows, columns = cells.shape
    return rows, columns


def _stuck_at(cells: Cells) -> Floats:
    return np.where(cells.stuck, cells.programmed_usiemens, np.nan)


def _keep(new: Cells, old: Cells, kept: Bools) -> Cells:
    """The new cells, except where the old ones were left alone."""
    traits = {name: np.where(kept, old.traits[name], value) for name, value in new.traits.items()}
    programmed = np.where(kept, old.programmed_usiemens, new.programmed_usiemens)
    return Cells(new.target_usiemens, programmed, traits, new.stuck)
