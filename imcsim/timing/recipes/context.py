"""Define what a recipe is, and what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch

from imcsim.hardware.actions import ARRAY_READ, DAC_DRIVE, Action
from imcsim.hardware.chip import StatedActivity
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.activity import Activity
from imcsim.mapping.plan import Operation
from imcsim.mapping.write_work import Works
from imcsim.timing.recipes.steps import Step
from imcsim.util.errors import ImcsimError
from imcsim.workload.workload import Workload

Actions = Mapping[Action, float]
"""Amounts, such as of one vector"""


@dataclass(frozen=True)
class Recipe:
    """Hold what the vectors of an operation ask for.

    ``steps``: of one vector, one after another. ``actions``: amounts of all vectors of one image, or of the phase where
    ``per_image`` is false.
    """

    n_vectors: int
    steps: tuple[Step, ...]
    actions: Actions
    per_image: bool = True


@dataclass(frozen=True)
class Context:
    """Hold what recipes and flows depend on beside the operation."""

    hardware: Hardware
    workload: Workload
    works: Works = field(default_factory=dict)  # what is known of writes; the others take what is expected
    activity: Mapping[str, Activity] = field(default_factory=dict)  # of layers whose values were computed

    def as_used(self, actions: Actions, layer: str) -> Actions:
        """Return the reads of a layer, at the activity that its inputs and weights turned out to have."""
        stated, measured = self.hardware.crossbar.activity, self.activity.get(layer)
        if not isinstance(stated, StatedActivity) or measured is None:
            return actions
        factors = {
            DAC_DRIVE: measured.driven_frac / stated.driven_frac,
            ARRAY_READ: measured.charge_frac / stated.charge_frac,
        }
        return {key: amount * factors.get(key, 1.0) for key, amount in actions.items()}


@singledispatch
def recipe(operation: Operation, context: Context) -> Recipe:
    """Return the recipe of an operation; ImcsimError for a kind that registered none."""
    kind = type(operation).__name__
    raise ImcsimError(f"operation '{operation.name}'", f"no recipe is known for a {kind}", "register one for its class")


def scaled(actions: Actions, count: int) -> Actions:
    """Return the amounts of ``count`` vectors, without the actions that do not happen."""
    return {key: float(amount) * count for key, amount in actions.items() if amount}
