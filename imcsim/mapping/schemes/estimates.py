"""Estimate clock cycles by closed forms that schemes decide by; the engine measures what really happens."""

from __future__ import annotations

from imcsim.hardware.hardware import Hardware, VectorUnit
from imcsim.mapping.schemes.base import LayerGroup
from imcsim.mapping.tiling import TileGrid
from imcsim.workload.workload import n_macs


def vector_cycles(group: LayerGroup, hardware: Hardware) -> int:
    """Return steady-state cycles of a vector on resident weights: input phases times tau of the fullest crossbar."""
    bits = group.layer.input_quant.bits
    return max(
        hardware.input_phases(bits, rows) * hardware.phase_cycles(columns)
        for rows, columns in set(zip(group.grid.rows, group.grid.columns, strict=True))
    )


def compute_cycles(group: LayerGroup, hardware: Hardware, batch: int, copies: int = 1) -> int:
    """Return the cycles of all vectors of a batch: ceil(Bt P / rho) T_in tau."""
    return -(-batch * group.layer.positions // copies) * vector_cycles(group, hardware)


def product_cycles(group: LayerGroup, hardware: Hardware, batch: int) -> int:
    """Return the cycles of the products of activations behind a group, as in attention, on the tiles of one copy."""
    unit = hardware.tile.digital
    if not isinstance(unit, VectorUnit):
        return 0
    tiles = max(1, group.grid.crossbars // hardware.tile.n_crossbars)
    return sum(-(-n_macs(fused.layer) * batch // (unit.mac_lanes * tiles)) for fused in group.tail)


def write_cycles(grid: TileGrid, hardware: Hardware, unchanged_frac: float) -> int:
    """Return the cycles that the slowest crossbar of a grid takes to be written."""
    write = hardware.cell.write
    sizes = set(zip(grid.rows, grid.columns, strict=True))
    return max(hardware.cycles(write.time_ns(rows, columns, unchanged_frac)) for rows, columns in sizes)


def write_rounds(crossbars: int, hardware: Hardware) -> int:
    """Return Q, the rounds in which the power limit lets so many crossbars be written."""
    return -(-crossbars // hardware.cell.write.crossbars_at_once(hardware.n_crossbars))
