"""Jobs for the engine tests: random small ones, and one shaped like a residual network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imcsim.timing.engine.capacity import least_capacities
from imcsim.timing.engine.contract import UNLIMITED, Edge, Ints, Job, JobOp, Resource, Stage
from imcsim.timing.engine.resource_kind import ResourceKind

NS = 1000


def window_edge(producer: int, side_in: int, side_out: int, kernel: int) -> Edge:
    """A convolution's edge between square maps: needs the window's last position, frees what no later window covers."""
    stride, pad = side_in // side_out, kernel // 2
    row, column = np.divmod(np.arange(side_out**2), side_out)
    last_row, last_column = (np.minimum(side_in - 1, x * stride + kernel - 1 - pad) for x in (row, column))
    needs = last_row * side_in + last_column + 1
    first_row = np.maximum(0, row * stride - pad)
    frees = first_row * side_in + np.maximum(0, column * stride - pad) if pad == 0 else first_row * side_in
    needs = np.maximum.accumulate(needs)
    return Edge(producer, needs, np.minimum(np.maximum.accumulate(frees), needs))


class ChipBuilder:
    """Collects operations whose stages use shared buses and links and private crossbars and converters."""

    def __init__(self, layers_per_tile: int) -> None:
        self.layers_per_tile = layers_per_tile
        self.resources: list[Resource] = [Resource("dram", ResourceKind.DRAM, 2)]
        self.operations: list[JobOp] = []
        self._shared: dict[str, int] = {}

    def shared(self, kind: str, capacity: int) -> int:
        name = f"{kind}[{len(self.operations) // self.layers_per_tile}]"
        if name not in self._shared:
            self._shared[name] = self.private(name, kind, capacity)
        return self._shared[name]

    def private(self, name: str, kind: str, capacity: int) -> int:
        self.resources.append(Resource(name, ResourceKind(kind), capacity))
        return len(self.resources) - 1

    def source(self, side: int) -> int:
        return self._add("source", side * side, (Stage(0, 4 * NS, 60 * NS),), ())

    def conv(self, name: str, side: int, edges: tuple[Edge, ...]) -> int:
        copies = max(1, side * side // 784)
        stages = (
            Stage(self.shared("bus", 1), 2 * NS, 5 * NS),
            Stage(self.private(f"crossbars[{name}]", "crossbar", copies), 800 * NS, 800 * NS),
            Stage(self.private(f"adc[{name}]", "adc", copies), 640 * NS, 700 * NS),
            Stage(self.private(f"shift_add[{name}]", "digital", UNLIMITED), 0, 3 * NS),
            Stage(self.shared("link", 1), 2 * NS, 7 * NS),
        )
        return self._add(name, side * side, stages, edges)

    def add(self, name: str, side: int, edges: tuple[Edge, ...]) -> int:
        stages = (
            Stage(self.shared("bus", 1), 2 * NS, 4 * NS),
            Stage(self.shared("digital", 2), 8 * NS, 9 * NS),
            Stage(self.shared("bus", 1), 1 * NS, 2 * NS),
            Stage(self.shared("link", 1), 2 * NS, 7 * NS),
        )
        return self._add(name, side * side, stages, edges)

    def _add(self, name: str, n_vectors: int, stages: tuple[Stage, ...], edges: tuple[Edge, ...]) -> int:
        self.operations.append(JobOp(name, name, n_vectors, stages, edges))
        return len(self.operations) - 1

    def job(self, slack: float) -> Job:
        least = least_capacities(self.operations)
        ops = tuple(replace(op, capacity=int(c * slack) + 1) for op, c in zip(self.operations, least, strict=True))
        return Job("resnet-like", tuple(self.resources), ops)


def resnet_like(side: int = 112, blocks: tuple[int, ...] = (3, 4, 6, 3), slack: float = 1.5) -> Job:
    """Bottleneck blocks with residual forks, ``side**2`` vectors at the front and (side / 16)**2 at the end."""
    chip = ChipBuilder(layers_per_tile=4)
    last = chip.source(side)
    last = chip.conv("stem", side, (window_edge(last, side, side, 3),))
    last = chip.add("pool", side // 2, (window_edge(last, side, side // 2, 3),))
    side_in = side // 2
    for group, n_blocks in enumerate(blocks):
        side_out = (side // 2) >> group
        for block in range(n_blocks):
            name, fork = f"{group}.{block}", last
            a = chip.conv(f"{name}a", side_in, (window_edge(fork, side_in, side_in, 1),))
            b = chip.conv(f"{name}b", side_out, (window_edge(a, side_in, side_out, 3),))
            c = chip.conv(f"{name}c", side_out, (window_edge(b, side_out, side_out, 1),))
            if block == 0:
                fork = chip.conv(f"{name}skip", side_out, (window_edge(fork, side_in, side_out, 1),))
            edges = (window_edge(c, side_out, side_out, 1), window_edge(fork, side_out, side_out, 1))
            last, side_in = chip.add(f"{name}add", side_out, edges), side_out
    return chip.job(slack)


def random_job(seed: int) -> Job:
    """A small job that never deadlocks: forks, joins, shared resources, finite buffers, times of single vectors.

    The random choices cover: limited and unlimited resources, latencies that differ from holds or are zero, operations
    once per phase, needs of nothing, vectors that nobody needs, two edges between the same operations.
    """
    rng = np.random.default_rng(seed)
    capacities = [int(c) if c else UNLIMITED for c in rng.choice([0, 1, 1, 1, 2, 3], size=rng.integers(1, 5))]
    resources = tuple(Resource(f"r{i}", ResourceKind.BUS, capacity) for i, capacity in enumerate(capacities))
    operations: list[JobOp] = []
    for index in range(rng.integers(1, 6)):
        n = int(rng.integers(1, 6))
        stages = tuple(_random_stage(rng, capacities, n) for _ in range(rng.integers(1, 4)))
        is_per_image = bool(rng.random() < 0.8)
        producers = [i for i, op in enumerate(operations) if op.per_image == is_per_image]
        n_edges = rng.integers(0, 3) if producers else 0
        edges = tuple(
            random_edge(rng, int(p), operations[p].n_vectors, n) for p in rng.choice(producers or [0], n_edges)
        )
        operations.append(JobOp(f"op{index}", f"layer{index}", n, stages, edges, per_image=is_per_image))
    least = least_capacities(operations)
    extra = rng.choice([0, 0, 1, 3, -1], size=len(least))
    limited = [
        replace(op, capacity=c + int(e) if e >= 0 else UNLIMITED)
        for op, c, e in zip(operations, least, extra, strict=True)
    ]
    return Job(f"random {seed}", resources, tuple(limited))


def _random_stage(rng: np.random.Generator, capacities: list[int], n_vectors: int) -> Stage:
    resource = int(rng.integers(len(capacities)))
    least_hold = 0 if capacities[resource] == UNLIMITED else 1
    size = n_vectors if rng.random() < 0.25 else None
    hold = rng.integers(least_hold, 5, size=n_vectors if rng.random() < 0.25 else None)
    latency = hold if rng.random() < 0.4 else rng.integers(0, 5, size=size)
    return Stage(resource, *(x if np.ndim(x) else int(x) for x in (hold, latency)))


def random_edge(rng: np.random.Generator, producer: int, n_producer: int, n_consumer: int) -> Edge:
    """Any edge that the contract allows."""
    needs: Ints = np.sort(rng.integers(0, n_producer + 1, size=n_consumer))
    frees = np.sort(rng.integers(0, n_producer + 1, size=n_consumer))
    return Edge(producer, needs, np.minimum(frees, needs))


# by hand


def line(*stages: tuple[int, int, int], n_vectors: int = 3, **fields) -> JobOp:
    """An operation whose stages are (resource, hold, latency)."""
    return JobOp("line", "line", n_vectors, tuple(Stage(*stage) for stage in stages), **fields)


def job_of(*operations: JobOp, capacities: tuple[int, ...] = (1, 1, 1)) -> Job:
    named = tuple(replace(op, name=f"op{i}") for i, op in enumerate(operations))
    return Job("hand", tuple(Resource(f"r{i}", ResourceKind.BUS, c) for i, c in enumerate(capacities)), named)


def one_to_one(producer: int, n: int) -> Edge:
    return Edge(producer, np.arange(1, n + 1), np.arange(1, n + 1))
