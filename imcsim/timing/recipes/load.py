"""Load from DRAM what a layer needs beside its inputs."""

from __future__ import annotations

from imcsim.hardware.actions import BUFFER_WRITE_BYTE, DRAM_BYTE
from imcsim.mapping.plan import Load
from imcsim.timing.recipes.context import Context, Recipe, recipe
from imcsim.timing.recipes.flows import Flow, flow
from imcsim.timing.recipes.steps import dram_step


@recipe.register
def _(operation: Load, context: Context) -> Recipe:
    """Return the recipe in which one vector is the whole load."""
    actions = {DRAM_BYTE: operation.n_bytes, BUFFER_WRITE_BYTE: operation.n_bytes}
    return Recipe(1, dram_step(operation.n_bytes, context.hardware), actions, operation.per_image)


@flow.register(Load)
class LoadFlow(Flow[Load]):
    """Let a layer wait for what comes once per image; what comes once per phase runs beside it."""

    @property
    def serves(self) -> str | None:
        return self.operation.layer if self.operation.per_image else None
