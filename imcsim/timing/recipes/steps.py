"""Build the steps that operations share: bus, digital unit, DRAM, network; and count the bytes that they move.

With the recipes themselves the only place where nanoseconds become clock cycles (rounded up) and integer picoseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.hardware import DramChannels, Hardware, Mesh, SharedBus, VectorUnit
from imcsim.mapping.floorplan import Lanes
from imcsim.timing.engine.contract import UNLIMITED, Resource
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.workload.workload import Conv, Layer, Linear

Time = int | NDArray[np.int64]
FREE = Resource("free", ResourceKind.NONE, UNLIMITED)


@dataclass(frozen=True)
class Step:
    """Hold a resource, how long a vector holds a unit of it, and when the vector goes on; ps."""

    resource: Resource
    hold_ps: Time
    latency_ps: Time


def bus_step(n_bytes: float, lane: Lanes, hardware: Hardware) -> tuple[Step, ...]:
    """Return one transfer between a tile's buffer and its crossbars; nothing where the bus is ideal."""
    bus = hardware.tile.bus
    if not isinstance(bus, SharedBus):
        return ()
    beats = math.ceil(n_bytes * 8 / bus.width_bits)
    time_ps = hardware.cycles(beats * 1000 / bus.bus_mhz) * hardware.period_ps
    return (Step(Resource(f"bus[{lane.key}]", ResourceKind.BUS, lane.count), time_ps, time_ps),)


def fetch_step(n_bytes: float, lane: Lanes, hardware: Hardware) -> tuple[Step, ...]:
    """Return the transfer to the input registers; a step also where the bus is ideal, for it frees the buffer."""
    return bus_step(n_bytes, lane, hardware) or (Step(FREE, 0, 0),)


def digital_step(operations: float, macs: float, lane: Lanes, hardware: Hardware, least: int = 0) -> tuple[Step, ...]:
    """Return work on a lane's digital unit, at least ``least`` cycles; nothing where it is ideal or has no work."""
    unit = hardware.tile.digital
    if not isinstance(unit, VectorUnit):
        return ()
    cycles = math.ceil(operations / (unit.op_lanes * lane.tiles)) + math.ceil(macs / (unit.mac_lanes * lane.tiles))
    time_ps = max(cycles, least) * hardware.period_ps
    return (
        (Step(Resource(f"digital[{lane.key}]", ResourceKind.DIGITAL, lane.count), time_ps, time_ps),) if time_ps else ()
    )


def dram_step(n_bytes: float, hardware: Hardware) -> tuple[Step, ...]:
    """Return one burst on a DRAM channel; nothing where DRAM is ideal."""
    dram = hardware.chip.dram
    if not isinstance(dram, DramChannels):
        return ()
    burst = max(1, hardware.cycles(n_bytes / dram.bytes_per_ns))
    period = hardware.period_ps
    step = Step(
        Resource("dram", ResourceKind.DRAM, dram.n_channels),
        burst * period,
        (burst + hardware.cycles(dram.latency_ns)) * period,
    )
    return (step,)


def link_steps(
    n_bytes: float, links: tuple[tuple[int, int], ...], home: int, parallel: int, hardware: Hardware
) -> tuple[Step, ...]:
    """Return the router port and the links on the way: the head goes on after a hop, the tail holds the link behind.

    ``parallel``: paths over which an operation of several tiles spreads its traffic. Nothing where links are ideal.
    """
    mesh = hardware.chip.noc
    if not isinstance(mesh, Mesh):
        return ()
    flits = math.ceil(n_bytes * 8 / (mesh.link_bits * parallel))
    hold = max(1, hardware.cycles(flits * 1000 / mesh.link_mhz)) * hardware.period_ps
    hop = hardware.cycles(mesh.hop_latency_ns) * hardware.period_ps
    names = [f"port[{home}]", *(f"link[{a}>{b}]" for a, b in links)]
    tail = [hop] * (len(names) - 1) + [hop + hold]
    return tuple(Step(Resource(name, ResourceKind.LINK, 1), hold, late) for name, late in zip(names, tail, strict=True))


def write_driver(hardware: Hardware) -> Resource:
    """Return the drivers that all writes of a chip share: as many units as crossbars are written at once."""
    return Resource("write", ResourceKind.WRITE, hardware.cell.write.crossbars_at_once(hardware.n_crossbars))


def n_bytes(layer: Layer, elements: float) -> float:
    """Return the bytes of activations at a layer's input precision."""
    return elements * layer.input_quant.bits / 8


def partial_bytes(layer: Conv | Linear, hw: Hardware) -> int:
    """Return the bytes of one partial sum: product bits and the carry bits of one crossbar's rows."""
    return -(-(layer.input_quant.bits + layer.weight_quant.bits + (hw.crossbar.rows - 1).bit_length()) // 8)
