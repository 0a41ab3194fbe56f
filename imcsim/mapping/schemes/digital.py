"""Compute everything on the digital units of the same tiles: the row that a sceptic asks for."""

from __future__ import annotations

from typing import ClassVar

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Digital, Load, Phase, Plan, Region
from imcsim.mapping.schemes.base import LayerGroup, Scheme, crossbars_of, with_digital_neighbours
from imcsim.mapping.schemes.combination import with_overlapped_loads
from imcsim.workload.workload import Workload


class DigitalOnly(Scheme):
    """Run every layer on the tiles' MAC lanes, one after another; weights come from DRAM, once per layer and batch."""

    name: ClassVar[str] = "digital"

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        parts = self.layer_groups(workload, hardware)
        regions = [_all_tiles(block, hardware, batch) for block in parts]
        phases = [
            Phase(b.layer.name, with_digital_neighbours(b, [Digital(b.layer.name, b.layer, r, b.absorbed)], r))
            for b, r in zip(parts, regions, strict=True)
        ]
        loads = [
            Load(
                f"weights {b.layer.name}",
                b.layer.name,
                -(-b.layer.rows * b.layer.channels * b.layer.weight_quant.bits // 8),
                r,
                False,
            )
            for b, r in zip(parts, regions, strict=True)
        ]
        return Plan(
            self.name, with_overlapped_loads(phases, loads), crossbars_of(parts), 0, notes=("no crossbar is used",)
        )


def _all_tiles(block: LayerGroup, hardware: Hardware, batch: int) -> Region:
    """Return the whole chip: positions side by side, several tiles for each where there are more tiles."""
    side_by_side = min(block.layer.positions * batch, hardware.chip.n_tiles)
    tiles_each = hardware.chip.n_tiles // side_by_side
    return Region(0, tiles_each * hardware.tile.n_crossbars, side_by_side)
