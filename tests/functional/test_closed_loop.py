"""Is the closed loop what Kirchhoff's laws say, a ridge regression, in the limit a pseudoinverse, and stable or not?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import splu

from imcsim.functional.closed_loop import Amplifiers, Loop, random_features, regress, written_usiemens
from imcsim.hardware.devices import DEVICES, load_device
from imcsim.util.errors import ImcsimError
from tests.support.plugins import classes

datasets = pytest.importorskip("sklearn.datasets")


# -- the oracle: a netlist and modified nodal analysis, which know nothing of the loop ---------------------------------


@dataclass
class Netlist:
    """Resistors, current sources and voltage-controlled voltage sources between named nodes; "0" is ground."""

    resistors: list[tuple[str, str, float]] = field(default_factory=list)  # node, node, uS
    currents: list[tuple[str, float]] = field(default_factory=list)  # node, uA into it
    sources: list[tuple[str, str, float]] = field(default_factory=list)  # output, control, V per V

    def solve(self) -> dict[str, float]:
        """V at each node: currents into every node add up to 0, and every source keeps its ratio."""
        names = sorted({n for a, b, _ in self.resistors for n in (a, b)} - {"0"})
        at = {name: i for i, name in enumerate(names)}
        size = len(names) + len(self.sources)
        entries, right = [], np.zeros(size)
        for a, b, g in self.resistors:
            for own, other in ((a, b), (b, a)):
                if own != "0":
                    entries.append((at[own], at[own], g))
                    if other != "0":
                        entries.append((at[own], at[other], -g))
        for name, current in self.currents:
            right[at[name]] += current
        for k, (output, control, ratio) in enumerate(self.sources, len(names)):
            entries += [(at[output], k, 1.0), (k, at[output], 1.0), (k, at[control], -ratio)]
        rows, columns, values = zip(*entries, strict=True)
        found = splu(sparse.coo_array((values, (rows, columns)), (size, size)).tocsc()).solve(right)
        return {name: float(found[i]) for name, i in at.items()}


def resistors(loop: Loop) -> list[tuple[str, str, float]]:
    """The two arrays and the feedback of the first stage."""
    rows, columns = loop.first_usiemens.shape
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    return [
        *((f"w{j}", f"r{i}", loop.first_usiemens[i, j]) for i, j in cells),
        *((f"v{i}", f"c{j}", loop.second_usiemens[i, j]) for i, j in cells),
        *((f"r{i}", f"v{i}", loop.feedback_usiemens) for i in range(rows)),
    ]


def nodal_v(loop: Loop, current_ua: np.ndarray) -> np.ndarray:
    """(columns,) V of w by the netlist."""
    rows, columns = loop.first_usiemens.shape
    gain = loop.amplifiers.gain
    sources = [(f"v{i}", f"r{i}", -gain) for i in range(rows)] + [(f"w{j}", f"c{j}", gain) for j in range(columns)]
    solved = Netlist(resistors(loop), [(f"r{i}", float(i_ua)) for i, i_ua in enumerate(current_ua)], sources).solve()
    return np.array([solved[f"w{j}"] for j in range(columns)])


def nodal_rates_per_s(loop: Loop) -> np.ndarray:
    """Rates of decay when all amplifiers have a pole: the netlist says what inputs see of each output at 1 V."""
    rows, columns = loop.first_usiemens.shape
    outputs = [f"v{i}" for i in range(rows)] + [f"w{j}" for j in range(columns)]
    inputs = [(f"r{i}", -1) for i in range(rows)] + [(f"c{j}", 1) for j in range(columns)]
    change = np.empty((len(outputs), len(outputs)))
    for k in range(len(outputs)):
        stiff = 1e15  # a voltage source as a current into a large conductance
        held = [(name, "0", stiff) for name in outputs]
        solved = Netlist(resistors(loop) + held, [(outputs[k], stiff)]).solve()
        change[:, k] = [sign * solved[name] for name, sign in inputs]
    change -= np.eye(len(outputs)) / loop.amplifiers.gain
    return np.linalg.eigvals(-change * 2 * math.pi * loop.amplifiers.gbw_hz)


# -- random loops ------------------------------------------------------------------------------------------------------


def arrays(seed: int, rows: int, columns: int, sigma: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two arrays, a relative error apart, and currents."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(1, 100, (rows, columns))
    first, second = (target * np.exp(sigma * rng.standard_normal(target.shape)) for _ in range(2))
    return first, second, rng.normal(0, 50, rows)


SIZES = {"seed": st.integers(0, 1 << 30), "columns": st.integers(1, 5), "extra": st.integers(0, 8)}
GAINS = st.floats(0.5, 6).map(lambda exponent: 10**exponent)


@given(**SIZES, gain=GAINS, feedback=st.floats(1, 1000))
@settings(max_examples=40, deadline=None)
def test_the_solution_is_that_of_all_nodes(seed: int, columns: int, extra: int, gain: float, feedback: float) -> None:
    first, second, current = arrays(seed, columns + extra, columns, 0.02)
    loop = Loop(first, second, feedback, Amplifiers(gain))
    if not loop.is_stable:
        with pytest.raises(ImcsimError, match="unstable"):
            loop.settled_v(current)
        return
    assume(np.linalg.cond(second.T @ first) < 1e4)  # beyond it both solutions lose digits
    expected = nodal_v(loop, current)
    assert np.abs(loop.settled_v(current) - expected).max() <= 1e-9 * np.abs(expected).max()


@given(**SIZES)
@settings(max_examples=25, deadline=None)
def test_the_rates_are_those_of_all_nodes(seed: int, columns: int, extra: int) -> None:
    first, second, _ = arrays(seed, columns + extra, columns, 0.2)
    loop = Loop(first, second, 30.0, Amplifiers(1e4, 1e7, first_stage_pole=True))
    expected = np.sort_complex(nodal_rates_per_s(loop))
    found = np.sort_complex(loop.rates_per_s)
    assert np.abs(np.sort(found.real) - np.sort(expected.real)).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(np.sort(np.abs(found)) - np.sort(np.abs(expected))).max() < 1e-5 * np.abs(expected).max()


@given(**SIZES)
@settings(max_examples=30, deadline=None)
def test_an_ideal_loop_gives_the_pseudoinverse(seed: int, columns: int, extra: int) -> None:
    g, _, current = arrays(seed, columns + extra, columns)
    w = Loop(g, g, 10.0, Amplifiers(1e13)).settled_v(current)
    error = np.abs(w + np.linalg.pinv(g) @ current).max() / np.abs(w).max()
    assert error < 1e-9 * np.linalg.cond(g) ** 2


@given(**SIZES, gain=GAINS)
@settings(max_examples=40, deadline=None)
def test_a_finite_gain_is_a_ridge_penalty(seed: int, columns: int, extra: int, gain: float) -> None:
    g, _, current = arrays(seed, columns + extra, columns)
    feedback = 20.0
    load = feedback + (g.sum(axis=1) + feedback) / gain
    weighted = np.vstack([g / np.sqrt(load)[:, None], np.diag(np.sqrt(g.sum(axis=0) / gain))])
    wanted = np.concatenate([-current / np.sqrt(load), np.zeros(columns)])
    expected = np.linalg.lstsq(weighted, wanted, rcond=None)[0]
    found = Loop(g, g, feedback, Amplifiers(gain)).settled_v(current)
    assert np.abs(found - expected).max() <= 1e-12 * np.linalg.cond(weighted) ** 2 * np.abs(expected).max()


@given(**SIZES, gains=st.lists(GAINS, min_size=2, max_size=2, unique=True))
@settings(max_examples=40, deadline=None)
def test_less_gain_shrinks_more(seed: int, columns: int, extra: int, gains: list[float]) -> None:
    """Of data without a residual: w0' C (w0 - w), with C the column sums, grows as the gain falls."""
    g, _, _ = arrays(seed, columns + extra, columns)
    w0 = np.random.default_rng(seed + 1).standard_normal(columns)
    lost = [
        w0 @ (g.sum(axis=0) * (w0 - Loop(g, g, 10.0, Amplifiers(gain)).settled_v(-(g @ w0))))
        for gain in sorted(gains, reverse=True)
    ]
    scale = w0 @ (g.sum(axis=0) * w0)
    assert -1e-9 * scale <= lost[0] <= lost[1] + 1e-9 * scale
    assert lost[1] <= scale * (1 + 1e-12)


