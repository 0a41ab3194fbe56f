"""Compute layers on the digital units."""

from __future__ import annotations

from imcsim.hardware.actions import BUFFER_READ_BYTE, BUFFER_WRITE_BYTE, DIGITAL_MAC, DIGITAL_OP
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.floorplan import lanes
from imcsim.mapping.plan import Digital
from imcsim.timing.dataflow import steps
from imcsim.timing.recipes.context import Context, Recipe, recipe, scaled
from imcsim.timing.recipes.counting import absorbed_operations, digital_operations
from imcsim.timing.recipes.steps import digital_step, n_bytes
from imcsim.workload.workload import Layer, Unknown, View, WeightedLayer, n_macs


@recipe.register
def _(operation: Digital, context: Context) -> Recipe:
    """Return the recipe in which one vector is one position, of the input where that is pooled as a whole."""
    hw, layer = context.hardware, operation.layer
    inputs = [context.workload.by_name[name] for name in layer.inputs]
    count = steps(layer, inputs)
    work = (digital_operations(layer, inputs) + absorbed_operations(operation)) / count
    macs = n_macs(layer) / count
    moves = not isinstance(layer, View | Unknown)
    actions = {
        DIGITAL_OP: work * count,
        DIGITAL_MAC: macs * count,
        BUFFER_READ_BYTE: moves * _read_bytes(operation, inputs, hw),
        BUFFER_WRITE_BYTE: moves * n_bytes(layer, layer.elements),
    }
    return Recipe(count, digital_step(work, macs, lanes(operation.region, hw), hw), scaled(actions, 1))


def _read_bytes(operation: Digital, inputs: list[Layer], hw: Hardware) -> float:
    """Return the bytes that one image reads from the buffer.

    Of a weighted layer: each window once per position, and each weight once for every copy that works on the image,
    which is the least that a digital unit can do. Of any other layer: each input once.
    """
    layer = operation.layer
    if not isinstance(layer, WeightedLayer):
        return n_bytes(layer, sum(source.elements for source in inputs))
    copies = min(lanes(operation.region, hw).count, layer.positions)
    weights = layer.rows * layer.channels * layer.weight_quant.bits / 8
    return n_bytes(layer, layer.positions * layer.rows * layer.groups) + copies * weights
