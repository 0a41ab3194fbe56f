"""Are jobs what a plan asks for? Private links, spills to DRAM by hand, no deadlock, real dependencies, finite buffers.

Cases marked as expected failures state a law that the code breaks today; they fail the suite once the law holds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.plan import Compute
from imcsim.mapping.schemes import SCHEMES
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing import engine
from imcsim.timing.engine.capacity import least_capacities
from imcsim.timing.engine.contract import UNLIMITED, Edge, Ints, Job, JobOp, JobResult, OpTimes, Resource, Stage
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.execution import Execution
from imcsim.timing.uncontended_links import without_private_links
from imcsim.workload.layers import Concat, Conv, GlobalPool, Layer, Pool
from imcsim.workload.workload import Workload, load_workload
from tests.support.jobs import random_edge
from tests.support.networks import conv, image, network, one_conv, residual
from tests.support.plugins import classes
from tests.support.runs import simulated

TILES = {"resnet20_cifar": 48, "squeezenet": 100, "shufflenet": 200}  # what static needs, and some more
PAIR = network(image(4, 4), conv("a", "image", (4, 8), 4), conv("b", "a", (8, 4), 4))  # 64, 128 and 64 bytes


def traced(workload: Workload, scheme: str, batch: int, **options: object) -> Execution:
    """Compiled and run; keys of ``options`` with a dot set hardware, the others are the scheme's."""
    ideal = options.pop("ideal", ())
    values = {key: options.pop(key) for key in [*options] if "." in key}
    chip = load_hardware("rram-256", {"chip.n_tiles": TILES.get(workload.name, 12), **values}, "ideal_single", ideal)
    request = RunSpec(workload, chip, scheme, batch, options)
    return simulated(request)


# -- private links -----------------------------------------------------------------------------------------------------


def plain(name: str, resources: list[Resource], operations: list[JobOp]) -> Job:
    return Job(name, tuple(resources), tuple(operations))


def seen(job: Job, kept: Job) -> list[object]:
    """Makespan, completions, and grants of three images on the resources that an operation uses in ``kept`` as well."""
    result = engine.run(job, 3, extrapolate=False)
    told: list[object] = [result.makespan_ps]
    for op, other, times in zip(job.operations, kept.operations, result.times, strict=True):
        names = {kept.resources[stage.resource].name for stage in other.stages}
        there = [job.resources[stage.resource].name in names for stage in op.stages]
        told.append((op.name, times.start_ps[there].tolist(), times.end_ps.tolist()))
    return told


@pytest.mark.parametrize(("name", "scheme", "options"), [
    ("resnet20_cifar", "hybrid", {}), ("resnet20_cifar", "reprogram", {}), ("resnet20_cifar", "static", {}),
    ("squeezenet", "hybrid", {"tile.buffer.capacity_bytes": 512, "chip.n_tiles": 64}),
])  # fmt: skip
def test_private_links_may_go(monkeypatch: pytest.MonkeyPatch, name: str, scheme: str, options: dict[str, int]) -> None:
    short = traced(load_workload(name), scheme, 3, **options).jobs
    monkeypatch.setattr("imcsim.timing.compile.without_private_links", plain)
    full = traced(load_workload(name), scheme, 3, **options).jobs
    n_stages = [sum(len(op.stages) for job in jobs for op in job.operations) for jobs in (short, full)]
    assert n_stages[0] < n_stages[1]  # otherwise this shows nothing
    for one, other in zip(short, full, strict=True):
        assert seen(one, one) == seen(other, one)


def job_with_links(seed: int, door: bool, least_hop: int) -> tuple[str, list[Resource], list[JobOp]]:
    """Operations that send over some of six links. ``door``: each passes a bus before its first link."""
    rng = np.random.default_rng(seed)
    resources = [Resource("bus", ResourceKind.BUS, 2), *(Resource(f"link{i}", ResourceKind.LINK, 1) for i in range(6))]
    operations: list[JobOp] = []
    for index in range(rng.integers(2, 6)):
        n, hold, hop = (int(x) for x in rng.integers([1, 1, least_hop], [6, 5, 4]))
        way = (rng.permutation(6)[: rng.integers(1, 5)] + 1).tolist()
        links = [*(Stage(link, hold, hop) for link in way[:-1]), Stage(way[-1], hold, hop + hold)]
        sources = rng.permutation(index)[: rng.integers(0, 3)].tolist()
        edges = tuple(random_edge(rng, p, operations[p].n_vectors, n) for p in sources)
        operations.append(JobOp(f"op{index}", "", n, tuple([Stage(0, 2, 2)] * door + links), edges))
    least = least_capacities(operations)
    return "links", resources, [replace(op, capacity=room) for op, room in zip(operations, least, strict=True)]


