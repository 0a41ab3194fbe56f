"""Provide what schemes share: options, the layer groups of a network, and how a group becomes operations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Digital, Mvm, Operation, Plan, Program, Region, Source
from imcsim.mapping.tiling import TileGrid, cut
from imcsim.util.config import Spec
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.workload.workload import (
    Activation,
    Conv,
    Elementwise,
    Input,
    Layer,
    Normalisation,
    Unknown,
    View,
    WeightedLayer,
    Workload,
)


class Scheme(Spec):
    """Decide how to run a network on a chip; the fields are options, the ``name`` is how users call it.

    ``on_digital``: layers that the digital units compute, from weights in their buffers: 'none', 'first', 'depthwise',
    names, or several of these by commas.
    """

    name: ClassVar[str]
    on_digital: str = "none"

    def layer_groups(self, workload: Workload, hardware: Hardware) -> tuple[LayerGroup, ...]:
        """Return the network in execution order, a group per layer on crossbars.

        Parameters
        ----------
        workload : Workload
            The network.
        hardware : Hardware
            The chip, whose crossbars the layers are cut into.

        Returns
        -------
        tuple of LayerGroup
            Each with the element-wise layers that its digital stage absorbs, and the digital layers that follow.

        Raises
        ------
        ImcsimError
            Where no layer is left for the crossbars, or a weight is wider than one.
        """
        return layer_groups(workload, hardware, self._digital_layers(workload))

    def _digital_layers(self, workload: Workload) -> frozenset[str]:
        weighted = {layer.name: layer for layer in workload.weighted}
        choices = {
            "none": [],
            "first": list(weighted)[:1],
            "depthwise": [name for name, layer in weighted.items() if _is_depthwise(layer)],
        }
        where, chosen = f"scheme '{self.name}', option on_digital", set()
        for word in self.on_digital.split(","):
            if word not in choices and word not in weighted:
                raise ImcsimError(where, f"there is no layer '{word}'", did_you_mean(word, [*choices, *weighted]))
            chosen.update(choices.get(word, [word]))
        if chosen == set(weighted):
            raise ImcsimError(where, "no layer is left for the crossbars", "take --scheme digital")
        return frozenset(chosen)

    @abstractmethod
    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        """Decide where weights lie and what follows what.

        Parameters
        ----------
        workload : Workload
            The network.
        hardware : Hardware
            The chip.
        batch : int
            Images of one batch.
        seed : int
            Seed of everything random.

        Returns
        -------
        Plan
            Phases of operations over crossbars; nothing about time or energy.

        Raises
        ------
        ImcsimError
            Where the network cannot run this way.
        """


@dataclass(frozen=True)
class FusedLayer:
    """Hold an input or a digital layer, and the element-wise layers that are done with it."""

    layer: Layer
    absorbed: tuple[Layer, ...]


@dataclass(frozen=True)
class LayerGroup:
    """Hold a weighted layer, the element-wise layers that are done in its digital stage, and what follows it.

    ``tail`` holds the inputs that this group reads first and the digital layers up to the next weighted layer.
    """

    layer: WeightedLayer
    grid: TileGrid
    absorbed: tuple[Layer, ...]
    head: tuple[FusedLayer, ...]  # inputs from outside, and digital layers before the first weighted layer
    tail: tuple[FusedLayer, ...]


def _is_depthwise(layer: WeightedLayer) -> bool:
    return isinstance(layer, Conv) and 1 < layer.groups == layer.in_channels


def layer_groups(
    workload: Workload, hardware: Hardware, on_digital: frozenset[str] = frozenset()
) -> tuple[LayerGroup, ...]:
    """Return the network in execution order, a group per weighted layer that is not computed ``on_digital`` units."""
    absorbed: dict[str, tuple[Layer, ...]] = {}
    gone: set[str] = set()
    for layer in workload.layers:
        absorbed[layer.name] = () if layer.name in gone else _absorbed(layer, workload)
        gone.update(other.name for other in absorbed[layer.name])
    heads: dict[str, list[Layer]] = {}
    tails: dict[str, list[Layer]] = {}
    current: str | None = None
    waiting: list[Layer] = []  # inputs whose first reader has not come yet, and the digital layers before all weights
    for layer in workload.layers:
        if isinstance(layer, Input):
            waiting.append(layer)
        elif isinstance(layer, WeightedLayer) and layer.name not in on_digital:
            current = layer.name
            heads[current] = _take(waiting, layer, everything=not tails)
            tails[current] = []
        elif layer.name not in gone:
            if current is None:
                waiting.append(layer)
            else:
                heads[current] += _take(waiting, layer, everything=False)
                tails[current].append(layer)

    def fused(layers: Sequence[Layer]) -> tuple[FusedLayer, ...]:
        return tuple(FusedLayer(layer, absorbed[layer.name]) for layer in layers)

    return tuple(
        LayerGroup(
            layer, cut(layer, hardware), absorbed[layer.name], fused(heads[layer.name]), fused(tails[layer.name])
        )
        for layer in workload.weighted
        if layer.name not in on_digital
    )


def _take(waiting: list[Layer], reader: Layer, everything: bool) -> list[Layer]:
    """Remove from ``waiting`` what the reader needs."""
    taken = [layer for layer in waiting if (everything and not isinstance(layer, Input)) or layer.name in reader.inputs]
    needed = {name for layer in taken for name in layer.inputs}
    taken = [layer for layer in waiting if layer in taken or layer.name in needed]
    waiting[:] = [layer for layer in waiting if layer not in taken]
    return taken


def _absorbed(layer: Layer, workload: Workload) -> tuple[Layer, ...]:
    """Return the element-wise layers behind a layer that computes something which nobody else reads."""
    followers: list[Layer] = []
    if isinstance(layer, Input | View | Unknown):
        return ()
    name = layer.name
    while len(readers := workload.consumers[name]) == 1:
        follower = workload.by_name[readers[0]]
        unary = len(follower.inputs) == 1 and isinstance(follower, Activation | Normalisation | Elementwise)
        if not unary or follower.elements != layer.elements:
            break
        followers.append(follower)
        name = follower.name
    return tuple(followers)


def with_digital_neighbours(group: LayerGroup, core: Sequence[Operation], region: Region) -> tuple[Operation, ...]:
    """Return the operations of a group: its head, the core that a scheme chose for its weights, its tail."""
    return (*digital_operations(group.head, region), *core, *digital_operations(group.tail, region))


def digital_operations(fused_layers: Sequence[FusedLayer], region: Region) -> tuple[Operation, ...]:
    """Return inputs and digital layers as operations on the lanes of a region."""
    return tuple(
        Source(fused.layer.name, fused.layer, region)
        if isinstance(fused.layer, Input)
        else Digital(fused.layer.name, fused.layer, region, fused.absorbed)
        for fused in fused_layers
    )


def resident_mvm(group: LayerGroup, region: Region) -> Mvm:
    """Return the product of a group's weighted layer on weights that stay where they are."""
    return Mvm(group.layer.name, group.layer, group.grid, region, group.absorbed)


def crossbars_of(groups: Sequence[LayerGroup]) -> int:
    """Return how many crossbars hold all weights of some groups at once."""
    return sum(group.grid.crossbars for group in groups)


def side_by_side(kept: Sequence[LayerGroup], first: int) -> dict[str, Region]:
    """Give resident groups crossbars of their own, by layer, from crossbar ``first`` on."""
    regions = {}
    for group in kept:
        regions[group.layer.name] = Region(first, group.grid.crossbars)
        first += group.grid.crossbars
    return regions


def program_all(kept: Sequence[LayerGroup], regions: Mapping[str, Region]) -> tuple[Program, ...]:
    """Return the writes of resident groups, once in the device's life."""
    return tuple(
        Program(f"write {g.layer.name}", g.layer.name, g.grid, regions[g.layer.name], g.layer.weight_quant.bits)
        for g in kept
    )
