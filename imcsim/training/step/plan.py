"""Plan a training step: all layers resident, errors on the same crossbars, then updates of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imcsim.hardware.hardware import Hardware
from imcsim.hardware.update_circuit import UpdateCircuit
from imcsim.mapping.plan import (
    AccumulatorUpdate,
    Carry,
    Compute,
    Digital,
    Operation,
    OuterProduct,
    Phase,
    Plan,
    RefreshPairs,
    Region,
    TransposeMvm,
    Update,
)
from imcsim.mapping.schemes.base import LayerGroup, crossbars_of, layer_groups
from imcsim.mapping.schemes.static import Static
from imcsim.mapping.update_rates import UpdateRates
from imcsim.training.step.gradients import Backward, Gradient, backward
from imcsim.training.step.options import StepOptions
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.workload.layers import Layer, WeightedLayer
from imcsim.workload.workload import Workload

NAME = "training step"


@dataclass(frozen=True)
class TrainingPlan:
    """Hold a plan with its ``workload``, the network and its way back, and the network's layer that owns each layer."""

    plan: Plan
    workload: Workload
    owner: Mapping[str, str]


def training_plan(
    workload: Workload,
    hardware: Hardware,
    options: StepOptions,
    rates: Mapping[str, UpdateRates],
    circuit: UpdateCircuit,
) -> TrainingPlan:
    """Plan forward as the scheme ``static`` does it, one copy of each layer; backward beside it, then updates.

    With ``update='sample'`` an image has both phases to itself, else a batch. Raises ImcsimError where the network does
    not fit, or cannot be trained here.
    """
    parts = layer_groups(workload, hardware)
    _check(workload, hardware, parts, rates)
    way_back = backward(workload, options.error_bits)
    forward = forward_operations(workload, hardware)
    regions = {name: op.region for op in forward for name in op.outputs}
    grids = {block.layer.name: block for block in parts}
    back = [_operation(gradient, grids, regions, options) for gradient in way_back.gradients]
    updates = [update for block in parts for update in _updates(block, regions, options, rates, circuit)]
    phases = Phase("forward and backward", (*forward, *back)), Phase("update", tuple(updates))
    needed = crossbars_of(parts)
    plan = Plan(NAME, phases, needed, needed, in_flight=1 if options.update == "sample" else "all")
    return TrainingPlan(plan, way_back.workload, _owners(forward, way_back))


def forward_operations(workload: Workload, hardware: Hardware) -> tuple[Compute, ...]:
    """Return the operations of the scheme ``static`` for one copy of each layer, all in one phase."""
    (phase,) = Static(replication="none").plan(workload, hardware, 1, 0).phases
    return tuple(operation for operation in phase.operations if isinstance(operation, Compute))


def _check(workload: Workload, hw: Hardware, parts: Sequence[LayerGroup], rates: Mapping[str, UpdateRates]) -> None:
    where, needed = f"{workload.name} on {hw.name}", crossbars_of(parts)
    if not parts:
        raise ImcsimError(workload.name, "has no layer with weights", "name a network that can be trained")
    if needed > hw.n_crossbars:
        tiles = -(-needed // hw.tile.n_crossbars)
        problem = f"training needs all weights resident, {needed:,} crossbars, and the chip has {hw.n_crossbars:,}"
        raise ImcsimError(where, problem, f"take more tiles: --set chip.n_tiles={tiles}")
    bits = max(block.layer.weight_quant.bits for block in parts)
    if hw.slices(bits) > 1:
        problem = f"a carry changes one pair of devices, and a weight of {bits} bits lies in {hw.slices(bits)} cells"
        raise ImcsimError(where, problem, f"take hermes-64, or --set crossbar.bits_per_cell={bits}")
    for block in parts:
        if block.layer.name not in rates:
            hint = did_you_mean(block.layer.name, rates)
            raise ImcsimError(workload.name, f"there are no update rates of layer '{block.layer.name}'", hint)


def _operation(
    gradient: Gradient, parts: Mapping[str, LayerGroup], regions: Mapping[str, Region], options: StepOptions
) -> Operation:
    layer, of = gradient.layer, gradient.of
    region = regions[of.name]
    if gradient.role == "transposed" and isinstance(of, WeightedLayer):
        grid, absorbed = parts[of.name].grid, gradient.absorbed
        return TransposeMvm(layer.name, layer, of, grid, region, absorbed, options.transpose_adc)
    if gradient.role == "outer" and isinstance(of, WeightedLayer):
        method: Literal["digital"] | int = options.pulse_length if options.outer == "pulses" else "digital"
        adds = options.update == "batch" and options.batch > 1
        return OuterProduct(layer.name, layer, of, parts[of.name].grid, region, method, adds)
    return Digital(layer.name, layer, region, gradient.absorbed)


def _updates(
    block: LayerGroup,
    regions: Mapping[str, Region],
    options: StepOptions,
    rates: Mapping[str, UpdateRates],
    circuit: UpdateCircuit,
) -> tuple[Update, ...]:
    """Accumulate, carry, and a share of the refresh, one after another on each crossbar."""
    name, per_image = block.layer.name, options.update == "sample"
    common: Mapping[str, Any] = {
        "layer": name, "grid": block.grid, "region": regions[name], "weight_bits": block.layer.weight_quant.bits,
        "rates": rates[name], "circuit": circuit, "per_image": per_image,
    }  # fmt: skip
    accumulate = AccumulatorUpdate(
        name=f"accumulate {name}", after=None, store=options.accumulator, bits=options.stored_bits, **common
    )
    carry = Carry(name=f"carry {name}", after=accumulate.name, **common)
    between = options.refresh_every * (options.batch if per_image else 1)
    return accumulate, carry, RefreshPairs(name=f"refresh {name}", after=carry.name, updates=between, **common)


def _owners(forward: Sequence[Compute], way_back: Backward) -> dict[str, str]:
    """Return the layer of the network on whose row of a table each layer is booked."""
    owner = {name: op.layer.name for op in forward for name in op.outputs}
    for gradient in way_back.gradients:
        for layer in (gradient.layer, *gradient.absorbed):
            owner[layer.name] = owner[gradient.of.name]
    return owner


def kept_layers(workload: Workload) -> tuple[Layer, ...]:
    """Return what the outer products need of the forward pass: the inputs of all weighted layers, each once."""
    names = dict.fromkeys(name for layer in workload.weighted for name in layer.inputs)
    return tuple(workload.by_name[name] for name in names)
