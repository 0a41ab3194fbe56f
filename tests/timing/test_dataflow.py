"""Does a layer wait for exactly the positions under its window, and forget none too early?"""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.timing.dataflow import reach, steps
from imcsim.workload.layers import Concat, GlobalPool, Input, MatMul, Pool, Window
from imcsim.workload.workload import Layer

WINDOWS = st.builds(
    lambda kernel, stride, padding, dilation: Window(kernel=kernel, stride=stride, padding=padding, dilation=dilation),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)


def tensor(name: str, *shape: int) -> Input:
    return Input(name=name, inputs=(), output_shape=shape)


def touched(window: Window, size: tuple[int, int], out: tuple[int, int]) -> set[int]:
    """Raster numbers of the input positions under the window at one output position, the border repeated outside."""
    rows, columns = (
        [o * s - p + d * k for k in range(n)]
        for o, s, p, d, n in zip(out, window.stride, window.padding[:2], window.dilation, window.kernel, strict=True)
    )
    clip = [[min(max(i, 0), n - 1) for i in axis] for axis, n in zip((rows, columns), size, strict=True)]
    return {row * size[1] + column for row, column in itertools.product(*clip)}


@given(WINDOWS, st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(max_examples=200, deadline=None)
def test_a_window_needs_its_last_position_and_keeps_all_that_are_still_to_come(
    window: Window, size: tuple[int, int]
) -> None:
    out = window.output_size(size)
    if min(out) < 1:
        return
    pool = Pool(name="pool", inputs=("x",), output_shape=(1, *out), mode="max", window=window)
    got = reach(pool, [tensor("x", 1, *size)], 0)
    under = [touched(window, size, position) for position in itertools.product(range(out[0]), range(out[1]))]
    needs = np.maximum.accumulate([max(positions) + 1 for positions in under])
    assert got.needs.tolist() == needs.tolist()
    for step, frees in enumerate(got.frees):
        later = set().union(*under[step + 1 :])
        assert not later or frees <= min(later)
        assert frees <= got.needs[step]
    assert (np.diff(got.frees) >= 0).all()


def test_element_wise_layers_go_position_by_position() -> None:
    layer = Concat(name="both", inputs=("x", "y"), output_shape=(5, 2, 3))
    got = reach(layer, [tensor("x", 2, 2, 3), tensor("y", 3, 2, 3)], 1)
    assert got.needs.tolist() == got.frees.tolist() == [1, 2, 3, 4, 5, 6]


def test_concatenated_positions_come_one_input_after_the_other() -> None:
    layer = Concat(name="both", inputs=("x", "y"), output_shape=(4, 5), axis="position")
    inputs: list[Layer] = [tensor("x", 4, 2), tensor("y", 4, 3)]
    assert reach(layer, inputs, 0).needs.tolist() == [1, 2, 2, 2, 2]
    assert reach(layer, inputs, 1).needs.tolist() == [0, 0, 1, 2, 3]


def test_every_query_meets_all_keys() -> None:
    scores = MatMul(name="scores", inputs=("q", "k"), output_shape=(2 * 4, 4), heads=2, inner=8)
    inputs: list[Layer] = [tensor("q", 16, 4), tensor("k", 16, 4)]
    assert reach(scores, inputs, 0).needs.tolist() == [1, 2, 3, 4]
    assert reach(scores, inputs, 1).needs.tolist() == [4, 4, 4, 4]
    assert reach(scores, inputs, 1).frees.tolist() == [0, 0, 0, 4]


def test_a_global_pooling_takes_its_input_in_position_by_position() -> None:
    pool = GlobalPool(name="pool", inputs=("x",), output_shape=(4, 1, 1), mode="avg")
    inputs: list[Layer] = [tensor("x", 4, 3, 3)]
    assert steps(pool, inputs) == 9
    assert reach(pool, inputs, 0).needs.tolist() == list(range(1, 10))
