"""Recipes: what one operation asks of each resource, vector by vector, and the actions that it performs.

Everything below one vector (input phases, column multiplexing, conversions, shift-add, wordline groups) is closed form
here, because nothing contends for it. One file for each kind of operation; importing it registers its recipe.
"""

from imcsim.timing import combining, digital, multiplying, updating
from imcsim.timing._base import Actions, Activity, Context, Recipe, recipe
from imcsim.timing.reading import left_bytes, read_back_bytes
from imcsim.timing.transposing import scattered
from imcsim.timing.writing import weight_fetch

__all__ = [
    "Actions",
    "Activity",
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
