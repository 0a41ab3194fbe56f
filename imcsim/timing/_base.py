"""What a recipe is, and what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from imcsim.hardware import Hardware
from imcsim.steps import Step
from imcsim.workload import Workload

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
    seed: int = 0
    sampled_writes: bool = False  # draw each crossbar's write time instead of taking the expected one


@singledispatch
def recipe(operation: object, context: Context) -> Recipe:
    """The recipe of an operation of a plan."""
    raise TypeError(f"no recipe for {type(operation).__name__}")


def times(actions: Actions, count: int) -> Actions:
    """Amounts of ``count`` vectors, without the actions that do not happen."""
    return {key: float(amount) * count for key, amount in actions.items() if amount}
