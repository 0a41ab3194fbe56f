"""Recipes: what one operation asks of each resource, vector by vector, and the actions that it performs.

Everything below one vector (input phases, column multiplexing, conversions, shift-add, wordline groups) is closed form
here, because nothing contends for it. One file for each kind of operation; importing it registers its recipe.
"""

from imcsim.timing.recipes import basis_mvm as combining
from imcsim.timing.recipes import digital
from imcsim.timing.recipes import outer_product as multiplying
from imcsim.timing.recipes import update as updating
from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe
from imcsim.timing.recipes.mvm import left_bytes, read_back_bytes
from imcsim.timing.recipes.program import weight_fetch
from imcsim.timing.recipes.transpose_mvm import scattered

__all__ = [
    "Actions",
    "Context",
    "Recipe",
    "combining",
    "digital",
    "left_bytes",
    "multiplying",
    "read_back_bytes",
    "recipe",
    "scattered",
    "updating",
    "weight_fetch",
]
