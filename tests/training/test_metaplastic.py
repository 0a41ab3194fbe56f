"""Are the rules what they say, the gradients right, writes counted one by one, and does consolidation keep a task?"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.hardware.devices import load_device
from imcsim.training.metaplastic import (
    RULES,
    Images,
    LearningTask,
    Options,
    RuleSpec,
    learn,
    load_rule,
    permuted,
    split,
)
from imcsim.training.metaplastic.adam import Adam
from imcsim.training.metaplastic.cells import LevelCells
from imcsim.training.metaplastic.network import Norm, gradients
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from tests.support.plugins import classes, drop

datasets = pytest.importorskip("sklearn.datasets")

PAGE = (Path(__file__).parents[2] / "docs" / "neighbours.md").read_text(encoding="utf-8")
PYTHON_OF_THE_PAGE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
OPTIONS = Options(hidden=(64,), epochs=8, batch=50, test_batch=500)
HIDDEN = st.floats(-3, 3, width=32)
STRENGTHS = st.floats(0, 8)


def any_rule(kind: str, m: float) -> RuleSpec:
    """Build a rule with the examples of its other fields."""
    fields = {
        name: info.examples[0]
        for name, info in classes(RULES)[kind].model_fields.items()
        if info.is_required() and info.examples
    }
    return load_rule(kind, m=m, **fields)


@pytest.fixture(scope="module")
def digits() -> LearningTask:
    """Return 8x8 digits: 1,297 to learn from, 500 to be judged by."""
    loaded = datasets.load_digits()
    x, labels = (loaded.data / 16).astype(np.float32), loaded.target.astype(np.int64)
    return LearningTask("digits", Images(x[:1297], labels[:1297]), Images(x[1297:], labels[1297:]))


# -- rules -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(HIDDEN, st.floats(-1, 1, width=32)), min_size=1, max_size=20), STRENGTHS)
def test_the_binarised_rule_is_the_published_one(pairs: list[tuple[float, float]], m: float) -> None:
    """As stated in the public code: where sign(h) and Adam's first moment agree, 1 - tanh^2(m |h|), else 1."""
    rule = load_rule("binarised", m=m)
    for h, step in pairs:
        moment = -step  # the step goes against it
        expected = 1 - np.tanh(np.float32(m) * abs(np.float32(h))) ** 2 if np.sign(h) * moment > 0 else 1.0
        factor = rule.factor(np.array([h], np.float32), np.array([step], np.float32))
        assert factor == pytest.approx(expected, abs=1e-6)
        assert factor.dtype == np.float32


@given(st.lists(HIDDEN, min_size=1, max_size=20), st.integers(0, 1 << 30), STRENGTHS)
def test_two_levels_are_the_binarised_rule(values: list[float], seed: int, m: float) -> None:
    hidden = np.array(values, np.float32)
    step = np.random.default_rng(seed).normal(size=hidden.shape).astype(np.float32)
    binarised, two = load_rule("binarised", m=m), load_rule("multi_level", m=m, n_levels=2)
    assert np.array_equal(binarised.factor(hidden, step), two.factor(hidden, step))
    assert np.array_equal(binarised.level_of(hidden), two.level_of(hidden))
    turned = np.abs(hidden) > 1e-6  # nearer to 0, 1 is added without effect
    assert np.array_equal(binarised.weight_of(binarised.level_of(hidden))[turned], np.sign(hidden)[turned])


@given(HIDDEN, st.integers(2, 20), STRENGTHS)
def test_only_steps_to_the_nearest_threshold_are_resisted(h: float, n_levels: int, m: float) -> None:
    rule = load_rule("multi_level", m=m, n_levels=n_levels)
    thresholds = np.array([(a + b) / 2 for a, b in pairwise(levels(rule))])
    gaps = np.sort(np.abs(h - thresholds))
    if gaps[0] < 1e-5 or (len(gaps) > 1 and gaps[1] - gaps[0] < 1e-5):
        return  # on a threshold, or midway between two
    nearest = thresholds[np.abs(h - thresholds).argmin()]
    toward = np.float32(np.sign(nearest - h))
    hidden = np.array([h], np.float32)
    resisted = 1 - np.tanh(m * abs(h - nearest) / (rule.spacing / 2)) ** 2
    assert rule.factor(hidden, np.array([toward])) == pytest.approx(resisted, abs=1e-4)
    assert rule.factor(hidden, np.array([-toward])) == 1


def levels(rule: RuleSpec) -> list[float]:
    """Return all weights that the rule knows, in order."""
    return [float(value) for value in rule.weight_of(np.arange(rule.n_levels, dtype=np.int16))]


@pytest.mark.parametrize("kind", sorted(classes(RULES)))
@given(h=HIDDEN, step=st.floats(-1, 1, width=32), ms=st.lists(STRENGTHS, min_size=2, max_size=2))
def test_any_rule_holds_more_the_stronger_it_is(kind: str, h: float, step: float, ms: list[float]) -> None:
    hidden, steps = np.array([h], np.float32), np.array([step], np.float32)
    weak, strong = (float(any_rule(kind, m).factor(hidden, steps)[0]) for m in sorted(ms))
    assert 0 <= strong <= weak <= 1
    assert any_rule(kind, 0.0).factor(hidden, steps) == 1


