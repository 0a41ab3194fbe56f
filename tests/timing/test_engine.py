"""Is waiting right? The engines against the ticking oracle, hand-worked logs, recurrences, and runs of all images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.timing import engine
from imcsim.timing.engine.contract import UNLIMITED, Edge, Job, JobOp, JobResult, Stage
from imcsim.timing.engine.fast_engine import simulate
from tests.support.jobs import job_of, line, one_to_one, random_job, resnet_like
from tests.support.ticking import Ticking

TOTALS = (
    "n_images",
    "makespan_ps",
    "first_image_ps",
    "busy_ps",
    "queued_ps",
    "starved_ps",
    "blocked_ps",
    "critical_ps",
)
ENGINES = tuple(engine.ENGINES)
N_BATCHES, BATCH = 12, 100


def starts_of(result: JobResult, op: int) -> list[list[int]]:
    """Grants by stage, all images in a row."""
    start_ps = result.times[op].start_ps
    return start_ps.reshape(len(start_ps), -1).tolist()


def assert_same_totals(one: JobResult, other: JobResult | Ticking) -> None:
    for name in TOTALS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def assert_same_times(result: JobResult, oracle: Ticking) -> None:
    for times, vectors in zip(result.times, oracle.vectors, strict=True):
        starts = np.array([v.granted for v in vectors]).T
        assert np.array_equal(times.start_ps.reshape(starts.shape), starts)
        assert times.end_ps.ravel().tolist() == [v.finished[-1] for v in vectors]


# engines and oracle


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_engines_and_oracle_agree_on_random_jobs(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        job, n_images = random_job(seed), 1 + seed % 3
        oracle = Ticking(job, n_images)
        for name in ENGINES:
            result = engine.run(job, n_images, name, extrapolate=False)
            assert_same_times(result, oracle)
            assert_same_totals(result, oracle)


def test_engines_agree_on_a_residual_network() -> None:
    job = resnet_like(side=16, blocks=(1, 1))
    fast, readable = (engine.run(job, 3, name, extrapolate=False) for name in ENGINES)
    assert_same_totals(fast, readable)
    for one, other in zip(fast.times, readable.times, strict=True):
        assert np.array_equal(one.start_ps, other.start_ps)


@given(seed=st.integers(10_000, 1_000_000), n_images=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_laws_hold(seed: int, n_images: int) -> None:
    job = random_job(seed)
    result = engine.run(job, n_images, extrapolate=False)
    assert result.critical_ps.sum() == result.makespan_ps
    waits_ps = result.starved_ps + result.blocked_ps
    assert (waits_ps <= result.makespan_ps).all()
    assert (result.queued_ps >= 0).all()
    for op, times in zip(job.operations, result.times, strict=True):
        assert times.start_ps.shape == (len(op.stages), n_images if op.per_image else 1, op.n_vectors)
    for r, resource in enumerate(job.resources):
        if resource.capacity != UNLIMITED:
            assert most_at_once(job, result, r) <= resource.capacity


def most_at_once(job: Job, result: JobResult, resource: int) -> int:
    """Units of a resource held at the same time."""
    changes = []
    for op, times in zip(job.operations, result.times, strict=True):
        for stage, starts in zip(op.stages, times.start_ps, strict=True):
            if stage.resource == resource:
                ends = (starts + stage.hold_ps).ravel().tolist()
                changes += [(t, 1) for t in starts.ravel().tolist()] + [(t, -1) for t in ends]
    return int(np.cumsum([change for _, change in sorted(changes)]).max(initial=0))


@pytest.mark.parametrize("name", ENGINES)
def test_same_job_same_result(name: str) -> None:
    job = random_job(7)
    assert_same_totals(engine.run(job, 3, name), engine.run(job, 3, name))


# tight gates, hand-worked


@pytest.mark.parametrize("name", ENGINES)
class TestGates:
    def test_latency_and_interval_are_independent(self, name: str) -> None:
        result = engine.run(job_of(line((0, 2, 5), (1, 4, 1))), 1, name)
        assert starts_of(result, 0) == [[0, 2, 4], [5, 9, 13]]
        assert result.makespan_ps == 14
        assert result.queued_ps.tolist() == [[0 + 2 + 4, 0 + 2 + 4]]
        # the last vector waited for the second stage's unit, twice, before that for the first vector's first stage
        assert result.critical_ps.tolist() == [[5, 4 + 4 + 1]]

    def test_consumer_starts_when_the_last_needed_vector_completes(self, name: str) -> None:
        edge = Edge(0, np.array([2, 2, 3]), np.array([0, 2, 3]))
        result = engine.run(job_of(line((0, 3, 7)), line((1, 1, 1), edges=(edge,))), 1, name)
        assert starts_of(result, 1) == [[10, 11, 13]]
        assert result.starved_ps.tolist() == [0, 13]
        assert result.critical_ps.tolist() == [[3 + 3 + 7], [1]]

    def test_room_comes_when_the_consumer_leaves_its_first_stage(self, name: str) -> None:
        producer = line((0, 1, 1), capacity=1)
        consumer = line((1, 5, 4), (2, 9, 9), edges=(one_to_one(0, 3),))
        result = engine.run(job_of(producer, consumer), 1, name)
        assert starts_of(result, 0) == [[0, 5, 10]]
        assert starts_of(result, 1) == [[1, 6, 11], [5, 14, 23]]
        assert result.blocked_ps.tolist() == [10, 0]
        assert result.starved_ps.tolist() == [0, 11]

    def test_equal_requests_go_to_the_first_operation_then_vector(self, name: str) -> None:
        result = engine.run(job_of(line((0, 1, 1), n_vectors=2), line((0, 1, 1), n_vectors=2)), 2, name)
        assert starts_of(result, 0) == [[0, 1, 2, 3]]
        assert starts_of(result, 1) == [[4, 5, 6, 7]]

    def test_earlier_requests_go_first_whatever_the_operation(self, name: str) -> None:
        late, early = line((1, 1, 1), (0, 3, 3), n_vectors=1), line((0, 3, 3), n_vectors=2)
        result = engine.run(job_of(late, early), 1, name)
        assert starts_of(result, 1) == [[0, 3]]
        assert starts_of(result, 0) == [[0], [6]]

    def test_zero_latency_makes_a_further_round(self, name: str) -> None:
        # both ask for r0 at time 0, but op0 only in the second round
        result = engine.run(job_of(line((1, 1, 0), (0, 2, 2), n_vectors=1), line((0, 2, 2), n_vectors=2)), 1, name)
        assert starts_of(result, 1) == [[0, 2]]
        assert starts_of(result, 0) == [[0], [4]]

    def test_a_vector_that_overtakes_delivers_nothing_early(self, name: str) -> None:
        overtaken = JobOp("", "", 2, (Stage(0, 1, np.array([9, 1])),))
        edge = Edge(0, np.array([1, 2]), np.array([1, 2]))
        result = engine.run(job_of(overtaken, line((1, 1, 1), n_vectors=2, edges=(edge,))), 1, name)
        assert result.times[0].end_ps.tolist() == [[9, 2]]
        assert starts_of(result, 1) == [[9, 10]]

    def test_a_pool_serves_as_many_as_it_has_units(self, name: str) -> None:
        result = engine.run(job_of(line((0, 4, 4), n_vectors=5), capacities=(2,)), 1, name)
        assert starts_of(result, 0) == [[0, 0, 4, 4, 8]]
        assert result.busy_ps.tolist() == [20]
        assert result.first_image_ps == 12

    def test_once_per_phase_happens_once(self, name: str) -> None:
        result = engine.run(job_of(line((0, 4, 4), per_image=False), line((1, 1, 1))), 5, name)
        assert result.times[0].start_ps.shape == (1, 1, 3)
        assert result.times[1].start_ps.shape == (1, 5, 3)
        assert result.busy_ps.tolist()[:2] == [12, 15]
        assert result.makespan_ps == 15
        assert result.first_image_ps == 3


@pytest.mark.parametrize("capacity", [1, 2, 4])
@pytest.mark.parametrize("name", ENGINES)
def test_tandem_line_with_blocking_equals_the_recurrence(name: str, capacity: int) -> None:
    """A machine takes its next item when the one before has gone and the buffer behind it has room for one more."""
    n, times = 60, np.random.default_rng(capacity).integers(1, 9, size=(4, 60))
    operations = [
        JobOp("", "", n, (Stage(i, t, t),), (one_to_one(i - 1, n),) if i else (), capacity) for i, t in enumerate(times)
    ]
    result = engine.run(job_of(*operations, capacities=(1,) * 4), 1, name)
    ends = np.zeros((4, n), np.int64)
    for v in range(n):
        for i in range(4):
            free = ends[i, v - 1] if v else 0
            arrived = ends[i - 1, v] if i else 0
            room = 0
            if v >= capacity:
                # the consumer's first stage is its only one; the last machine's items go when they are done
                room = ends[i + 1, v - capacity] if i < 3 else ends[i, v - capacity]
            ends[i, v] = max(free, arrived, room) + times[i, v]
    assert np.array_equal(np.array([t.end_ps[0] for t in result.times]), ends)


def test_number_of_tasks_is_exact() -> None:
    job = resnet_like(side=16, blocks=(1, 1))
    expected = sum(op.n_vectors * len(op.stages) for op in job.operations)
    assert simulate(job, 3).layout.n_tasks == 3 * expected
    assert sum(times.start_ps.size for times in engine.run(job, 3, extrapolate=False).times) == 3 * expected


# extrapolation


@pytest.mark.parametrize("batch", range(4))
def test_extrapolation_equals_the_full_run(batch: int) -> None:
    n_extrapolated = 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        job, n_images = random_job(seed), 40 + seed % 97
        short = engine.run(job, n_images)
        assert_same_totals(short, engine.run(job, n_images, extrapolate=False))
        n_extrapolated += short.n_simulated < n_images
    assert n_extrapolated > BATCH // 4  # otherwise this test shows little


@pytest.mark.parametrize("slack", [1.0, 1.3, 4.0])
def test_extrapolation_equals_the_full_run_of_a_residual_network(slack: float) -> None:
    job = resnet_like(side=16, blocks=(2, 1), slack=slack)
    short = engine.run(job, 101)
    assert short.n_simulated < 101
    assert_same_totals(short, engine.run(job, 101, extrapolate=False))


def test_a_phase_without_images_does_not_depend_on_their_number() -> None:
    job = job_of(line((0, 2, 0), per_image=False))
    assert engine.run(job, 100).makespan_ps == engine.run(job, 1).makespan_ps == 4


def test_without_a_period_all_images_are_simulated() -> None:
    result = engine.run(job_of(line((0, 2, 2)), line((1, 3, 3))), 100)  # two rates that nothing ties together
    assert result.n_simulated == 100


def test_groups_of_images_are_runs_one_after_another() -> None:
    job = random_job(5)
    whole, rest = engine.run(job, 3), engine.run(job, 1)
    grouped = engine.run_in_groups(job, 7, in_flight=3)
    assert grouped.n_images == 7
    assert grouped.makespan_ps == 2 * whole.makespan_ps + rest.makespan_ps == grouped.critical_ps.sum()
    for name in ("busy_ps", "queued_ps", "starved_ps", "blocked_ps"):
        assert (getattr(grouped, name) == 2 * getattr(whole, name) + getattr(rest, name)).all()
    assert grouped.first_image_ps == whole.first_image_ps


def test_what_happens_once_per_phase_is_not_run_in_groups() -> None:
    job = job_of(line((0, 1, 1), per_image=False))
    with pytest.raises(ValueError, match="once per phase cannot happen in every group"):
        engine.run_in_groups(job, 2, in_flight=1)