def assert_links_may_go(seed: int, door: bool, least_hop: int) -> None:
    parts = job_with_links(seed, door, least_hop)
    short, full = without_private_links(*parts), plain(*parts)
    assert seen(short, short) == seen(full, short)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0, 1]))
@example(9, False, 1)  # the first stage of all: its latency says when inputs are let go
@example(278, True, 0)  # no latency: the end is in another round
@settings(max_examples=200, deadline=None)
def test_private_links_may_go_wherever_they_are(seed: int, door: bool, least_hop: int) -> None:
    assert_links_may_go(seed, door, least_hop)


# -- spills ------------------------------------------------------------------------------------------------------------


def in_dram(made: Execution) -> list[tuple[str, float]]:
    """Operations that read or write feature maps in DRAM, and bytes of one image."""
    moved = [(op.name, op.actions.get(("dram", "byte"), 0)) for job in made.jobs for op in job.operations]
    return [(name, size) for name, size in moved if size and not name.startswith("fetch ")]


def tiny(workload: Workload, buffer: int, batch: int = 1, ideal: tuple[str, ...] = ()) -> Execution:
    """Layer by layer on one tile of 8 crossbars with a buffer of some bytes."""
    hardware = {"chip.n_tiles": 1, "tile.buffer.capacity_bytes": buffer}
    return traced(workload, "reprogram", batch, ideal=ideal, replication="none", **hardware)


def both(channels: int) -> Workload:
    """4 x 4 positions: a gives 8 x 16 = 128 bytes, b gives 64, both together 192; the image has 16 per channel."""
    a, b, c = (conv(*names, sizes, 4) for names, sizes in zip(  # name, source, channels
        (("a", "image"), ("b", "image"), ("c", "both")), ((channels, 8), (channels, 4), (12, 4)), strict=True
    ))  # fmt: skip
    return network(image(channels, 4), a, b, Concat(name="both", inputs=("a", "b"), output_shape=(12, 4, 4)), c)


@pytest.mark.parametrize(("buffer", "batch"), [(127, 1), (255, 2)])
def test_what_crosses_phases_and_does_not_fit_is_written_once_and_read_once(buffer: int, batch: int) -> None:
    made = tiny(PAIR, buffer, batch)
    assert (made.spilled, made.overfull) == (("a",), ())
    assert in_dram(made) == [("image", 64), ("a", 128), ("a > 0", 128)]
    assert in_dram(tiny(PAIR, buffer + 1, batch)) == [("image", 64)]


def test_a_concatenation_in_dram_takes_only_what_is_not_there() -> None:
    assert tiny(both(4), 100).spilled == ("a", "both")
    assert in_dram(tiny(both(4), 100)) == [("image", 64), ("a", 128), ("both", 64), ("both > 0", 192)]
    assert tiny(both(2), 170).spilled == ("both",)  # a and the image, 128 + 32, are small enough
    assert in_dram(tiny(both(2), 170)) == [("image", 32), ("both", 192), ("both > 0", 192)]


def test_partial_sums_are_written_and_read_back_once_by_each_pass() -> None:
    """18 crossbars in passes of 8, 8 and 2; 16 outputs of 3 bytes (8 + 8 + 7 bits) at 16 positions."""
    made = tiny(one_conv(256, 16, 4), 700)
    assert "conv (partial sums)" in made.spilled
    assert [size for name, size in in_dram(made) if name == "conv"] == [768, 768 + 768, 768]
    assert [size for name, size in in_dram(tiny(one_conv(256, 16, 4), 6000)) if name == "conv"] == []


def test_an_input_in_dram_is_not_written_there() -> None:
    made = tiny(one_conv(256, 16, 4), 4500)  # three passes read the image of 4096 bytes
    assert made.spilled == ("image",)
    assert sum(size for _, size in in_dram(made)) <= 3 * 4096


@pytest.mark.parametrize("workload", [PAIR, both(4), one_conv(256, 16, 4), load_workload("resnet20_cifar")])
def test_nothing_spills_with_ideal_buffers(workload: Workload) -> None:
    made = tiny(workload, 1, ideal=("buffer",))
    assert made.spilled == made.overfull == ()
    sent = [job.operations[edge.producer] for job in made.jobs for op in job.operations for edge in op.edges]
    assert {op.capacity for op in sent} <= {UNLIMITED}


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer", [16, 1000])
@pytest.mark.parametrize("name", TILES)
@pytest.mark.parametrize("scheme", classes(SCHEMES))
def test_nothing_is_stuck_in_tiny_buffers(scheme: str, name: str, buffer: int) -> None:
    for batch in (1, 3):
        made = traced(load_workload(name), scheme, batch, **{"tile.buffer.capacity_bytes": buffer})
        assert made.spilled
        for job, result in zip(made.jobs, made.results, strict=True):
            least = least_capacities(job.operations)
            assert all(op.capacity >= room for op, room in zip(job.operations, least, strict=True))
            assert result.n_images == batch
            assert all(times.end_ps.min() >= 0 for times in result.times)


