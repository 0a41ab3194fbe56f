"""Tell how the vectors of one operation follow those of others, and what it leaves for them.

The compiler knows no kinds of operations, it asks their flows. What a flow does not answer itself is answered as for an
ordinary operation: one that reads the inputs of its layer where its window lies, and leaves the layer's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from imcsim.hardware.actions import DRAM_BYTE
from imcsim.mapping.plan import Compute, Operation
from imcsim.timing.dataflow import Ints, Reach, reach
from imcsim.timing.recipes.context import Context, Recipe
from imcsim.timing.recipes.steps import dram_step, n_bytes
from imcsim.workload.workload import GlobalPool, Layer, View

Kind = TypeVar("Kind", bound=Operation)
LayerKind = TypeVar("LayerKind", bound=Compute)


@dataclass(frozen=True)
class Flow(Generic[Kind]):
    """Answer for an operation that reads no layer and that no layer reads, such as a write."""

    operation: Kind
    context: Context

    @property
    def after(self) -> str | None:
        """Name the operation of the same phase behind which it comes, vector by vector."""
        return None

    @property
    def serves(self) -> str | None:
        """Name the layer of which no vector starts before it has ended, image by image."""
        return None

    def fetch(self) -> tuple[Recipe, Reach] | None:
        """Return what has to come first, as an operation of its own, and what each vector needs of that."""
        return None


class LayerFlow(Flow[LayerKind]):
    """Answer for an operation that computes a layer.

    ``spreads``: its inputs are needed on all tiles of a lane, not only on that one where they lie. ``fetches_again``:
    inputs that went to DRAM were let go by the readers before it, and come back for it.
    """

    spreads: ClassVar[bool] = False
    fetches_again: ClassVar[bool] = False

    @property
    def inputs(self) -> list[Layer]:
        """Return the layers whose outputs it reads."""
        return [self.context.workload.by_name[name] for name in self.operation.layer.inputs]

    def reach(self, index: int) -> Reach:
        """Return how many positions of input number ``index`` each of its vectors needs, and lets go."""
        return reach(self.operation.layer, self.inputs, index)

    def needed(self, n_vectors: int) -> Ints:
        """Return (positions of the layer + 1,) how many of its vectors make the first 0, 1, ... positions."""
        layer = self.operation.layer
        positions = np.arange(layer.positions + 1, dtype=np.int64)
        return positions * n_vectors if isinstance(layer, GlobalPool) else -(-positions * n_vectors // layer.positions)

    @property
    def written_bytes(self) -> float:
        """Return the bytes of one image that it leaves behind."""
        return n_bytes(self.operation.layer, self.operation.layer.elements)

    @property
    def live_bytes(self) -> float:
        """Return the bytes of one image that wait where they are read in a later phase."""
        return self.written_bytes

    @property
    def resumed_bytes(self) -> Mapping[str, float]:
        """Return the bytes of one image that an earlier phase left for it beside its inputs, by their name."""
        return {}

    def stays_in_dram(self, spilled: Set[str]) -> set[str]:
        """Return the inputs that it need not fetch: views in DRAM only rename what is there."""
        layer = self.operation.layer
        in_place = isinstance(layer, View) and layer.name in spilled
        return {name for name in layer.inputs if name in spilled} if in_place else set()

    def with_spills(self, recipe: Recipe, spilled: Set[str]) -> Recipe:
        """Return the recipe with what it reads and writes in DRAM, given the names of all that waits there."""
        resumed = sum(size for name, size in self.resumed_bytes.items() if name in spilled)
        recipe = with_dram(recipe, resumed, self.context, before=True)
        if spilled.isdisjoint(self.operation.outputs):
            return recipe
        there = sum(self.context.workload.by_name[name].elements for name in self.stays_in_dram(spilled))
        written = max(0.0, self.written_bytes - n_bytes(self.operation.layer, there))
        return with_dram(recipe, written, self.context, before=False)


def with_dram(recipe: Recipe, size: float, context: Context, before: bool) -> Recipe:
    """Return a recipe that also reads (``before``) or writes (after all else) ``size`` bytes of one image in DRAM."""
    if not size:
        return recipe
    step = dram_step(size / recipe.n_vectors, context.hardware)
    actions = dict(recipe.actions)
    actions[DRAM_BYTE] = actions.get(DRAM_BYTE, 0.0) + size
    return replace(recipe, steps=step + recipe.steps if before else recipe.steps + step, actions=actions)


@singledispatch
def flow(operation: Operation, context: Context) -> Flow[Any]:
    """Return the flow of an operation: of its own kind, or an ordinary one."""
    return Flow(operation, context)


@flow.register
def _(operation: Compute, context: Context) -> Flow[Any]:
    return LayerFlow(operation, context)
