"""Does the trace file keep the rules of its format, and does it show what happened?"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imcsim
from imcsim.mapping.plan import Plan
from imcsim.reporting.perfetto.chrome_trace import write_trace
from imcsim.reporting.perfetto.tracks import Canvas, Slices, units_of
from imcsim.timing import engine
from imcsim.timing.engine.contract import Job
from imcsim.timing.execution import Execution
from tests.support import hand_made
from tests.support.jobs import resnet_like


def load(trace: Execution, costs: Any, path: Path, cap: int = 200_000) -> dict[str, Any]:
    write_trace(trace, costs, path / "trace.json.gz", cap)
    return json.loads(gzip.decompress((path / "trace.json.gz").read_bytes()))


def residual(n_images: int) -> Execution:
    """Return a run of a residual network in which every operation converts."""
    job = resnet_like(16, (2, 1))
    ops = tuple(replace(op, actions={("adc", "convert"): 7.0}) for op in job.operations)
    return traced(replace(job, operations=ops), n_images)


def traced(job: Job, n_images: int) -> Execution:
    result = engine.run(job, n_images)
    return Execution(hand_made.WORKLOAD, hand_made.HARDWARE, Plan("hand", (), 0, 0), n_images, (job,), (result,), ())


def check_format(document: dict[str, Any]) -> None:
    """Check what Perfetto and chrome://tracing ask of a file."""
    events = document["traceEvents"]
    assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    for event in events:
        assert {"ph", "pid", "tid", "ts", "name"} <= event.keys()
        assert all(type(event[key]) is int for key in ("pid", "tid", "id") if key in event)
        assert type(event["ts"]) in (int, float)
        assert event["ts"] >= 0
    check_slices(events)
    check_flows(events)
    counters = [value for event in events if event["ph"] == "C" for value in event["args"].values()]
    assert min(counters) >= 0


def ns(time_us: float) -> int:
    return round(time_us * 1000)


def tracks_of(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    return tracks


def check_slices(events: list[dict[str, Any]]) -> None:
    """Check that on every track one slice ends before the next begins, and that every track has a name."""
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for place, slices in tracks_of(events).items():
        assert place in named
        for one, following in pairwise(slices):
            assert ns(one["ts"]) + ns(one["dur"]) <= ns(following["ts"])


def check_flows(events: list[dict[str, Any]]) -> None:
    """Check that every arrow begins and ends once, in this order, inside slices."""
    tracks = tracks_of(events)
    ends: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] in "sf":
            ends[event["id"]].append(event)
            inside = tracks[event["pid"], event["tid"]]
            assert any(ns(s["ts"]) <= ns(event["ts"]) <= ns(s["ts"]) + ns(s["dur"]) for s in inside)
    for pair in ends.values():
        assert [event["ph"] for event in pair] == ["s", "f"]
        assert pair[1]["bp"] == "e"


def energy_pj(document: dict[str, Any]) -> float:
    """Return the area below the power counter: W = pJ/ps."""
    samples = [(event["ts"], event["args"]["W"]) for event in document["traceEvents"] if event["name"] == "power"]
    assert samples[-1][1] == 0
    times, power = np.array(samples).T
    return float((power[:-1] * np.diff(times) * 1e6).sum())


# -- by hand -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    return load(hand_made.trace(), hand_made.costs(), tmp_path)


def test_slices_are_where_the_vectors_were(document: dict[str, Any]) -> None:
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    drawn = [
        (names[e["pid"], e["tid"]], e["name"], ns(e["ts"]), ns(e["dur"]), e["args"]["vectors"])
        for e in document["traceEvents"] if e["ph"] == "X"
    ]  # fmt: skip
    assert sorted(drawn) == sorted(
        [
            ("phase", "write a", 0, 100, 1),
            ("phase", "a", 100, 180, 1),
            ("write #0", "write a", 0, 100, 1),
            ("write #1", "write a", 0, 100, 1),
            ("bus[0]", "a", 100, 40, 4),
            ("crossbars[a]", "a", 110, 160, 4),
            (
                "a",
                "several",
                100,
                130,
                6,
            ),  # three waited for the bus until 130, three for the crossbars from 120 to 230
        ]
    )


def test_processes_are_tiles_and_kinds(document: dict[str, Any]) -> None:
    names = [e["args"]["name"] for e in document["traceEvents"] if e["name"] == "process_name"]
    assert sorted(names) == ["counters", "phases", "tile 0", "waiting for a resource", "write"]


def test_counters(document: dict[str, Any]) -> None:
    writing = [(ns(e["ts"]), e["args"]) for e in document["traceEvents"] if e["name"] == "crossbars being written"]
    assert writing == [(0, {"crossbars": 2.0}), (100, {"crossbars": 0.0})]
    power = [(ns(e["ts"]), e["args"]["W"]) for e in document["traceEvents"] if e["name"] == "power"]
    assert power[0] == (0, pytest.approx(64 * 3 / 100_000))  # 192 pJ in 100 ns
    assert max(value for _, value in power) == pytest.approx(200 * 2 / 160_000)  # 400 pJ in the 160 ns on crossbars
    assert energy_pj(document) == pytest.approx(192 + 400)


def test_format_and_metadata(document: dict[str, Any]) -> None:
    check_format(document)
    assert document["otherData"]["images_drawn"] == 2
    assert document["otherData"]["notes"] == ["the writes that happen once, before time 0, are not drawn"]


# -- a residual network ------------------------------------------------------------------------------------------------


