"""From a plan to jobs for the engine: dependencies, moves over the network, finite buffers, spills to DRAM."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.hardware import Mesh, SramBuffer
from imcsim.mapping.floorplan import Lanes, lanes, route
from imcsim.mapping.plan import (
    BasisMvm,
    Compute,
    Load,
    Mvm,
    Operation,
    OuterProduct,
    Phase,
    Plan,
    Program,
    Source,
    TransposeMvm,
    Update,
)
from imcsim.timing.dataflow import Reach, reach
from imcsim.timing.engine.capacity import least_capacities
from imcsim.timing.engine.contract import UNLIMITED, Edge, Job, JobOp, Resource, Stage
from imcsim.timing.recipes import Actions, Context, Recipe, read_back_bytes, recipe, scattered, weight_fetch
from imcsim.timing.recipes.steps import FREE, Step, dram_step, link_steps, n_bytes
from imcsim.timing.spills import delivered, partial_name, spills_between_phases, stay_in_dram, written_bytes
from imcsim.timing.uncontended_links import without_private_links
from imcsim.workload.workload import GlobalPool, Layer, View

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Output:
    """What an operation leaves for others: ``needed[p]`` of its vectors make its first p positions."""

    layer: str  # as others read it
    needed: Ints
    lane: Lanes
    bytes_per_vector: float
    index: int  # of the operation in its job

    def freed(self, positions: Ints) -> Ints:
        """Vectors of which no position beyond the first ``positions`` is a part."""
        vector = np.arange(1, self.needed[-1] + 1)
        first = np.searchsorted(self.needed, vector, side="left")
        last = np.searchsorted(self.needed, vector, side="right") - 1
        return np.searchsorted(np.maximum(first, last), positions, side="right").astype(np.int64)


@dataclass(frozen=True)
class Compilation:
    """The jobs of a plan, one per phase, and what did not fit on the chip."""

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
        built = _build(phase, context, spilled, homes)
        jobs.append(without_private_links(phase.name, list(built.resources.values()), built.ops))
        homes, spilled, overfull = built.homes, built.spilled, overfull | built.overfull
    return Compilation(tuple(jobs), tuple(sorted(spilled)), tuple(sorted(overfull)))


def _build(phase: Phase, context: Context, spilled: set[str], homes: dict[str, Lanes]) -> _Build:
    """Build a phase and size its buffers; where one is too small, build it again with that layer in DRAM."""
    while True:
        build = _Build(context, spilled, dict(homes))
        for operation in phase.operations:
            build.add(operation)
        more = build.size_buffers()
        if not more:
            return build
        spilled = stay_in_dram(spilled | more, context.workload)


@dataclass
class _Build:
    """A job under construction."""

    context: Context
    spilled: set[str]
    homes: dict[str, Lanes]  # where the outputs of earlier operations lie, by layer
    resources: dict[str, Resource] = field(default_factory=dict)
    ops: list[JobOp] = field(default_factory=list)
    values: dict[str, Output] = field(default_factory=dict)  # outputs of this job's operations, by layer
    held: dict[int, Output] = field(default_factory=dict)  # what lies in buffers, by the operation that puts it there
    # outputs that were moved: where to, between its tiles, for the way back
    arrivals: dict[tuple[str, str, bool, bool], Output] = field(default_factory=dict)
    overfull: set[str] = field(default_factory=set)  # layers whose outputs need more room than there is
    loads: dict[str, int] = field(default_factory=dict)  # loads that come once per image, by layer

    def add(self, operation: Operation) -> None:
        """Append an operation, after the moves that bring its inputs."""
        made = recipe(operation, self.context)
        if isinstance(operation, Compute):
            self._add_compute(operation, made)
            return
        edges: tuple[Edge, ...] = ()
        if isinstance(operation, Program):
            edges = self._fetch(operation)
        elif isinstance(operation, Update):
            edges = self._after(operation, made.n_vectors)
        index = self._append(operation.name, operation.layer, made, edges)
        if isinstance(operation, Load) and operation.per_image:
            self.loads[operation.layer] = index
            self.ops[index] = replace(self.ops[index], capacity=2)  # what is in use, and what comes next

    def _fetch(self, operation: Program) -> tuple[Edge, ...]:
        """Bring the weights before they are written; every copy of a crossbar waits for the same burst."""
        made = weight_fetch(operation, self.context)
        index = self._append(f"fetch {operation.layer}", operation.layer, made, ())
        count = np.repeat(np.arange(1, made.n_vectors + 1, dtype=np.int64), operation.region.copies)
        return (Edge(index, count, count),)

    def _after(self, operation: Update, n_vectors: int) -> tuple[Edge, ...]:
        """The edge from the part before, crossbar by crossbar, or from all of it where that is one vector."""
        index = next((i for i, op in enumerate(self.ops) if op.name == operation.after), None)
        if index is None:
            return ()
        needs = np.minimum(np.arange(1, n_vectors + 1, dtype=np.int64), self.ops[index].n_vectors)
        return (Edge(index, needs, needs),)

    def _add_compute(self, operation: Compute, made: Recipe) -> None:
        hw, layer = self.context.hardware, operation.layer
        lane = lanes(operation.region, hw)
        in_dram = {name for name in layer.inputs if self._is_view_in_dram(layer) and name in self.spilled}
        edges = [
            edge
            for i, name in enumerate(layer.inputs)
            for edge in self._edges(operation, i, lane, fetched=name not in in_dram)
        ]
        edges += self._load_edges(operation, made.n_vectors)
        names = delivered(operation)
        if isinstance(operation, Mvm) and partial_name(layer) in self.spilled:
            made = _with_dram(made, read_back_bytes(operation, hw) * layer.positions, self.context, before=True)
        if isinstance(operation, Source) and layer.name in self.spilled:
            made = Recipe(made.n_vectors, (), {})  # it is in DRAM, where its readers fetch it
        elif self.spilled.intersection(names):
            there = sum(self.context.workload.by_name[name].elements for name in in_dram)
            written = max(0.0, written_bytes(operation, self.context) - n_bytes(layer, there))
            made = _with_dram(made, written, self.context, before=False)
        needed = _needed(operation, made.n_vectors)
        size = n_bytes(layer, layer.elements) / made.n_vectors
        value = Output(names[-1], needed, lane, size, self._append(operation.name, layer.name, made, tuple(edges)))
        for name in names:
            self.values[name], self.homes[name] = value, lane
        if not self.spilled.intersection(names):
            self.held[value.index] = value

    def _append(self, name: str, layer: str, made: Recipe, edges: tuple[Edge, ...]) -> int:
        steps = made.steps or (Step(FREE, 0, 0),)
        stages = tuple(Stage(self._resource(step.resource), step.hold_ps, step.latency_ps) for step in steps)
        actions = dict(made.actions)
        self.ops.append(JobOp(name, layer, made.n_vectors, stages, edges, UNLIMITED, made.per_image, actions))
        return len(self.ops) - 1

    def _resource(self, resource: Resource) -> int:
        known = self.resources.setdefault(resource.name, resource)
        if known != resource:
            raise ValueError(
                f"resource {resource.name} was declared twice, with {known.capacity} and {resource.capacity} units"
            )
        return list(self.resources).index(resource.name)

    # -- dependencies ------------------------------------------------------------------------------------------------

    def _is_view_in_dram(self, layer: Layer) -> bool:
        """Whether a layer only renames data in DRAM, so that what is there already stays where it is."""
        return isinstance(layer, View) and layer.name in self.spilled

    def _edges(self, operation: Compute, index: int, lane: Lanes, fetched: bool) -> list[Edge]:
        """The edge for one input of a layer; none where it is there already and costs nothing to fetch."""
        layer, workload = operation.layer, self.context.workload
        inputs = [workload.by_name[name] for name in layer.inputs]
        spread = isinstance(operation, Mvm | BasisMvm | TransposeMvm | OuterProduct) and not lane.single
        source = inputs[index]
        again = isinstance(operation, OuterProduct) and source.name in self.spilled
        value = self._arrival(source, lane, spread, again) if fetched else self.values.get(source.name)
        if value is None:
            return []
        reached = _reach(operation, inputs, index)
        needs, frees = value.needed[reached.needs], value.freed(reached.frees)
        if isinstance(operation, BasisMvm):
            needs, frees = _per_segment(needs, frees, operation.segments.count)
        return [Edge(value.index, needs, np.minimum(frees, needs))]

    def _load_edges(self, operation: Compute, n_vectors: int) -> list[Edge]:
        """The edge from a load that comes once per image, before the layer's first vector."""
        if operation.layer.name not in self.loads:
            return []
        frees = np.zeros(n_vectors, np.int64)
        frees[-1] = 1
        return [Edge(self.loads[operation.layer.name], np.ones(n_vectors, np.int64), frees)]

    def _arrival(self, source: Layer, lane: Lanes, spread: bool, again: bool) -> Output | None:
        """A layer's output as it arrives at a lane: as it is, or through a move that is made once per destination.

        ``spread``: it is needed on other tiles of the lane than the one that made it. ``again``: it did not stay there
        and comes back for an outer product.
        """
        value = self.values.get(source.name)
        home = value.lane if value else self.homes[source.name]
        key = (source.name, lane.key, spread and home.key == lane.key, again)
        if key in self.arrivals:
            return self.arrivals[key]
        size = value.bytes_per_vector if value else n_bytes(source, source.channels)
        steps, actions = self._way(source.name, size, home, lane, apart=value is None or spread)
        if not actions:  # it is there already
            return value
        count = int(value.needed[-1]) if value else source.positions
        once = np.arange(1, count + 1, dtype=np.int64)
        edges = (Edge(value.index, once, once),) if value else ()
        needed = value.needed if value else np.arange(count + 1)
        made = Recipe(count, steps, {key: amount * count for key, amount in actions.items()})
        moved = Output(
            source.name, needed, lane, size, self._append(f"{source.name} > {lane.key}", source.name, made, edges)
        )
        self.arrivals[key] = moved
        self.held[moved.index] = moved
        return moved

    def _way(self, name: str, size: float, home: Lanes, lane: Lanes, apart: bool) -> tuple[tuple[Step, ...], Actions]:
        """Steps and actions that bring one vector from its home to a lane, out of DRAM where it was spilled.

        ``apart``: it has to travel even on the same lane, between its tiles or because it waited between two phases.
        """
        hw = self.context.hardware
        steps: tuple[Step, ...] = ()
        actions: dict[tuple[str, str], float] = defaultdict(float)
        if name in self.spilled:
            steps += dram_step(size, hw)
            actions["dram", "byte"] += size
        moves = home.key != lane.key or apart
        if moves and isinstance(hw.chip.noc, Mesh):
            links = route(home.home, lane.home, hw.chip.noc)
            steps += link_steps(size, links, home.home, min(home.count * home.tiles, lane.count * lane.tiles), hw)
            actions["router", "byte_hop"] += size * max(1, len(links))
        if moves or actions:  # also over an ideal network: what arrives takes room in a buffer
            actions["buffer", "read_byte"] += size
            actions["buffer", "write_byte"] += size
        return steps, actions

    # -- buffers -----------------------------------------------------------------------------------------------------

    def _with_registers(self, op: JobOp) -> JobOp:
        """An operation that nobody waits for takes in only what is in service at its stages, and as much again."""
        kinds = list(self.resources.values())
        room = 0
        for stage in op.stages:
            hold, late, units = np.max(stage.hold_ps), np.max(stage.latency_ps), kinds[stage.resource].capacity
            if units == UNLIMITED:
                return op
            room += units * max(1, -(-int(late) // int(hold)))
        return replace(op, capacity=2 * room)

    def size_buffers(self) -> set[str]:
        """Give each output its share of the buffers; return the layers whose share is smaller than they need.

        Nobody gets room to run further ahead than one image. What comes out of DRAM already and still does not fit is
        granted what it needs, and noted as overfull.
        """
        read = {edge.producer for op in self.ops for edge in op.edges}
        self.ops = [op if i in read or not op.per_image else self._with_registers(op) for i, op in enumerate(self.ops)]
        buffer = self.context.hardware.tile.buffer
        if not isinstance(buffer, SramBuffer):
            return set()
        held = {i: value for i, value in self.held.items() if i in read and value.bytes_per_vector}
        crowd = Counter(value.lane.key for value in held.values())
        least = least_capacities(self.ops)
        short: set[str] = set()
        for i, value in held.items():
            share = buffer.capacity_bytes * value.lane.count * value.lane.tiles / crowd[value.lane.key]
            room = int(share / value.bytes_per_vector)
            if least[i] > room:
                (self.overfull if value.layer in self.spilled else short).add(value.layer)
            capacity = min(max(least[i], room), least[i] + self.ops[i].n_vectors)
            self.ops[i] = replace(self.ops[i], capacity=capacity)
        return short


def _reach(operation: Compute, inputs: list[Layer], index: int) -> Reach:
    """What each vector of an operation reads from its input number ``index``."""
    if isinstance(operation, TransposeMvm) or (isinstance(operation, OuterProduct) and index == 1):
        one_by_one = np.arange(1, operation.forward.positions + 1, dtype=np.int64)
        return Reach(one_by_one, one_by_one)
    layer = operation.forward if isinstance(operation, OuterProduct) else operation.layer
    return reach(layer, inputs, index)


def _needed(operation: Compute, n_vectors: int) -> Ints:
    """Vectors that make the first p positions of an operation's output."""
    if isinstance(operation, TransposeMvm):
        return scattered(operation).needed
    positions = np.arange(operation.layer.positions + 1, dtype=np.int64)
    if isinstance(operation.layer, GlobalPool):
        return positions * n_vectors
    return -(-positions * n_vectors // operation.layer.positions)


def _per_segment(needs: Ints, frees: Ints, count: int) -> tuple[Ints, Ints]:
    """Every segment of a position needs its inputs; only the last one lets them go."""
    before = np.repeat(np.concatenate([[0], frees[:-1]]), count)
    before[count - 1 :: count] = frees
    return np.repeat(needs, count), before


def _with_dram(made: Recipe, size: float, context: Context, before: bool) -> Recipe:
    """A recipe that also reads (before) or writes (after) ``size`` bytes of one image in DRAM."""
    if not size:
        return made
    step = dram_step(size / made.n_vectors, context.hardware)
    actions = dict(made.actions)
    actions["dram", "byte"] = actions.get(("dram", "byte"), 0.0) + size
    return replace(made, steps=step + made.steps if before else made.steps + step, actions=actions)