def under(layer: Layer, source: Layer, step: int) -> list[int]:
    """Positions of a source that one step of a layer reads."""
    if not isinstance(layer, Conv | Pool):
        each = isinstance(layer, GlobalPool) or layer.positions == source.positions
        return [step] if each else list(range(source.positions))
    w, (height, width) = layer.window, source.output_shape[1:]
    row, column = divmod(step, layer.output_shape[2])
    rows = [row * w.stride[0] - w.padding[0] + w.dilation[0] * k for k in range(w.kernel[0])]
    columns = [column * w.stride[1] - w.padding[1] + w.dilation[1] * k for k in range(w.kernel[1])]
    return [r * width + c for r in rows for c in columns if 0 <= r < height and 0 <= c < width]


def last_vector(position: int, n_vectors: int, layer: Layer) -> int:
    """The vector that completes a position: whole rows of an image, several segments of a position, or one."""
    if n_vectors < layer.positions:
        return position // (layer.positions // n_vectors)
    return (position + 1) * (n_vectors // layer.positions) - 1


@pytest.mark.parametrize(("scheme", "options"), [
    ("static", {}), ("static", {"tile.buffer.capacity_bytes": 2000}), ("hybrid", {"chip.n_tiles": 16}),
    ("basis_broadcast", {"layers": "stream"}), ("reprogram", {"grouping": "packed"}),
])  # fmt: skip
def test_nothing_starts_before_what_is_under_its_window(scheme: str, options: dict[str, object]) -> None:
    workload = load_workload("resnet20_cifar")
    trace, n_checked = traced(workload, scheme, 2, **options), 0
    for phase, job, result in zip(trace.plan.phases, trace.jobs, trace.results, strict=True):
        times = {op.name: times for op, times in zip(job.operations, result.times, strict=True)}
        made: dict[str, OpTimes] = {}
        for op in phase.operations:
            if isinstance(op, Compute):
                for source in made.keys() & set(op.layer.inputs):
                    assert_after(op.layer, workload.by_name[source], times[op.name], made[source])
                    n_checked += 1
                made |= {layer.name: times[op.name] for layer in (op.layer, *getattr(op, "absorbed", ()))}
    assert n_checked >= (30 if len(trace.jobs) == 1 else 5)


def assert_after(layer: Layer, source: Layer, times: OpTimes, producer: OpTimes) -> None:
    starts, ends = times.start_ps[0], producer.end_ps
    each = 1 if isinstance(layer, GlobalPool) else starts.shape[1] // layer.positions
    for vector in range(starts.shape[1]):
        needed = [last_vector(p, ends.shape[1], source) for p in under(layer, source, vector // each)]
        assert (starts[:, vector] >= ends[:, needed].max(axis=1)).all(), (layer.name, source.name, vector)


# -- buffers -----------------------------------------------------------------------------------------------------------


def released_ps(job: Job, result: JobResult, index: int) -> Ints:
    """When each vector of an operation is forgotten by all that read it, all images in a row."""
    n, pairs = job.operations[index].n_vectors, zip(job.operations, result.times, strict=True)
    gone = [_forgotten_ps(op, times, e, n) for op, times in pairs for e in op.edges if e.producer == index]
    return np.max(gone, axis=0) if gone else np.maximum.accumulate(result.times[index].end_ps.ravel())


def _forgotten_ps(reader: JobOp, times: OpTimes, edge: Edge, n_produced: int) -> Ints:
    left = np.maximum.accumulate((times.start_ps[0] + reader.stages[0].latency_ps).ravel())
    frees = np.append(edge.frees[:-1], n_produced)  # the last vector of an image forgets all of it
    by = [next(v for v, count in enumerate(frees) if count > vector) for vector in range(n_produced)]
    return left.reshape(times.start_ps[0].shape)[:, by].ravel()


@pytest.mark.parametrize("buffer", [300, 2000, 65536])
@pytest.mark.parametrize("scheme", ["static", "hybrid", "reprogram", "basis_broadcast"])
def test_no_buffer_ever_holds_more_than_its_capacity(scheme: str, buffer: int) -> None:
    trace = traced(residual(16, 6), scheme, 4, **{"tile.buffer.capacity_bytes": buffer})
    n_full = 0
    for job, result in zip(trace.jobs, trace.results, strict=True):
        for i, op in enumerate(job.operations):
            if op.capacity != UNLIMITED:
                start = result.times[i].start_ps[0].ravel()[op.capacity :]
                room = released_ps(job, result, i)[: len(start)]
                assert (start >= room).all(), op.name
                n_full += int((start == room).sum())
    assert n_full  # vectors that came in as soon as there was room
