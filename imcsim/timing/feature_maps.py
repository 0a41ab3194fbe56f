"""Keep where feature maps lie while a job is put together, and bring them to those who read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from imcsim.hardware.actions import BUFFER_READ_BYTE, BUFFER_WRITE_BYTE, DRAM_BYTE, ROUTER_BYTE_HOP, Action
from imcsim.hardware.hardware import Mesh
from imcsim.mapping.floorplan import Lanes, route
from imcsim.timing.dataflow import Ints
from imcsim.timing.engine.contract import Edge
from imcsim.timing.job_draft import JobDraft
from imcsim.timing.recipes import Actions, Context, Recipe
from imcsim.timing.recipes.steps import Step, dram_step, link_steps, n_bytes
from imcsim.workload.workload import Layer


@dataclass(frozen=True)
class Output:
    """Hold what an operation leaves for others: ``needed[p]`` of its vectors make its first p positions."""

    layer: str  # as others read it
    needed: Ints
    lane: Lanes
    bytes_per_vector: float
    index: int  # of the operation in its job

    def freed(self, positions: Ints) -> Ints:
        """Return how many vectors have no position beyond the first ``positions`` as a part."""
        vector = np.arange(1, self.needed[-1] + 1)
        first = np.searchsorted(self.needed, vector, side="left")
        last = np.searchsorted(self.needed, vector, side="right") - 1
        return np.searchsorted(np.maximum(first, last), positions, side="right").astype(np.int64)


@dataclass
class FeatureMaps:
    """Hold the outputs of a job's operations, and where those of earlier jobs lie.

    ``spilled``: layers whose outputs wait in DRAM. ``homes``: where outputs lie, by layer. ``held``: what lies in
    buffers, by the number of the operation that puts it there.
    """

    draft: JobDraft
    context: Context
    spilled: set[str]
    homes: dict[str, Lanes]
    held: dict[int, Output] = field(default_factory=dict)
    _outputs: dict[str, Output] = field(default_factory=dict)  # of this job, by layer
    # outputs that were moved, by layer, lane, whether between its tiles, whether for a later reader
    _arrivals: dict[tuple[str, str, bool, bool], Output] = field(default_factory=dict)

    def deliver(self, names: Sequence[str], output: Output) -> None:
        """Note an output under the names by which others read it."""
        for name in names:
            self._outputs[name], self.homes[name] = output, output.lane
        if self.spilled.isdisjoint(names):
            self.held[output.index] = output

    def output(self, layer: str) -> Output | None:
        """Return the output of a layer where it was made; None where that was in an earlier job."""
        return self._outputs.get(layer)

    def arrival(self, source: Layer, lane: Lanes, spread: bool, again: bool) -> Output | None:
        """Return a layer's output as it arrives at a lane: as it is, or through a move, one for each destination.

        ``spread``: it is needed on other tiles of the lane than the one that made it. ``again``: it did not stay there
        and comes back. None where it is there from earlier and costs nothing to fetch.
        """
        output = self._outputs.get(source.name)
        home = output.lane if output else self.homes[source.name]
        key = (source.name, lane.key, spread and home.key == lane.key, again)
        if key in self._arrivals:
            return self._arrivals[key]
        size = output.bytes_per_vector if output else n_bytes(source, source.channels)
        steps, actions = self._way(source.name, size, home, lane, apart=output is None or spread)
        if not actions:  # it is there already
            return output
        moved = self._moved(source, output, lane, size, steps, actions)
        self._arrivals[key] = self.held[moved.index] = moved
        return moved

    def _moved(
        self, source: Layer, output: Output | None, lane: Lanes, size: float, steps: tuple[Step, ...], actions: Actions
    ) -> Output:
        """Append the move of an output, vector by vector, or position by position where it was made earlier."""
        needed = output.needed if output else np.arange(source.positions + 1)
        count = int(needed[-1])
        once = np.arange(1, count + 1, dtype=np.int64)
        edges = (Edge(output.index, once, once),) if output else ()
        recipe = Recipe(count, steps, {action: amount * count for action, amount in actions.items()})
        index = self.draft.append(f"{source.name} > {lane.key}", source.name, recipe, edges)
        return Output(source.name, needed, lane, size, index)

    def _way(self, name: str, size: float, home: Lanes, lane: Lanes, apart: bool) -> tuple[tuple[Step, ...], Actions]:
        """Return steps and actions that bring one vector from its home to a lane, out of DRAM where it was spilled.

        ``apart``: it has to travel even on the same lane, between its tiles or because it waited between two phases.
        """
        hw = self.context.hardware
        steps: tuple[Step, ...] = ()
        actions: dict[Action, float] = defaultdict(float)
        if name in self.spilled:
            steps += dram_step(size, hw)
            actions[DRAM_BYTE] += size
        moves = home.key != lane.key or apart
        if moves and isinstance(hw.chip.noc, Mesh):
            links = route(home.home, lane.home, hw.chip.noc)
            steps += link_steps(size, links, home.home, min(home.count * home.tiles, lane.count * lane.tiles), hw)
            actions[ROUTER_BYTE_HOP] += size * max(1, len(links))
        if moves or actions:  # also over an ideal network: what arrives takes room in a buffer
            actions[BUFFER_READ_BYTE] += size
            actions[BUFFER_WRITE_BYTE] += size
        return steps, actions
