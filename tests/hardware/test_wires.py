"""Is the effective matrix the exact solution of the wires, and does it obey the laws of resistor networks?"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import splu

from imcsim.hardware.wires import (
    Network,
    Wires,
    cubic_cell,
    effective_usiemens,
    ladder_error_frac,
    ladder_usiemens,
    sinh_cell,
)
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError


def cells(rows: int, columns: int, seed: int = 0) -> Any:
    """Conductances up to 50 uS, a tenth of them open."""
    random = random_streams.rng(seed, "cells")
    return random.uniform(0, 50, (rows, columns)) * (random.random((rows, columns)) > 0.1)


def nodal(g: Any, wires: Wires) -> Any:
    """Kirchhoff's law node by node, solved for 1 V at each driver in turn; all resistances above 0."""
    rows, columns = g.shape
    entries: list[tuple[int, int, float]] = []
    known = np.zeros((2 * g.size, rows))
    first, last = 1e6 / (wires.driver_ohm + wires.wordline_ohm), 1e6 / (wires.sense_ohm + wires.bitline_ohm)

    def connect(a: int, b: int, usiemens: float) -> None:
        entries.extend([(a, a, usiemens), (b, b, usiemens), (a, b, -usiemens), (b, a, -usiemens)])

    for i in range(rows):
        for j in range(columns):
            word = i * columns + j
            bit = g.size + word
            connect(word, bit, g[i, j])
            if j > 0:
                connect(word - 1, word, 1e6 / wires.wordline_ohm)
            else:
                entries.append((word, word, first))
                known[word, i] = first
            if i < rows - 1:
                connect(bit, bit + columns, 1e6 / wires.bitline_ohm)
            else:
                entries.append((bit, bit, last))
    at_a, at_b, usiemens = zip(*entries, strict=True)
    laws = sparse.coo_array((usiemens, (at_a, at_b)), shape=(2 * g.size, 2 * g.size)).tocsc()
    return splu(laws).solve(known)[-columns:].T * last


ohms = st.floats(0.01, 1000)
all_wires = st.builds(Wires, ohms, ohms, ohms, ohms)
any_wires = st.builds(Wires, *[st.sampled_from([0.0, 0.5, 20.0, 1e4])] * 4)
shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
RESISTIVE = Wires(wordline_ohm=3.0, bitline_ohm=2.0, driver_ohm=200.0, sense_ohm=100.0)


# -- against other solutions ---------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(shapes, all_wires, st.integers(0, 99))
def test_small_crossbars_equal_the_nodal_solution(shape: tuple[int, int], wires: Wires, seed: int) -> None:
    g = cells(*shape, seed)
    exact = nodal(g, wires)
    assert effective_usiemens(g, wires) == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert Network(g, wires).effective_usiemens() == pytest.approx(exact, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (32, 20), (12, 32)])
@pytest.mark.parametrize("wires", [RESISTIVE, Wires(0.3, 0.3), Wires(500.0, 900.0, 1e4, 1e4)])
def test_larger_crossbars_equal_the_nodal_solution(shape: tuple[int, int], wires: Wires) -> None:
    g = cells(*shape)
    exact = nodal(g, wires)
    tolerance = 1e-9 * exact.max()
    assert np.abs(effective_usiemens(g, wires) - exact).max() < tolerance
    assert np.abs(Network(g, wires).effective_usiemens() - exact).max() < tolerance


