"""Tell what each kind of operation does: its recipe (resources of its vectors) and its flow (whom they wait for).

Everything below one vector (input phases, column multiplexing, conversions, shift-add, wordline groups) is closed form
in a recipe, because nothing contends for it. One file for each kind of operation; importing this package imports every
file of it, which registers what it holds.
"""

import importlib
import pkgutil

from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe
from imcsim.timing.recipes.flows import Flow, LayerFlow, flow

__all__ = ["Actions", "Context", "Flow", "LayerFlow", "Recipe", "flow", "recipe"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
