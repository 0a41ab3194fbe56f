"""Keep all weights resident; free crossbars hold copies of the busiest layers."""

from __future__ import annotations

from typing import ClassVar, Literal

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Phase, Plan, Program, Region
from imcsim.mapping.schemes.base import LayerGroup, Scheme, crossbars_of, resident_mvm, with_digital_neighbours
from imcsim.mapping.schemes.estimates import compute_cycles
from imcsim.util.errors import ImcsimError
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
        parts = self.layer_groups(workload, hardware)
        needed = crossbars_of(parts)
        if needed > hardware.n_crossbars:
            missing = needed - hardware.n_crossbars
            raise ImcsimError(
                f"{workload.name} on {hardware.name}",
                f"static needs {needed:,} crossbars, the chip has {hardware.n_crossbars:,}: {missing:,} are missing",
                "use --scheme reprogram, basis_broadcast or hybrid, or more tiles (--set chip.n_tiles=...)",
            )
        copies = _busiest(parts, hardware) if self.replication == "busiest" else [1] * len(parts)
        regions = _side_by_side(parts, copies)
        phases = tuple(
            Phase(b.layer.name, with_digital_neighbours(b, [resident_mvm(b, r)], r))
            for b, r in zip(parts, regions, strict=True)
        )
        if self.layers == "stream":
            phases = (Phase("all layers", tuple(op for phase in phases for op in phase.operations)),)
        setup = tuple(
            Program(f"write {b.layer.name}", b.layer.name, b.grid, r, b.layer.weight_quant.bits)
            for b, r in zip(parts, regions, strict=True)
        )
        used = sum(region.total for region in regions)
        most = max(copies)
        notes = (f"{used - needed:,} crossbars hold further copies, at most {most} of one layer",) if most > 1 else ()
        return Plan(self.name, phases, needed, used, setup, notes)


def _busiest(parts: tuple[LayerGroup, ...], hardware: Hardware) -> list[int]:
    """Return the copies of each group: always one more of the one that takes longest per image, first one first."""
    copies = [1] * len(parts)
    free = hardware.n_crossbars - crossbars_of(parts)
    cost = [compute_cycles(block, hardware, 1) for block in parts]
    while True:
        slowest = max(range(len(parts)), key=lambda i: cost[i])
        block = parts[slowest]
        if block.grid.crossbars > free or copies[slowest] >= block.layer.positions:
            return copies
        copies[slowest] += 1
        free -= block.grid.crossbars
        cost[slowest] = compute_cycles(block, hardware, 1, copies[slowest])


def _side_by_side(parts: tuple[LayerGroup, ...], copies: list[int]) -> list[Region]:
    regions, first = [], 0
    for block, count in zip(parts, copies, strict=True):
        regions.append(Region(first, block.grid.crossbars, count))
        first += regions[-1].total
    return regions