@given(**SIZES, gain=GAINS, feedback=st.floats(0.1, 1e4), pole=st.booleans())
@settings(max_examples=50, deadline=None)
def test_equal_arrays_are_never_unstable(
    seed: int, columns: int, extra: int, gain: float, feedback: float, pole: bool
) -> None:
    g, _, _ = arrays(seed, columns + extra, columns)
    loop = Loop(g, g, feedback, Amplifiers(gain, first_stage_pole=pole))
    assert loop.is_stable
    if not pole:
        assert np.abs(loop.rates_per_s.imag).max() <= 1e-6 * np.abs(loop.rates_per_s).max()


def test_a_fast_first_stage_leaves_the_slow_modes() -> None:
    """Much feedback makes the first stage slow to follow w only in its own, faster modes."""
    g, _, _ = arrays(3, 40, 4)
    slow = Loop(g, g, 1e5, Amplifiers(1e6))
    both = Loop(g, g, 1e5, Amplifiers(1e6, first_stage_pole=True))
    assert both.time_constant_s == pytest.approx(slow.time_constant_s, rel=0.05)


def test_the_time_constant_is_that_of_the_settling() -> None:
    g, _, current = arrays(5, 30, 3)
    loop = Loop(g, g, 100.0, Amplifiers(1e4, 1e8))
    load = 100 + (g.sum(axis=1) + 100) / 1e4
    w, final, step_s = np.zeros(3), loop.settled_v(current), loop.time_constant_s / 1000
    distance = []
    for _ in range(20_000):
        c = -g.T @ ((g @ w + current) / load) / g.sum(axis=0)
        w = w + step_s * 2 * math.pi * 1e8 * (c - w / 1e4)
        distance.append(np.linalg.norm(w - final))
    assert distance[19_999] / distance[18_999] == pytest.approx(math.exp(-1), rel=2e-3)


