"""What a recipe is, and what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch

from imcsim.hardware.chip import StatedActivity
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.activity import Activity
from imcsim.mapping.write_work import Works
from imcsim.timing.recipes.steps import Step
from imcsim.workload.workload import Workload

Actions = Mapping[tuple[str, str], float]
"""(component, action) -> amount"""


@dataclass(frozen=True)
class Recipe:
    """``actions``: amounts of all vectors of one image, or of the phase where ``per_image`` is false."""

    n_vectors: int
    steps: tuple[Step, ...]
    actions: Actions
    per_image: bool = True


@dataclass(frozen=True)
class Context:
    """What recipes depend on beside the operation."""

    hardware: Hardware
    workload: Workload
    works: Works = field(default_factory=dict)  # what is known of writes; the others take what is expected
    activity: Mapping[str, Activity] = field(default_factory=dict)  # of layers whose values were computed

    def as_used(self, actions: Actions, layer: str) -> Actions:
        """The reads of a layer, priced by what its inputs and weights were found to be."""
        stated, found = self.hardware.crossbar.activity, self.activity.get(layer)
        if not isinstance(stated, StatedActivity) or found is None:
            return actions
        factors = {
            ("dac", "drive"): found.driven_frac / stated.driven_frac,
            ("array", "read"): found.charge_frac / stated.charge_frac,
        }
        return {key: amount * factors.get(key, 1.0) for key, amount in actions.items()}


@singledispatch
def recipe(operation: object, context: Context) -> Recipe:
    """The recipe of an operation of a plan."""
    raise TypeError(f"no recipe for {type(operation).__name__}")


def scaled(actions: Actions, count: int) -> Actions:
    """Amounts of ``count`` vectors, without the actions that do not happen."""
    return {key: float(amount) * count for key, amount in actions.items() if amount}
