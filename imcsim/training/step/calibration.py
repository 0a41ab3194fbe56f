"""Price new statistics of batch normalisation on a drifted chip, as AdaBS measures them.

Images pass forward, and the mean and the mean square of every channel behind every weighted layer are taken on the way
(Joshi et al., Nature Communications 2020). No device is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.mapping.plan import Compute, Mvm, Phase, Plan
from imcsim.mapping.schemes.base import crossbars_of, layer_groups
from imcsim.reporting import tables
from imcsim.timing.execution import Execution
from imcsim.timing.simulate import simulate
from imcsim.training.step.plan import forward_operations
from imcsim.util import units
from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, silent
from imcsim.workload.importers import load_network
from imcsim.workload.layers import Normalisation
from imcsim.workload.workload import Workload

NAME = "calibration"


@dataclass(frozen=True)
class NormalisationCost:
    """Hold a simulated calibration with prices."""

    execution: Execution
    costs: CostTable

    @property
    def time_s(self) -> float:
        """Return the time from the first image to the end of the last one."""
        return self.execution.makespan_ps / units.PS_PER_NS / units.NS_PER_S

    @property
    def cycles(self) -> float:
        """Return the clock cycles of all images."""
        return self.execution.makespan_ps / self.execution.hardware.period_ps

    @property
    def energy_pj(self) -> float:
        """Return the energy of all images, leakage included."""
        return float(tables.energy(self.execution, self.costs)["energy_pj"].sum() * self.execution.batch)


def simulate_calibration(
    workload: str | Path | Workload,
    hardware: str | Path | Hardware,
    images: int,
    *,
    engine: str = "fast",
    progress: Progress = silent,
) -> NormalisationCost:
    """Simulate the forward pass of so many images with statistics of every output of a weighted layer.

    Raises ImcsimError for every kind of bad input, before anything is simulated.
    """
    if images < 1:
        raise ImcsimError(f"images {images}", "a calibration takes at least one image", "give a number from 1 on")
    network = workload if isinstance(workload, Workload) else load_network(workload)
    chip = hardware if isinstance(hardware, Hardware) else load_hardware(str(hardware))
    operations = tuple(with_statistics(operation) for operation in forward_operations(network, chip))
    needed = crossbars_of(layer_groups(network, chip))
    plan = Plan(NAME, (Phase("forward with statistics", operations),), needed, needed)
    return NormalisationCost(simulate(plan, network, chip, images, engine, progress), CostTable.of(chip))


def with_statistics(operation: Compute) -> Compute:
    """Return the operation; its product also adds each output, and its square, to two sums, like a normalisation."""
    if not isinstance(operation, Mvm):
        return operation
    layer = operation.layer
    sums = Normalisation(
        name=f"statistics of {layer.name}",
        inputs=(layer.name,),
        output_shape=layer.output_shape,
        input_quant=layer.input_quant,
        function="batch",
    )
    return replace(operation, absorbed=(sums, *operation.absorbed))
