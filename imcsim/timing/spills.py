"""Decide which of the outputs that later phases read have to wait in DRAM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imcsim.hardware.hardware import SramBuffer
from imcsim.mapping.plan import Plan
from imcsim.timing.recipes import Context, LayerFlow, flow
from imcsim.workload.workload import Input, View, Workload


def spills_between_phases(plan: Plan, context: Context, n_images: int) -> set[str]:
    """Return the outputs that go to DRAM: the largest first, until the rest fits the chip's buffers."""
    buffer = context.hardware.tile.buffer
    if not isinstance(buffer, SramBuffer) or len(plan.phases) == 1:
        return set()
    room = buffer.capacity_bytes * context.hardware.chip.n_tiles
    first, last, size = _lifetimes(plan, context)
    spilled: set[str] = set()
    for phase in range(len(plan.phases) - 1):
        live = [name for name in first if first[name] <= phase < last[name] and name not in spilled]
        for name in sorted(live, key=lambda name: (-size[name], name)):
            if sum(size[other] for other in live if other not in spilled) * n_images <= room:
                break
            spilled.add(name)
    return stay_in_dram(spilled, context.workload)


def stay_in_dram(spilled: set[str], workload: Workload) -> set[str]:
    """Return what is spilled, and the inputs from outside that only views in DRAM (concatenations, slices) read."""
    views = {layer.name for layer in workload.layers if isinstance(layer, View) and layer.name in spilled}
    return spilled | {
        layer.name
        for layer in workload.layers
        if isinstance(layer, Input) and views.issuperset(workload.consumers[layer.name])
    }


def _lifetimes(plan: Plan, context: Context) -> tuple[dict[str, int], dict[str, int], dict[str, float]]:
    """Return for each output the phase that makes it, the last phase that reads it, and bytes of one image."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    size: dict[str, float] = {}
    for number, its_flow in _layer_flows(plan, context):
        reads = [*its_flow.operation.layer.inputs, *its_flow.resumed_bytes]
        last.update({name: number for name in reads if name in first})
        name = its_flow.operation.outputs[-1]
        first.setdefault(name, number)
        last.setdefault(name, number)
        size[name] = its_flow.live_bytes
    return first, last, size


def _layer_flows(plan: Plan, context: Context) -> Iterator[tuple[int, LayerFlow[Any]]]:
    """Yield the number of the phase and the flow of every operation that computes a layer."""
    for number, phase in enumerate(plan.phases):
        for operation in phase.operations:
            its_flow = flow(operation, context)
            if isinstance(its_flow, LayerFlow):
                yield number, its_flow
