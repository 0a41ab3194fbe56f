"""Hold a job while it is put together: its resources, each once, and its operations in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from imcsim.timing.engine.contract import UNLIMITED, Edge, JobOp, Resource, Stage
from imcsim.timing.recipes import Recipe
from imcsim.timing.recipes.steps import FREE, Step


@dataclass
class JobDraft:
    """Number operations as they are appended, and resources as they are first used."""

    resources: list[Resource] = field(default_factory=list)
    ops: list[JobOp] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)  # of resources, by name

    def append(self, name: str, layer: str, recipe: Recipe, edges: Sequence[Edge] = (), room: int = UNLIMITED) -> int:
        """Append an operation with ``room`` for so many vectors of its output; return its number."""
        steps = recipe.steps or (Step(FREE, 0, 0),)
        stages = tuple(Stage(self._number(step.resource), step.hold_ps, step.latency_ps) for step in steps)
        actions: dict[tuple[str, str], float] = dict(recipe.actions.items())
        self.ops.append(JobOp(name, layer, recipe.n_vectors, stages, tuple(edges), room, recipe.per_image, actions))
        return len(self.ops) - 1

    def number_of(self, name: str | None) -> int | None:
        """Return the number of the first operation of that name."""
        return next((number for number, op in enumerate(self.ops) if op.name == name), None)

    def _number(self, resource: Resource) -> int:
        number = self._numbers.setdefault(resource.name, len(self.resources))
        if number == len(self.resources):
            self.resources.append(resource)
        known = self.resources[number]
        if known != resource:
            raise ValueError(
                f"resource {resource.name} was declared twice, with {known.capacity} and {resource.capacity} units"
            )
        return number
