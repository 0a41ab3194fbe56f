"""Turn a plan into jobs for the engine: dependencies, moves over the network, finite buffers, spills to DRAM."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imcsim.mapping.floorplan import Lanes, lanes
from imcsim.mapping.plan import Operation, Phase, Plan
from imcsim.timing.buffers import size_buffers
from imcsim.timing.dataflow import Ints
from imcsim.timing.engine.contract import UNLIMITED, Edge, Job
from imcsim.timing.feature_maps import FeatureMaps, Output
from imcsim.timing.job_draft import JobDraft
from imcsim.timing.recipes import Context, Flow, LayerFlow, Recipe, flow, recipe
from imcsim.timing.recipes.steps import n_bytes
from imcsim.timing.spills import spills_between_phases, stay_in_dram
from imcsim.timing.uncontended_links import without_private_links

LOADS_AHEAD = 2  # of one layer: what is in use, and what comes next


@dataclass(frozen=True)
class Compilation:
    """Hold the jobs of a plan, one per phase, and what did not fit on the chip."""

    jobs: tuple[Job, ...]
    spilled: tuple[str, ...]  # layers whose outputs go through DRAM
    overfull: tuple[str, ...]  # layers whose line buffers are larger than their share of the buffers all the same


def compile_plan(plan: Plan, context: Context, n_images: int) -> Compilation:
    """Turn every phase of a plan into a job.

    Feature maps that wait between phases and do not fit the chip's buffers, and line buffers that do not fit the
    buffers of their tiles, go through DRAM. With ideal buffers nothing does.
    """
    spilled = spills_between_phases(plan, context, n_images)
    homes: dict[str, Lanes] = {}
    overfull: set[str] = set()
    jobs = []
    for phase in plan.phases:
        draft, maps, short = _build(phase, context, spilled, homes)
        jobs.append(without_private_links(phase.name, draft.resources, draft.ops))
        homes, spilled, overfull = maps.homes, maps.spilled, overfull | short
    return Compilation(tuple(jobs), tuple(sorted(spilled)), tuple(sorted(overfull)))


def _build(
    phase: Phase, context: Context, spilled: set[str], homes: dict[str, Lanes]
) -> tuple[JobDraft, FeatureMaps, set[str]]:
    """Build a phase and size its buffers; where one is too small, build it again with that layer in DRAM.

    What comes out of DRAM already and still does not fit is granted, and is returned as the third value.
    """
    while True:
        draft = JobDraft()
        maps = FeatureMaps(draft, context, spilled, dict(homes))
        builder = _JobBuilder(context, draft, maps)
        for operation in phase.operations:
            builder.add(operation)
        short = size_buffers(draft, maps.held, context.hardware)
        if short <= spilled:
            return draft, maps, short
        spilled = stay_in_dram(spilled | short, context.workload)


@dataclass
class _JobBuilder:
    """Append operations to a job, each after what brings its inputs, as their flows say."""

    context: Context
    draft: JobDraft
    maps: FeatureMaps
    loads: dict[str, int] = field(default_factory=dict)  # those that come once per image, by the layer that waits

    def add(self, operation: Operation) -> None:
        """Append an operation, after what has to be fetched or moved for it."""
        its_flow, its_recipe = flow(operation, self.context), recipe(operation, self.context)
        edges = [*self._fetched(its_flow), *self._behind(its_flow, its_recipe.n_vectors)]
        if isinstance(its_flow, LayerFlow):
            self._add_layer(its_flow, its_recipe, edges)
            return
        room = UNLIMITED if its_flow.serves is None else LOADS_AHEAD
        index = self.draft.append(operation.name, operation.layer_name, its_recipe, edges, room)
        if its_flow.serves is not None:
            self.loads[its_flow.serves] = index

    def _add_layer(self, its_flow: LayerFlow[Any], its_recipe: Recipe, edges: list[Edge]) -> None:
        operation = its_flow.operation
        layer, lane = operation.layer, lanes(operation.region, self.context.hardware)
        edges += self._inputs(its_flow, lane) + self._loaded(layer.name, its_recipe.n_vectors)
        spilled = its_flow.with_spills(its_recipe, self.maps.spilled)
        index = self.draft.append(operation.name, layer.name, spilled, edges)
        size, needed = n_bytes(layer, layer.elements) / spilled.n_vectors, its_flow.needed(spilled.n_vectors)
        self.maps.deliver(operation.outputs, Output(operation.outputs[-1], needed, lane, size, index))

    def _fetched(self, its_flow: Flow[Any]) -> list[Edge]:
        """Append what has to be fetched for an operation, and return the edge from there."""
        fetch = its_flow.fetch()
        if fetch is None:
            return []
        burst, reach = fetch
        layer = its_flow.operation.layer_name
        return [Edge(self.draft.append(f"fetch {layer}", layer, burst), reach.needs, reach.frees)]

    def _behind(self, its_flow: Flow[Any], n_vectors: int) -> list[Edge]:
        """Return the edge from the operation before it, vector by vector, or from all of that where it has fewer."""
        index = self.draft.number_of(its_flow.after)
        if index is None:
            return []
        needs = np.minimum(_first(n_vectors), self.draft.ops[index].n_vectors)
        return [Edge(index, needs, needs)]

    def _loaded(self, layer: str, n_vectors: int) -> list[Edge]:
        """Return the edge from a load that comes once per image, before the layer's first vector."""
        if layer not in self.loads:
            return []
        frees = np.zeros(n_vectors, np.int64)
        frees[-1] = 1
        return [Edge(self.loads[layer], np.ones(n_vectors, np.int64), frees)]

    def _inputs(self, its_flow: LayerFlow[Any], lane: Lanes) -> list[Edge]:
        """Return the edges from the inputs; none from those that are there and cost nothing to fetch."""
        in_place = its_flow.stays_in_dram(self.maps.spilled)
        edges = []
        for index, source in enumerate(its_flow.inputs):
            again = its_flow.fetches_again and source.name in self.maps.spilled
            spread = its_flow.spreads and not lane.single
            fetched = source.name not in in_place
            output = self.maps.arrival(source, lane, spread, again) if fetched else self.maps.output(source.name)
            if output is not None:
                reach = its_flow.reach(index)
                needs = output.needed[reach.needs]
                edges.append(Edge(output.index, needs, np.minimum(output.freed(reach.frees), needs)))
        return edges


def _first(count: int) -> Ints:
    return np.arange(1, count + 1, dtype=np.int64)
