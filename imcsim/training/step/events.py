"""Say where time and energy of a training step go, by event and by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from imcsim.hardware.actions import Component
from imcsim.hardware.cost_table import CostTable
from imcsim.mapping.plan import AccumulatorUpdate, Carry, Mvm, OuterProduct, RefreshPairs, Source, TransposeMvm, Update
from imcsim.timing.engine.contract import JobOp
from imcsim.timing.execution import Execution
from imcsim.util import units

if TYPE_CHECKING:
    from pandas import DataFrame

DIGITAL, MOVING, LEAKING = "other digital work", "data movement", "leakage"
KINDS: dict[type, str] = {
    Mvm: "forward products",
    TransposeMvm: "transposed products",
    OuterProduct: "outer products",
    AccumulatorUpdate: "accumulator update",
    Carry: "carries",
    RefreshPairs: "refresh",
    Source: MOVING,
}
EVENTS = (
    "forward products", "transposed products", "outer products", DIGITAL, "accumulator update", "carries", "refresh",
    MOVING, LEAKING,
)  # fmt: skip
MOVERS = frozenset(component for component in Component if component.moves_data)


@dataclass(frozen=True)
class Events:
    """See an execution and its prices by event. ``owner``: layer of the network to which each layer belongs.

    What of an update is data movement belongs to the update; all other movement is one event.
    """

    execution: Execution
    costs: CostTable
    owner: Mapping[str, str]

    def table(self) -> DataFrame:
        """Return per event the time on the critical path in ns, its share in per cent, and energy in pJ."""
        import pandas as pd

        times_ps, energies, makespan_ps = self._times_ps(), dict.fromkeys(EVENTS, 0.0), self.execution.makespan_ps
        for op, component, energy_pj in self._energies():
            energies[self._event(op, component in MOVERS)] += energy_pj
        energies[LEAKING] = units.pj(self.costs.leakage_uw, makespan_ps)
        rows = [
            (event, times_ps[event] / units.PS_PER_NS, 100 * times_ps[event] / makespan_ps, energies[event])
            for event in EVENTS
        ]
        return pd.DataFrame(rows, columns=["event", "time_ns", "time_percent", "energy_pj"])

    def by_layer(self, names: list[str]) -> DataFrame:
        """Return energy in pJ per layer of the network, in the order of ``names``, by event and in all."""
        import pandas as pd

        rows = [
            (self.owner.get(op.layer, op.layer), self._event(op, component in MOVERS), energy_pj)
            for op, component, energy_pj in self._energies()
        ]
        table = pd.DataFrame(rows, columns=["layer", "event", "energy_pj"]).pivot_table(
            "energy_pj", "layer", "event", aggfunc="sum", fill_value=0.0
        )
        order, events = [name for name in names if name in table.index], [event for event in EVENTS if event != LEAKING]
        table = table.reindex(index=order, columns=events, fill_value=0.0)
        return table.assign(energy_pj=table.sum(axis=1)).rename_axis(columns=None).reset_index()

    def movement(self) -> DataFrame:
        """Return what data movement is made of: the event that it serves, component and energy in pJ."""
        import pandas as pd

        sums: dict[tuple[str, str], float] = defaultdict(float)
        for op, component, energy_pj in self._energies():
            if self._event(op, component in MOVERS) == MOVING:
                sums[self._kinds.get(op.name, MOVING), component] += energy_pj
        rows = [(*key, energy_pj) for key, energy_pj in sorted(sums.items(), key=lambda item: -item[1])]
        return pd.DataFrame(rows, columns=["serves", "component", "energy_pj"])

    @cached_property
    def _kinds(self) -> dict[str, str]:
        """Return the event of every operation that the plan names; all others move data."""
        return {op.name: KINDS.get(type(op), DIGITAL) for op in self.execution.plan.operations()}

    @cached_property
    def _updates(self) -> set[str]:
        return {op.name for op in self.execution.plan.operations() if isinstance(op, Update)}

    def _event(self, op: JobOp, moves: bool) -> str:
        return MOVING if moves and op.name not in self._updates else self._kinds.get(op.name, MOVING)

    def _times_ps(self) -> dict[str, int]:
        times = dict.fromkeys(EVENTS, 0)
        for job, result in zip(self.execution.jobs, self.execution.results, strict=True):
            for op, held in zip(job.operations, result.critical_ps, strict=True):
                for stage, time_ps in zip(op.stages, held, strict=False):
                    kind = job.resources[stage.resource].kind
                    times[self._event(op, kind.moves_data)] += int(time_ps)
        return times

    def _energies(self) -> Iterator[tuple[JobOp, str, float]]:
        """Return operation, component and energy of every action."""
        for job, result in zip(self.execution.jobs, self.execution.results, strict=True):
            for op in job.operations:
                times = result.n_images if op.per_image else 1
                for (component, action), amount in op.actions.items():
                    yield op, component, amount * times * self.costs.price_pj(component, action)