def test_a_network_keeps_the_format_and_its_energy(tmp_path: Path) -> None:
    trace = residual(3)
    document = load(trace, hand_made.costs(), tmp_path)
    check_format(document)
    assert energy_pj(document) == pytest.approx(3 * 7 * 2 * len(trace.jobs[0].operations))
    flows = sum(event["ph"] == "s" for event in document["traceEvents"])
    assert flows == sum(len(op.edges) for op in trace.jobs[0].operations)


def test_busy_time_on_the_tracks_is_that_of_the_engine(tmp_path: Path) -> None:
    trace = residual(2)
    document = load(trace, hand_made.costs(), tmp_path)
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    busy = defaultdict(int)
    for place, slices in tracks_of(document["traceEvents"]).items():
        busy[names[place].split(" #")[0]] += sum(ns(event["dur"]) for event in slices)
    for resource, busy_ps in zip(trace.jobs[0].resources, trace.results[0].busy_ps, strict=True):
        assert busy[resource.name] * 1000 == busy_ps


@pytest.mark.parametrize("cap", [3000, 1000, 600])
def test_a_cap_is_kept_by_lowering_detail_and_says_so(tmp_path: Path, cap: int) -> None:
    trace = residual(4)
    document = load(trace, hand_made.costs(), tmp_path, cap)
    check_format(document)
    assert len(document["traceEvents"]) <= cap
    assert any("one slice" in note for note in document["otherData"]["notes"])
    last_ns = max(ns(e["ts"]) + ns(e["dur"]) for e in document["traceEvents"] if e["ph"] == "X")
    assert last_ns == -(-trace.makespan_ps // 1000)


def test_a_cap_without_room_for_the_tracks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        load(residual(1), hand_made.costs(), tmp_path, cap=20)
    assert list(tmp_path.iterdir()) == []


def test_images_that_were_not_simulated_are_named(tmp_path: Path) -> None:
    trace = hand_made.trace()
    first, last = trace.results
    results = (first, replace(last, n_images=9, makespan_ps=900_000))
    document = load(replace(trace, results=results, batch=9), hand_made.costs(), tmp_path)
    check_format(document)
    assert document["otherData"]["notes"][0] == "2 of 9 images were simulated and are drawn; the rest repeat them"
    rest = [e for e in document["traceEvents"] if e["name"] == "7 more images, not drawn"]
    assert [(ns(e["ts"]), ns(e["dur"])) for e in rest] == [(280, 720)]


def test_a_run_of_resnet50_shows_tiles_writes_and_waiting(tmp_path: Path) -> None:
    report = imcsim.run("resnet50", "rram-256", "reprogram", write="ember2b_word")
    document = load(report.execution, report.costs, tmp_path)
    check_format(document)
    names = {e["args"]["name"].split()[0] for e in document["traceEvents"] if e["name"] == "process_name"}
    assert {"tile", "write", "waiting", "dram", "link"} <= names
    assert len(document["traceEvents"]) <= 200_000
    leakage = report.summary["energy_by_component_pj"]["leakage"]
    assert energy_pj(document) == pytest.approx(report.summary["energy_pj"] - leakage, rel=1e-6)


# -- pieces ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=60), st.integers(1, 5))
def test_units_never_overlap_and_all_are_used(requests: list[tuple[int, int]], capacity: int) -> None:
    free = [0] * capacity
    start, end = [], []
    for request, hold in sorted(requests):  # first come, first served
        unit = min(range(capacity), key=free.__getitem__)
        start.append(max(request, free[unit]))
        free[unit] = start[-1] + hold
        end.append(free[unit])
    unit = units_of(np.array(start), np.array(end), capacity)
    assert set(unit) == set(range(min(capacity, len(start))))
    for number in range(capacity):
        mine = np.flatnonzero(unit == number)
        assert all(end[a] <= start[b] for a, b in pairwise(mine))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 50), st.integers(1, 9)), max_size=40),
       st.integers(0, 20), st.booleans())  # fmt: skip
def test_merging_keeps_vectors_and_leaves_no_overlap(rows: list[tuple[int, ...]], gap_ps: int, mixed: bool) -> None:
    track, name, start, hold = np.array(rows, np.int64).reshape(-1, 4).T
    merged = Slices.of(track, name, start, start + hold).merged(gap_ps, mixed)
    assert merged.count.sum() == len(rows)
    assert merged.held_ps.sum() == hold.sum()
    together = merged.track[1:] == merged.track[:-1]
    distance = (merged.start_ps[1:] - merged.end_ps[:-1])[together]
    assert (distance >= 0).all()
    if mixed:
        assert (distance > gap_ps).all()


def test_a_canvas_merges_until_its_budget_holds() -> None:
    canvas = Canvas(budget=5)
    start = np.arange(0, 10_000, 100, dtype=np.int64)
    canvas.add(Slices.of(canvas.track("a", "b"), canvas.name("x"), start, start + 1))
    drawn = canvas.finish()
    assert len(drawn) == 1
    assert drawn.count.tolist() == [100]
    assert canvas.detail.endswith("vectors of one operation that lie at most 99 ps apart become one slice")


def test_only_crowded_tracks_lose_detail() -> None:
    canvas = Canvas(budget=20)
    sparse, dense = (np.arange(0, 10_000, step, dtype=np.int64) for step in (1000, 20))
    canvas.add(Slices.of(canvas.track("a", "sparse"), canvas.name("x"), sparse, sparse + 1))
    canvas.add(Slices.of(canvas.track("a", "dense"), canvas.name("x"), dense, dense + 1))
    assert np.bincount(canvas.finish().track).tolist() == [10, 1]
