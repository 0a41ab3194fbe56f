"""What the engines refuse, how small buffers may be, and what a deadlock says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from imcsim.timing import engine
from imcsim.timing.engine.capacity import least_capacities
from imcsim.timing.engine.contract import Edge, JobOp, Stage, check
from imcsim.timing.engine.flat import flatten
from imcsim.timing.kernels.event_loop import run_events
from imcsim.timing.kernels.event_memory import NONE
from imcsim.util.compiling import SOURCES
from imcsim.util.errors import ImcsimError
from tests.support.jobs import job_of, line, one_to_one, random_job, resnet_like, window_edge

ENGINES = tuple(engine.ENGINES)
N_BATCHES, BATCH = 4, 100


# buffers


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_least_capacities_never_deadlock(batch: int) -> None:
    for seed in range(2000 + batch * BATCH, 2000 + (batch + 1) * BATCH):
        job = random_job(seed)
        least = least_capacities(job.operations)
        operations = tuple(replace(op, capacity=c) for op, c in zip(job.operations, least, strict=True))
        result = engine.run(replace(job, operations=operations), 1 + seed % 5, extrapolate=False)
        assert all((times.start_ps >= 0).all() for times in result.times)


def test_least_capacities_of_a_fork() -> None:
    fork = line((0, 1, 1), n_vectors=4)
    window = line((0, 1, 1), n_vectors=4, edges=(Edge(0, np.array([2, 3, 4, 4]), np.array([0, 1, 2, 4])),))
    join = line((0, 1, 1), n_vectors=4, edges=(one_to_one(1, 4), one_to_one(0, 4)))
    assert least_capacities([fork, window, join]) == [3, 1, 1]


@pytest.mark.parametrize("name", ENGINES)
def test_deadlock_says_who_waits_for_what(name: str) -> None:
    producer = line((0, 1, 1), capacity=1)
    consumer = line((1, 1, 1), n_vectors=1, edges=(Edge(0, np.array([3]), np.array([3])),))
    with pytest.raises(ImcsimError) as error:
        engine.run(job_of(producer, consumer), 1, name)
    assert str(error.value) == (
        "job hand: deadlock: op0 holds 1 of 1 vectors and waits for op1 to free some; op1 lacks 2 vectors of op0;"
        " enlarge tile.buffer.capacity_bytes"
    )


# refusals


def test_unknown_engine() -> None:
    with pytest.raises(ImcsimError, match="unknown engine 'fats'; did you mean 'fast'"):
        engine.run(random_job(0), 1, "fats")


BAD_JOBS = {
    "op0 on r0: a limited resource must be held": job_of(line((0, 0, 1))),
    "at least one vector": job_of(line((0, 1, 1), n_vectors=0)),
    "no resource 7": job_of(line((7, 1, 1))),
    "times of shape": job_of(JobOp("", "", 3, (Stage(0, np.ones(2, np.int64), 1),))),
    "lower to higher": job_of(line((0, 1, 1), edges=(one_to_one(0, 3),))),
    "one happens once per phase": job_of(line((0, 1, 1), per_image=False), line((0, 1, 1), edges=(one_to_one(0, 3),))),
    "must have shape": job_of(line((0, 1, 1)), line((0, 1, 1), edges=(one_to_one(0, 2),))),
    "must not decrease": job_of(line((0, 1, 1)), line((0, 1, 1), edges=(Edge(0, *2 * [np.array([2, 1, 3])]),))),
    "frees <= needs <= 3": job_of(line((0, 1, 1)), line((0, 1, 1), edges=(Edge(0, *2 * [np.array([1, 2, 4])]),))),
}


@pytest.mark.parametrize("message", BAD_JOBS)
def test_bad_jobs_are_refused(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(BAD_JOBS[message])


def test_importing_the_engines_is_light() -> None:
    code = "import sys, imcsim.timing.engine; sys.exit(any(m in sys.modules for m in ('numba', 'simpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_window_edges_are_valid() -> None:
    for side_in, side_out, kernel in ((8, 8, 3), (8, 4, 3), (8, 4, 1), (8, 8, 1)):
        edge = window_edge(0, side_in, side_out, kernel)
        assert edge.needs[-1] <= side_in**2
        assert (edge.frees <= edge.needs).all()
    assert np.array_equal(window_edge(0, 2, 1, 3).needs, [4])


def test_the_least_capacity_before_a_window_binds() -> None:
    """With one vector less, the rows that a 3 x 3 window spans do not fit, and nothing moves."""
    job = resnet_like(side=16, blocks=(1,))
    least = least_capacities(job.operations)
    ops = tuple(replace(op, capacity=c) for op, c in zip(job.operations, least, strict=True))
    engine.run(replace(job, operations=ops), 2)
    producer = next(op.edges[0].producer for op in ops if op.name == "0.0b")
    short = (*ops[:producer], replace(ops[producer], capacity=least[producer] - 1), *ops[producer + 1 :])
    with pytest.raises(ImcsimError, match=r"deadlock: .*0\.0a holds"):
        engine.run(replace(job, operations=short), 2)


def test_compiled_code_is_kept_only_for_the_same_sources() -> None:
    """Else old code would run on new rows, and write anywhere."""
    cache_file = run_events._cache._cache_file
    other = type(cache_file)(cache_file._cache_path, "unused", "stamp of other sources")
    other._index_path = cache_file._index_path
    run_events(flatten(job_of(line((0, 1, 1))), 1), np.full(3, NONE), np.full(3, NONE, np.int32))
    assert cache_file._source_stamp == SOURCES
    assert cache_file._load_index()
    assert not other._load_index()


class Gone(NamedTuple):
    """A type of an argument that a later version no longer has."""


def test_compiled_code_for_a_type_that_is_gone_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba unpickles what it kept before it compares stamps."""
    cache_file = run_events._cache._cache_file
    monkeypatch.setattr(cache_file, "_index_path", str(tmp_path / "index.nbi"))
    cache_file._save_index({(Gone,): "data"})
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    assert cache_file._load_index() == {}
