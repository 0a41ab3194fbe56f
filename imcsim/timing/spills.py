"""What operations leave for later phases, how large it is, and which of it has to wait in DRAM."""

from __future__ import annotations

from imcsim.hardware.hardware import SramBuffer
from imcsim.mapping.plan import Compute, Mvm, Plan, Source
from imcsim.timing.recipes import Context, left_bytes
from imcsim.timing.recipes.steps import n_bytes, partial_bytes
from imcsim.workload.workload import Input, Layer, View, Workload


def spills_between_phases(plan: Plan, context: Context, n_images: int) -> set[str]:
    """Outputs that cross phases go to DRAM, the largest first, until the rest fits the chip's buffers."""
    buffer = context.hardware.tile.buffer
    if not isinstance(buffer, SramBuffer) or len(plan.phases) == 1:
        return set()
    room = buffer.capacity_bytes * context.hardware.chip.n_tiles
    made, last, size = _lifetimes(plan, context)
    spilled: set[str] = set()
    for phase in range(len(plan.phases) - 1):
        live = [name for name in made if made[name] <= phase < last[name] and name not in spilled]
        for name in sorted(live, key=lambda name: (-size[name], name)):
            if sum(size[other] for other in live if other not in spilled) * n_images <= room:
                break
            spilled.add(name)
    return stay_in_dram(spilled, context.workload)


def stay_in_dram(spilled: set[str], workload: Workload) -> set[str]:
    """What is spilled, and the inputs from outside that only concatenations, reshapes or slices in DRAM read."""
    views = {layer.name for layer in workload.layers if isinstance(layer, View) and layer.name in spilled}
    return spilled | {
        layer.name
        for layer in workload.layers
        if isinstance(layer, Input) and views.issuperset(workload.consumers[layer.name])
    }


def _lifetimes(plan: Plan, context: Context) -> tuple[dict[str, int], dict[str, int], dict[str, float]]:
    """For each output: the phase that makes it, the last phase that reads it, bytes of one image."""
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    size: dict[str, float] = {}
    for number, phase in enumerate(plan.phases):
        for operation in phase.operations:
            if not isinstance(operation, Compute):
                continue
            reads = [*operation.layer.inputs, partial_name(operation.layer)]
            last.update({name: number for name in reads if name in made})
            name = delivered(operation)[-1]
            made.setdefault(name, number)
            size[name] = _live_bytes(operation, context)
            last.setdefault(name, number)
    return made, last, size


def delivered(operation: Compute) -> tuple[str, ...]:
    """The layers whose output this operation delivers; others read the last of them."""
    if isinstance(operation, Source):
        return (operation.layer.name,)
    if isinstance(operation, Mvm) and operation.partial:
        return (partial_name(operation.layer),)
    return tuple(layer.name for layer in (operation.layer, *operation.absorbed))


def partial_name(layer: Layer) -> str:
    """The name of the partial sums that wait between two passes of a layer."""
    return f"{layer.name} (partial sums)"


def written_bytes(operation: Compute, context: Context) -> float:
    """Bytes of one image that an operation leaves behind."""
    if isinstance(operation, Mvm):
        return left_bytes(operation, context.hardware) * operation.layer.positions
    return n_bytes(operation.layer, operation.layer.elements)


def _live_bytes(operation: Compute, context: Context) -> float:
    """Bytes of one image that wait after an operation: its output, or the partial sums between two passes."""
    layer = operation.layer
    if isinstance(operation, Mvm) and operation.partial and operation.grid.row_tiles > 1:
        return layer.elements * partial_bytes(operation.layer, context.hardware)
    return n_bytes(layer, layer.elements)
