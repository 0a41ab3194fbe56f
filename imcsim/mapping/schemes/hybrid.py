"""Keep the layers that save most cycles per crossbar; the rest is combined from a basis or reprogrammed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.basis.fitted import load_fitted
from imcsim.mapping.plan import Load, Phase, Plan, Region
from imcsim.mapping.schemes.base import (
    LayerGroup,
    Scheme,
    crossbars_of,
    program_all,
    resident_mvm,
    side_by_side,
    with_digital_neighbours,
)
from imcsim.mapping.schemes.basis import BasisBroadcast, BasisInferred, BasisScheme, BasisSource
from imcsim.mapping.schemes.combination import Combination
from imcsim.mapping.schemes.estimates import compute_cycles, product_cycles, write_cycles, write_rounds
from imcsim.mapping.schemes.reprogram import Reprogram
from imcsim.util.errors import ImcsimError
from imcsim.workload.workload import Workload


class Hybrid(Scheme):
    """Choose by a knapsack over the layers, for several sizes of the shared part; the cheapest by closed forms wins.

    ``rest``: how layers run that do not stay. 'basis_broadcast' and 'basisn_inferred' share the copies of a basis, and
    all layers run as one pipeline; 'reprogram' rewrites layer by layer, one layer after another. ``in_flight``: images
    that are let into the pipeline together; the next ones enter when it is empty. ``basis``: as of the scheme that
    combines the rest; layers that a file calls resident always stay. This goes beyond the paper.
    """

    name: ClassVar[str] = "hybrid"
    rest: Literal["basis_broadcast", "basisn_inferred", "reprogram"] = "basis_broadcast"
    in_flight: PositiveInt | Literal["all"] = 16
    basis: BasisSource = "synthetic"

    @model_validator(mode="after")
    def _has_a_basis(self) -> Hybrid:
        if self.rest == "reprogram" and self.basis != "synthetic":
            raise ValueError("rest=reprogram combines no basis: leave out the option basis")
        return self

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        groups = self.layer_groups(workload, hardware)
        rest = self._rest(groups, hardware, batch, seed)
        changing, shared = _choose(groups, hardware, batch, rest)
        kept = [g for g in groups if g not in changing]
        regions = side_by_side(kept, shared)
        plan_of_rest = rest.build(changing, shared)
        phases = [
            phase
            for g in groups
            for phase in plan_of_rest.phases.get(g.layer.name) or [_resident_phase(g, regions[g.layer.name])]
        ]
        note = (
            f"{len(kept)} of {len(groups)} layers stay resident on {crossbars_of(kept):,} crossbars; "
            f"the rest is {self.rest} on {shared:,}"
        )
        if rest.streamed:
            operations = (*plan_of_rest.loads, *(op for phase in phases for op in phase.operations))
            phases = [Phase("all layers", operations)]
        return Plan(
            self.name,
            tuple(phases),
            crossbars_of(groups),
            crossbars_of(kept) + plan_of_rest.plan.crossbars_used,
            (*plan_of_rest.plan.setup, *program_all(kept, regions)),
            (note, *plan_of_rest.plan.notes),
            plan_of_rest.plan.assumed,
            {**plan_of_rest.plan.facts, "resident": [g.layer.name for g in kept]},
            in_flight=self.in_flight if rest.streamed else "all",
        )

    def _rest(self, groups: Sequence[LayerGroup], hardware: Hardware, batch: int, seed: int) -> SharedPart:
        if self.rest == "reprogram":
            return Rewritten(groups, hardware, batch)
        scheme = {"basisn_inferred": BasisInferred, "basis_broadcast": BasisBroadcast}[self.rest](basis=self.basis)
        stay = load_fitted(scheme.file).resident if scheme.file else ()
        others = [group for group in groups if group.layer.name not in stay]
        return Combined(scheme, others, hardware, batch, seed)


@dataclass(frozen=True)
class SharedPlan:
    """Hold what becomes of layers that do not stay: phases by name, what is loaded, what the report should say."""

    phases: Mapping[str, tuple[Phase, ...]]
    loads: tuple[Load, ...]
    plan: Plan


class SharedPart(ABC):
    """Run the layers that do not stay, on the first ``shared`` crossbars of the chip.

    ``groups``: those that may run so; all others have to stay.
    """

    groups: Sequence[LayerGroup]
    least: int  # crossbars that it needs at least
    streamed: bool  # resident layers run beside it, in one pipeline

    @abstractmethod
    def cycles(self, shared: int) -> list[float]:
        """Return the closed-form cycles of each of ``groups`` for the whole batch."""

    @abstractmethod
    def build(self, others: Sequence[LayerGroup], shared: int) -> SharedPlan:
        """Return the phases of the groups that do not stay."""


class Combined(SharedPart):
    """Combine them from a basis of which the shared part holds copies."""

    streamed = True

    def __init__(
        self, scheme: BasisScheme, groups: Sequence[LayerGroup], hardware: Hardware, batch: int, seed: int
    ) -> None:
        self.scheme, self.groups, self.hardware, self.batch, self.seed = scheme, groups, hardware, batch, seed
        self.all_combined = Combination(self.scheme, groups, hardware, hardware.n_crossbars, 0, seed)
        self.least = self.all_combined.crossbars_per_copy

    def cycles(self, shared: int) -> list[float]:
        return [self.all_combined.cycles(group, shared // self.least, self.batch) for group in self.groups]

    def build(self, others: Sequence[LayerGroup], shared: int) -> SharedPlan:
        if not others:
            return SharedPlan({}, (), Plan(self.scheme.name, (), 0, 0))
        combined = Combination(self.scheme, others, self.hardware, shared, 0, self.seed)
        phases = {g.layer.name: (Phase(g.layer.name, combined.operations(g)),) for g in others}
        plan = Plan(
            self.scheme.name,
            (),
            0,
            combined.region.total,
            combined.setup(),
            combined.notes(),
            combined.assumed(),
            combined.facts(),
        )
        return SharedPlan(phases, combined.loads(per_image=True), plan)


class Rewritten(SharedPart):
    """Reprogram them layer by layer in the shared part."""

    least = 1
    streamed = False

    def __init__(self, groups: Sequence[LayerGroup], hardware: Hardware, batch: int) -> None:
        self.groups, self.hardware, self.batch = groups, hardware, batch
        self.writes = [write_cycles(group.grid, hardware, 0.0) for group in groups]

    def cycles(self, shared: int) -> list[float]:
        return [self._group_cycles(group, write, shared) for group, write in zip(self.groups, self.writes, strict=True)]

    def _group_cycles(self, group: LayerGroup, write: int, shared: int) -> float:
        needed = group.grid.crossbars
        copies, passes = max(1, shared // needed), -(-needed // shared)
        rounds = write_rounds(min(needed * copies, shared), self.hardware)
        return passes * (write * rounds + compute_cycles(group, self.hardware, self.batch, copies))

    def build(self, others: Sequence[LayerGroup], shared: int) -> SharedPlan:
        scheme = Reprogram()
        phases = {
            g.layer.name: scheme.phases(scheme.partitions([g], shared, self.hardware, self.batch), 0.0) for g in others
        }
        return SharedPlan(phases, (), Plan(scheme.name, (), 0, shared if others else 0))


def _choose(
    groups: Sequence[LayerGroup], hardware: Hardware, batch: int, rest: SharedPart
) -> tuple[list[LayerGroup], int]:
    """Return the groups that do not stay and the crossbars of the shared part: the best knapsack of many sizes."""
    fixed = [group for group in groups if group not in rest.groups]
    room = hardware.n_crossbars - crossbars_of(fixed)
    if rest.least > room:
        beside = f" beside {crossbars_of(fixed)} of layers that stay" if fixed else ""
        problem = f"the shared part needs {rest.least} crossbars{beside}, the chip has {hardware.n_crossbars}"
        raise ImcsimError("scheme 'hybrid'", problem, "use a larger chip")
    keep, others = ([_resident_cycles(g, hardware, batch) for g in groups] for groups in (rest.groups, fixed))
    together = max if rest.streamed else sum
    sizes = sorted({max(rest.least, room * part // 16) for part in range(1, 17)})
    options: list[tuple[float, int, list[bool]]] = []
    if crossbars_of(rest.groups) <= room:
        options.append((together([*keep, *others]), 0, [True] * len(keep)))
    for shared in sizes:
        cost = rest.cycles(shared)
        gains = [_gain(c, k, sum(cost), rest.streamed) for c, k in zip(cost, keep, strict=True)]
        stays = _knapsack([g.grid.crossbars for g in rest.groups], gains, room - shared)
        changed = sum(c for c, stay in zip(cost, stays, strict=True) if not stay)
        kept = [k for k, stay in zip(keep, stays, strict=True) if stay]
        options.append((together([changed, *kept, *others]), -shared, stays))
    _, shared, stays = min(options)
    return [group for group, stay in zip(rest.groups, stays, strict=True) if not stay], -shared


def _resident_cycles(group: LayerGroup, hardware: Hardware, batch: int) -> float:
    """Return the closed-form cycles of a group that stays, for the whole batch."""
    return max(compute_cycles(group, hardware, batch), product_cycles(group, hardware, batch))


def _gain(cost: float, keep: float, total: float, streamed: bool) -> float:
    """Return the cycles saved by keeping a group: beside a pipeline all of them, unless it holds the pipeline up."""
    if streamed:
        return cost if keep <= total else 0.0
    return cost - keep


def _knapsack(sizes: list[int], gains: list[float], room: int) -> list[bool]:
    """Return the subset of items with the largest gain that fits the room, exactly, by dynamic programming."""
    best = np.zeros(room + 1)
    taken = np.zeros((len(sizes), room + 1), bool)
    for i, (size, gain) in enumerate(zip(sizes, gains, strict=True)):
        if gain <= 0 or size > room:
            continue
        better = best[: room + 1 - size] + gain
        taken[i, size:] = better > best[size:]
        best[size:] = np.maximum(best[size:], better)
    chosen = [False] * len(sizes)
    for i in reversed(range(len(sizes))):
        if taken[i, room]:
            chosen[i] = True
            room -= sizes[i]
    return chosen


def _resident_phase(group: LayerGroup, region: Region) -> Phase:
    return Phase(group.layer.name, with_digital_neighbours(group, [resident_mvm(group, region)], region))