def test_arrays_that_oppose_each_other_are_unstable() -> None:
    g = np.array([[10.0, 1.0], [1.0, 10.0]])
    loop = Loop(g, g[:, ::-1].copy(), 10.0)
    assert not loop.is_stable
    for ask in (lambda: loop.settled_v([1.0, 0.0]), lambda: loop.time_constant_s):
        with pytest.raises(ImcsimError, match="unstable: a mode grows"):
            ask()


# -- regression of real data -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diabetes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, targets around 0, and the least-squares weights without that of the intercept."""
    x, y = datasets.load_diabetes(return_X_y=True)
    y = y - y.mean()
    return x, y, np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)[0][:-1]


def error(weights: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(weights - exact) / np.linalg.norm(exact))


def test_negative_data_need_no_second_array(diabetes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, exact = diabetes
    for cells in (0.0, load_device("ideal", g_min_usiemens=5.0, g_max_usiemens=50.0)):
        done = regress(x, y, cells, Amplifiers(1e12))
        assert error(done.weights, exact) < 1e-6
        assert done.intercept == pytest.approx(0, abs=1e-6 * np.abs(y).max())
        assert np.allclose(done.predict(x), x @ exact, atol=1e-4)


def test_the_error_grows_with_less_gain_and_with_device_error(
    diabetes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, y, exact = diabetes
    by_gain = [error(regress(x, y, 0.0, Amplifiers(gain)).weights, exact) for gain in (1e6, 1e5, 1e4, 1e3)]
    assert by_gain == sorted(by_gain)
    assert by_gain[1:] == pytest.approx([0.017, 0.14, 0.58], rel=0.05)  # computed in another way, rounded
    by_sigma = [
        np.mean([error(regress(x, y, sigma, Amplifiers(1e8), seed=seed).weights, exact) for seed in range(10)])
        for sigma in (0.005, 0.01, 0.02, 0.05)
    ]
    assert by_sigma == sorted(by_sigma)
    assert by_sigma[1] / by_sigma[0] == pytest.approx(2, rel=0.1)  # first order


def test_a_time_constant_of_three_microseconds(diabetes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    loop = regress(diabetes[0], diabetes[1], 0.0, Amplifiers(1e9, 1e8)).loop
    assert np.linalg.cond(loop.first_usiemens) == pytest.approx(114.45, abs=0.01)
    assert loop.time_constant_s == pytest.approx(3.04e-6, rel=1e-2)


def test_digits_in_one_step() -> None:
    x, labels = datasets.load_digits(return_X_y=True)
    wanted = 2.0 * np.eye(10)[labels] - 1
    train, test = slice(0, 1200), slice(1200, None)
    plain = regress(x[train], wanted[train], 0.0, Amplifiers(1e6))
    assert (plain.predict(x[test]).argmax(1) == labels[test]).mean() > 0.87
    features = random_features(x, 400, seed=1)
    hidden = regress(features[train], wanted[train], 0.0, Amplifiers(1e6))
    assert (hidden.predict(features[test]).argmax(1) == labels[test]).mean() > 0.92
    assert np.array_equal(features, random_features(x, 400, seed=1))


def test_constant_features_get_no_weight() -> None:
    x = np.column_stack([np.arange(6.0), np.full(6, 3.0)])
    done = regress(x, 2 * x[:, 0] + 1, 0.0, Amplifiers(1e12))
    assert done.weights == pytest.approx([2, 0])
    assert done.intercept == pytest.approx(1)


@pytest.mark.parametrize("kind", sorted(classes(DEVICES)))
def test_any_device_writes_both_arrays_on_their_own(kind: str) -> None:
    fields = {
        name: field.examples[0]
        for name, field in classes(DEVICES)[kind].model_fields.items()
        if field.is_required() and field.examples
    }
    device = load_device(kind, **fields)
    target = np.linspace(device.g_min_usiemens, device.g_max_usiemens, 60).reshape(20, 3)
    first, again, second = (written_usiemens(target, device, 1, which) for which in ("first", "first", "second"))
    assert np.array_equal(first, again)
    assert (first >= 0).all()
    assert np.array_equal(first, second) == (kind == "ideal")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Amplifiers(gain=0), "gain"),
        (lambda: Amplifiers(gbw_hz=math.nan), "gbw_hz"),
        (lambda: Loop(np.ones((3, 2)), np.ones((2, 3)), 1.0), "shapes"),
        (lambda: Loop(-np.ones((3, 2)), np.ones((3, 2)), 1.0), "no conductances"),
        (lambda: Loop(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), 1.0), "none at all"),
        (lambda: Loop(np.ones((3, 2)), np.ones((3, 2)), 0.0), "feedback"),
        (lambda: Loop(np.ones((3, 2)), np.ones((3, 2)), 1.0).settled_v([1.0, 2.0]), "3 rows"),
        (lambda: regress(np.ones((3, 2)), np.ones(4)), "a row of data for each target"),
        (lambda: regress(np.full((3, 2), np.nan), np.ones(3)), "NaN"),
        (lambda: regress(np.eye(3), np.ones(3), -0.1), "relative error"),
    ],
)
def test_what_cannot_be_is_refused(make: object, problem: str) -> None:
    with pytest.raises(ImcsimError, match=problem):
        make()  # type: ignore[operator]