@pytest.mark.parametrize("kind", sorted(classes(RULES)))
@given(h=HIDDEN)
def test_any_rule_takes_the_nearest_level(kind: str, h: float) -> None:
    rule = any_rule(kind, 1.0)
    level_taken = float(rule.weight_of(rule.level_of(np.array([h], np.float32)))[0])
    assert abs(level_taken - h) <= min(abs(level - h) for level in levels(rule)) + 1e-6
    assert (levels(rule)[0], levels(rule)[-1]) == (-1, 1)


def test_a_rule_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the page, beside those that are there."""
    (code,) = [block for block in PYTHON_OF_THE_PAGE if "RuleSpec)" in block]
    before = set(RULES.origins)
    drop(code, "ternary_exponential.py", RULES, tmp_path, monkeypatch)
    assert set(RULES.origins) == {*before, "ternary_exponential"}
    rule = load_rule("ternary_exponential", m=2.0)
    hidden, step = np.float32([0.5, 0.5, -0.2]), np.float32([-1, 1, -1])
    assert rule.factor(hidden, step) == pytest.approx([np.exp(-1), 1, 1])
    assert levels(rule) == [-1, 0, 1]


# -- network and Adam, against PyTorch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(9,), (9, 7)])
def test_gradients_are_those_of_pytorch(hidden: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")

    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sign()

        @staticmethod
        def backward(ctx, dy):
            return dy * (ctx.saved_tensors[0].abs() <= 1)

    rng = np.random.default_rng(3)
    sizes = [6, *hidden, 4]
    weights = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in pairwise(sizes)]
    norms = [Norm(rng.random(n, np.float32), rng.normal(size=n).astype(np.float32)) for n in sizes[1:]]
    x, labels = rng.random((20, 6), np.float32), rng.integers(0, 4, 20)
    tensors = [torch.tensor(w, requires_grad=True) for w in weights]
    affine = [[torch.tensor(value, requires_grad=True) for value in (norm.gain, norm.offset)] for norm in norms]
    y = torch.tensor(x)
    for i, weight in enumerate(tensors):
        y = torch.nn.functional.batch_norm(y @ weight, None, None, *affine[i], training=True)
        y = Sign.apply(y) if i < len(tensors) - 1 else y
    expected = torch.nn.functional.cross_entropy(y, torch.tensor(labels))
    expected.backward()
    loss, of_weights, of_norms = gradients(x, labels, weights, norms)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for i in range(len(weights)):
        assert np.allclose(of_weights[i], tensors[i].grad, atol=1e-6)
        assert np.allclose(of_norms[i].gain, affine[i][0].grad, atol=1e-6)
        assert np.allclose(of_norms[i].offset, affine[i][1].grad, atol=1e-6)


def test_steps_are_those_of_adam() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 3)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.tensor(values))
    reference, adam = torch.optim.Adam([parameter], lr=0.005), Adam.of(values)
    for _ in range(20):
        gradient = rng.normal(size=values.shape).astype(np.float32)
        parameter.grad = torch.tensor(gradient)
        reference.step()
        values += adam.step(gradient, 0.005)
    assert np.allclose(values, parameter.detach(), atol=1e-6)


# -- cells -------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 30), st.integers(2, 9), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_a_cell_is_written_when_its_level_changes_only(seed: int, n_levels: int, steps: int) -> None:
    rule, device = load_rule("multi_level", m=1.0, n_levels=n_levels), load_device("rram_milo2021")
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, 0.2, (steps + 1, 40)), axis=0).astype(np.float32)
    exact = LevelCells(path[0], rule, None, random_streams.rng(seed, "a"))
    noisy = LevelCells(path[0], rule, device, random_streams.rng(seed, "a"))
    for hidden in path[1:]:
        before, level = noisy.weights.copy(), rule.level_of(hidden)
        unchanged = level == noisy._levels
        exact.follow(hidden)
        noisy.follow(hidden)
        assert np.array_equal(noisy.weights[unchanged], before[unchanged])  # the error of its last write stays
        assert (noisy.weights[~unchanged] != before[~unchanged]).all()
    changes = (np.diff([rule.level_of(hidden) for hidden in path], axis=0) != 0).sum(axis=0)
    assert np.array_equal(exact.writes, changes)
    assert np.array_equal(noisy.writes, changes)
    assert np.array_equal(exact.weights, rule.weight_of(rule.level_of(path[-1])))


def test_errors_of_writes_are_those_of_the_device() -> None:
    device, rule = load_device("rram_milo2021"), load_rule("binarised", m=1.0)
    hidden = np.tile(np.float32([-0.5, 0.5]), (20_000, 1))
    weights = LevelCells(hidden, rule, device, random_streams.rng(1, "cells")).weights
    sigma = device.program_sigma_usiemens(np.array([50.0, 225.0])) * 2 / (225 - 50)
    assert weights.mean(axis=0) == pytest.approx([-1, 1], abs=4 * sigma.max() / np.sqrt(20_000))
    assert weights.std(axis=0) == pytest.approx(sigma, rel=0.03)


def test_stuck_cells_stay_stuck() -> None:
    device = load_device("ideal", g_min_usiemens=0.0, g_max_usiemens=10.0, stuck_on_frac=0.3)
    cells = LevelCells(
        -np.ones((50, 50), np.float32), load_rule("binarised", m=0.0), device, random_streams.rng(2, "x")
    )
    stuck = cells.weights == 1
    assert 0.2 < stuck.mean() < 0.4
    cells.follow(np.ones((50, 50), np.float32))
    cells.follow(-np.ones((50, 50), np.float32))
    assert np.array_equal(cells.weights == 1, stuck)


# -- training ----------------------------------------------------------------------------------------------------------


def test_consolidation_keeps_the_first_task(digits: LearningTask) -> None:
    """Two pixel orders are learnt with three seeds; without consolidation much of the first is lost."""
    tasks = permuted(digits, 2, seed=5)
    for free, firm in (
        (load_rule("binarised", m=0.0), load_rule("binarised", m=6.0)),
        (load_rule("multi_level", m=0.0, n_levels=4), load_rule("multi_level", m=3.0, n_levels=4)),
    ):
        forgets, keeps = (
            np.mean([learn(tasks, rule, replace(OPTIONS, seed=seed)).accuracy_frac for seed in range(3)], axis=0)
            for rule in (free, firm)
        )
        assert forgets[0, 0] > 0.85
        assert keeps[0, 0] > 0.8
        assert keeps[1, 0] - forgets[1, 0] > 0.1
        assert keeps[1, 1] > 0.7


def test_a_run_is_its_seed(digits: LearningTask) -> None:
    tasks, rule, device = split(digits, 5), load_rule("multi_level", m=2.0, n_levels=4), load_device("rram_milo2021")
    options = replace(OPTIONS, epochs=2)
    one, two, other = (learn(tasks, rule, replace(options, seed=seed), device) for seed in (1, 1, 2))
    assert np.array_equal(one.accuracy_frac, two.accuracy_frac, equal_nan=True)
    assert all(np.array_equal(a, b) for a, b in zip(one.writes, two.writes, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.writes, other.writes, strict=True))
    assert np.isnan(one.accuracy_frac[0, 1])
    n_batches = sum(len(task.train.labels) // options.batch for task in tasks)
    assert one.updates == 2 * n_batches
    assert [layer.shape for layer in one.writes] == [(64, 64), (64, 5)]
    assert 0 < one.writes_per_cell["mean"] <= one.writes_per_cell["p99_9"] <= one.writes_per_cell["max"] <= one.updates


def test_strong_consolidation_writes_less(digits: LearningTask) -> None:
    free, firm = (learn([digits], load_rule("binarised", m=m), OPTIONS).writes_per_cell for m in (0.0, 50.0))
    assert firm["mean"] < 0.7 * free["mean"]


def test_tasks_are_parts_and_orders_of_the_images(digits: LearningTask) -> None:
    parts = split(digits, 2)
    assert [task.name for task in parts] == [f"digits {i}-{i + 1}" for i in range(0, 10, 2)]
    assert sum(len(task.train.labels) for task in parts) == len(digits.train.labels)
    assert all(set(task.test.labels) == {0, 1} for task in parts)
    same, other = permuted(digits, 2, seed=1)
    assert np.array_equal(same.train.x, digits.train.x)
    assert not np.array_equal(other.train.x, digits.train.x)
    assert np.array_equal(np.sort(other.test.x, axis=1), np.sort(digits.test.x, axis=1))
    pixel = digits.train.x[:, 20]
    place = next(i for i in range(64) if np.array_equal(other.train.x[:, i], pixel))
    assert np.array_equal(other.test.x[:, place], digits.test.x[:, 20])  # one order for all images of a task


def test_what_cannot_be_is_refused(digits: LearningTask) -> None:
    binarised = load_rule("binarised", m=1.0)
    for act, problem in (
        (lambda: load_rule("binarized", m=1.0), "did you mean 'binarised'"),
        (lambda: load_rule("binarised", m=-1.0), "m"),
        (lambda: load_rule("multi_level", m=1.0, n_levels=1), "n_levels"),
        (lambda: Options(rate=0.0), "rate"),
        (lambda: Options(hidden=()), "no layers"),
        (lambda: learn([], binarised), "one or more"),
        (lambda: learn([digits, split(digits, 5)[0]], binarised), "all alike"),
        (lambda: split(digits, 3), "no whole number"),
        (lambda: LearningTask("short", Images(digits.train.x, digits.train.labels[1:]), digits.test), "do not fit"),
        (
            lambda: LearningTask("dark", digits.train, Images(np.full((1, 64), np.nan, np.float32), np.array([0]))),
            "no number",
        ),
    ):
        with pytest.raises(ImcsimError, match=problem):
            act()
