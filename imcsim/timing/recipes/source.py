"""Fetch tensors from outside, which lie in DRAM at first."""

from __future__ import annotations

from collections.abc import Set

from imcsim.hardware.actions import BUFFER_WRITE_BYTE, DRAM_BYTE
from imcsim.mapping.plan import Source
from imcsim.timing.recipes.context import Context, Recipe, recipe
from imcsim.timing.recipes.flows import LayerFlow, flow
from imcsim.timing.recipes.steps import dram_step, n_bytes


@recipe.register
def _(operation: Source, context: Context) -> Recipe:
    """Return the recipe in which one vector is one row of an image, or one token."""
    layer = operation.layer
    rows = layer.output_shape[1] if len(layer.output_shape) == 3 else layer.positions
    size = n_bytes(layer, layer.elements)
    actions = {DRAM_BYTE: size, BUFFER_WRITE_BYTE: size}
    return Recipe(rows, dram_step(size / rows, context.hardware), actions)


@flow.register(Source)
class SourceFlow(LayerFlow[Source]):
    """Leave what has to wait in DRAM where it is, for its readers to fetch."""

    def with_spills(self, recipe: Recipe, spilled: Set[str]) -> Recipe:
        return Recipe(recipe.n_vectors, (), {}) if self.operation.layer.name in spilled else recipe
