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
        groups = self.layer_groups(workload, hardware)
        regions = [_all_tiles(group, hardware, batch) for group in groups]
        phases = [
            Phase(g.layer.name, with_digital_neighbours(g, [Digital(g.layer.name, g.layer, r, g.absorbed)], r))
            for g, r in zip(groups, regions, strict=True)
        ]
        loads = [
            Load(
                f"weights {g.layer.name}",
                g.layer.name,
                -(-g.layer.rows * g.layer.channels * g.layer.weight_quant.bits // 8),
                r,
                False,
            )
            for g, r in zip(groups, regions, strict=True)
        ]
        return Plan(
            self.name, with_overlapped_loads(phases, loads), crossbars_of(groups), 0, notes=("no crossbar is used",)
        )


def _all_tiles(group: LayerGroup, hardware: Hardware, batch: int) -> Region:
    """Return the whole chip: positions side by side, several tiles for each where there are more tiles."""
    side_by_side = min(group.layer.positions * batch, hardware.chip.n_tiles)
    tiles_each = hardware.chip.n_tiles // side_by_side
    return Region(0, tiles_each * hardware.tile.n_crossbars, side_by_side)
