"""Keep all weights resident; free crossbars hold copies of the busiest layers."""

from __future__ import annotations

from typing import ClassVar, Literal

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Phase, Plan, Program, Region
from imcsim.mapping.schemes.base import LayerGroup, Scheme, crossbars_of, resident_mvm, with_digital_neighbours
from imcsim.mapping.schemes.estimates import compute_cycles
from imcsim.util.errors import DoesNotFit
from imcsim.workload.workload import Workload


class Static(Scheme):
    """Write all weights once in the chip's life.

    ``replication``: 'busiest' gives free crossbars, one copy at a time, to the layer that needs most cycles per image,
    until that layer's next copy does not fit; 'none' keeps one copy. ``layers``: 'stream' runs all layers and images
    at once as a pipeline; 'serial' runs one layer after another.
    """

    name: ClassVar[str] = "static"
    replication: Literal["busiest", "none"] = "busiest"
    layers: Literal["stream", "serial"] = "stream"

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        groups = self.layer_groups(workload, hardware)
        needed = crossbars_of(groups)
        if needed > hardware.n_crossbars:
            missing = needed - hardware.n_crossbars
            raise DoesNotFit(
                f"{workload.name} on {hardware.name}",
                f"static needs {needed:,} crossbars, the chip has {hardware.n_crossbars:,}: {missing:,} are missing",
                "use --scheme reprogram, basis_broadcast or hybrid, or more tiles (--set chip.n_tiles=...)",
                missing,
            )
        copies = _busiest(groups, hardware) if self.replication == "busiest" else [1] * len(groups)
        regions = _side_by_side(groups, copies)
        phases = tuple(
            Phase(g.layer.name, with_digital_neighbours(g, [resident_mvm(g, r)], r))
            for g, r in zip(groups, regions, strict=True)
        )
        if self.layers == "stream":
            phases = (Phase("all layers", tuple(op for phase in phases for op in phase.operations)),)
        setup = tuple(
            Program(f"write {g.layer.name}", g.layer.name, g.grid, r, g.layer.weight_quant.bits)
            for g, r in zip(groups, regions, strict=True)
        )
        used = sum(region.total for region in regions)
        most = max(copies)
        notes = (f"{used - needed:,} crossbars hold further copies, at most {most} of one layer",) if most > 1 else ()
        return Plan(self.name, phases, needed, used, setup, notes)


def _busiest(groups: tuple[LayerGroup, ...], hardware: Hardware) -> list[int]:
    """Return the copies of each group: always one more of the one that takes longest per image, first one first."""
    copies = [1] * len(groups)
    free = hardware.n_crossbars - crossbars_of(groups)
    cost = [compute_cycles(group, hardware, 1) for group in groups]
    while True:
        slowest = max(range(len(groups)), key=lambda i: cost[i])
        group = groups[slowest]
        if group.grid.crossbars > free or copies[slowest] >= group.layer.positions:
            return copies
        copies[slowest] += 1
        free -= group.grid.crossbars
        cost[slowest] = compute_cycles(group, hardware, 1, copies[slowest])


def _side_by_side(groups: tuple[LayerGroup, ...], copies: list[int]) -> list[Region]:
    regions, first = [], 0
    for group, count in zip(groups, copies, strict=True):
        regions.append(Region(first, group.grid.crossbars, count))
        first += regions[-1].total
    return regions
