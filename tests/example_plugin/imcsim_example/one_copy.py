"""Every layer has the chip to itself, in one copy."""

from typing import ClassVar

from pydantic import NonNegativeInt

from imcsim import ImcsimError
from imcsim.hardware import Hardware
from imcsim.mapping import (
    LayerGroup,
    Phase,
    Plan,
    Program,
    Region,
    Scheme,
    crossbars_of,
    resident_mvm,
    with_digital_neighbours,
)
from imcsim.workload import Workload


class OneCopy(Scheme):
    """Write a layer, run the batch through it, write the next one; the first ``spare_crossbars`` are left alone."""

    name: ClassVar[str] = "one_copy"
    spare_crossbars: NonNegativeInt = 0

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        parts = self.layer_groups(workload, hardware)
        phases = [phase for block in parts for phase in self.phases(block, hardware)]
        used = max(block.grid.crossbars for block in parts)
        return Plan(self.name, tuple(phases), crossbars_of(parts), used, notes=("one copy of each layer",))

    def phases(self, block: LayerGroup, hardware: Hardware) -> tuple[Phase, Phase]:
        layer, region = block.layer, Region(self.spare_crossbars, block.grid.crossbars)
        if region.first + region.total > hardware.n_crossbars:
            problem = f"needs {region.total} crossbars, the chip has {hardware.n_crossbars - region.first} to spare"
            raise ImcsimError(f"layer '{layer.name}'", problem, "take --scheme reprogram")
        write = Program(f"write {layer.name}", layer.name, block.grid, region, layer.weight_quant.bits)
        compute = with_digital_neighbours(block, [resident_mvm(block, region)], region)
        return Phase(write.name, (write,)), Phase(layer.name, compute)