@settings(max_examples=60, deadline=None)
@given(shapes, any_wires, st.integers(0, 99))
def test_both_ways_agree_where_resistances_are_zero(shape: tuple[int, int], wires: Wires, seed: int) -> None:
    g = cells(*shape, seed)
    assert effective_usiemens(g, wires) == pytest.approx(Network(g, wires).effective_usiemens(), rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def badcrossbar() -> ModuleType:
    """The solver of that name; what it would draw with is not needed here, and not easy to install."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("cairo") is None:
            patch.setitem(sys.modules, "cairo", MagicMock())
        return pytest.importorskip("badcrossbar", reason="`make test` installs badcrossbar")


@pytest.mark.parametrize("n", [32, 64])
def test_equals_badcrossbar(n: int, badcrossbar: ModuleType) -> None:
    g, v = cells(n, n) + 1.0, random_streams.rng(0, "inputs").random((5, n))
    for word_ohm, bit_ohm in ((1.0, 1.0), (20.0, 5.0)):
        theirs = badcrossbar.compute(v.T, 1e6 / g, r_i_word_line=word_ohm, r_i_bit_line=bit_ohm)
        ours = v @ effective_usiemens(g, Wires(word_ohm, bit_ohm))
        assert ours == pytest.approx(theirs.currents.output * 1e6, rel=1e-9)


# -- laws ----------------------------------------------------------------------------------------------------------


def test_wires_without_resistance_give_the_cells() -> None:
    g = cells(9, 14)
    assert np.array_equal(effective_usiemens(g, Wires(0, 0)), g)
    assert np.array_equal(ladder_usiemens(g, Wires(0, 0)), g)
    assert Network(g, Wires(0, 0)).effective_usiemens() == pytest.approx(g)


def test_one_cell_is_a_sum_of_resistances() -> None:
    g = effective_usiemens(np.array([[20.0]]), Wires(1.0, 2.0, 30.0, 400.0))
    assert g[0, 0] == pytest.approx(1e6 / (1e6 / 20 + 433))


@settings(max_examples=40, deadline=None)
@given(shapes, any_wires, st.integers(0, 99))
def test_a_crossbar_driven_at_its_senses_is_the_transpose(shape: tuple[int, int], wires: Wires, seed: int) -> None:
    g = cells(*shape, seed)
    turned = Wires(wires.bitline_ohm, wires.wordline_ohm, wires.sense_ohm, wires.driver_ohm)
    backwards = Network(g[::-1, ::-1].T, turned).effective_usiemens()[::-1, ::-1].T
    assert effective_usiemens(g, wires) == pytest.approx(backwards, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(shapes, any_wires, st.sampled_from(["wordline_ohm", "bitline_ohm", "driver_ohm", "sense_ohm"]))
def test_the_power_drawn_falls_with_resistance_and_no_current_exceeds_the_ideal(
    shape: tuple[int, int], wires: Wires, name: str
) -> None:
    """Rayleigh: with all drivers at 1 V the power drawn, here the sum of all currents, falls with any resistance."""
    g = cells(*shape)
    exact = effective_usiemens(g, wires)
    more = Wires(**{**vars(wires), name: getattr(wires, name) + 50.0})
    assert effective_usiemens(g, more).sum() <= exact.sum() * (1 + 1e-12)
    assert exact.min() >= -1e-12
    assert np.all(exact.sum(axis=0) <= g.sum(axis=0) * (1 + 1e-12))


def test_inputs_superpose() -> None:
    """Two drivers together: the nodal solution of both is the sum, so one matrix answers every input."""
    g, v = cells(10, 8), random_streams.rng(1, "v").uniform(-1, 1, (3, 10))
    network, exact = Network(g, RESISTIVE), effective_usiemens(g, RESISTIVE)
    linear = network.nonlinear_ua(v, lambda cell_v, g_usiemens: g_usiemens * cell_v)
    assert linear == pytest.approx(v @ exact, rel=1e-9, abs=1e-9)
    both = network.nonlinear_ua(v[:1] + v[1:2], lambda cell_v, g_usiemens: g_usiemens * cell_v)
    assert both == pytest.approx(linear[:1] + linear[1:2], rel=1e-9, abs=1e-9)


# -- the cheap model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wires", [Wires(5, 0, 40, 0), Wires(0, 5, 0, 40)])
def test_the_ladder_is_exact_where_only_one_kind_of_line_has_resistance(wires: Wires) -> None:
    g = cells(40, 30)
    assert ladder_usiemens(g, wires) == pytest.approx(effective_usiemens(g, wires), rel=1e-10)


def test_the_ladder_is_right_to_first_order_and_says_by_how_much_it_is_not() -> None:
    g = cells(64, 64)
    errors = [ladder_error_frac(g, Wires(ohm, ohm)) for ohm in (0.01, 0.1, 1.0, 5.0)]
    print("ladder error for 0.01, 0.1, 1 and 5 ohm per cell:", *[f"{error:.2e}" for error in errors])
    assert errors == sorted(errors)
    assert errors[0] < 1e-6
    assert errors[1] / errors[0] == pytest.approx(100, rel=0.1)  # what is left out is of second order
    wrong = ladder_usiemens(g, Wires(1, 1)) - effective_usiemens(g, Wires(1, 1))
    inputs = random_streams.rng(0, "inputs").random((200, 64)) < 0.5
    assert np.abs(inputs @ wrong).max() <= errors[2] * effective_usiemens(g, Wires(1, 1)).sum(axis=0).max()


# -- nonlinear cells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [sinh_cell(0.3), cubic_cell(0.5)])
def test_nonlinear_currents_obey_kirchhoff_cell_by_cell(cell: Any) -> None:
    """One row and one column: v = u + R I(u), solved by bisection."""
    current = Network(np.array([[40.0]]), Wires(0.0, 0.0, 2000.0, 500.0)).nonlinear_ua(np.array([[0.5]]), cell)
    low, high = 0.0, 0.5
    for _ in range(60):
        u = (low + high) / 2
        low, high = (u, high) if u + 2500e-6 * cell(np.array(u), np.array(40.0)) < 0.5 else (low, u)
    assert current[0, 0] == pytest.approx(float(cell(np.array(low), np.array(40.0))), rel=1e-6)


def test_nonlinear_cells_become_linear_at_small_voltages() -> None:
    g, v = cells(12, 9), random_streams.rng(0, "v").random((4, 12))
    network, linear = Network(g, RESISTIVE), v @ effective_usiemens(g, RESISTIVE)
    small = network.nonlinear_ua(1e-3 * v, sinh_cell(0.5), tolerance_v=1e-15)
    assert 1e3 * small == pytest.approx(linear, rel=1e-5)
    assert np.all(network.nonlinear_ua(v, sinh_cell(0.5)) > linear)
    ideal = Network(g, Wires(0, 0)).nonlinear_ua(v, sinh_cell(0.5))
    assert ideal == pytest.approx(np.sinh(v / 0.5) @ g * 0.5)


def test_nonlinear_cells_that_do_not_settle() -> None:
    with pytest.raises(ImcsimError, match="nonlinear cells do not settle in 5 steps"):
        Network(np.full((4, 4), 50.0), Wires(1e4, 1e4)).nonlinear_ua(np.full((1, 4), 3.0), cubic_cell(5.0), max_steps=5)


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ohm", [-1.0, float("nan"), float("inf")])
def test_resistances_that_are_none(ohm: float) -> None:
    with pytest.raises(ImcsimError, match=r"wires\.sense_ohm: .* is no resistance"):
        Wires(1.0, 1.0, sense_ohm=ohm)


@pytest.mark.parametrize("g", [np.ones(3), np.ones((0, 4)), -np.ones((2, 2)), np.full((2, 2), np.nan)])
def test_conductances_that_are_none(g: Any) -> None:
    with pytest.raises(ImcsimError, match="finite numbers >= 0"):
        effective_usiemens(g, Wires(1.0, 1.0))
