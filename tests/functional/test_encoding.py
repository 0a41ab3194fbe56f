"""Do weights come back from their slices, and layers from their crossbars, without losing a bit?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.functional.encoding import InputCode, WeightCode
from imcsim.functional.layout import layer_content
from imcsim.hardware.hardware import load_hardware
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised.layers import Format, IntegerLayer, Integers

POLARITIES = st.sampled_from(["differential", "offset"])


def integer_layer(rng: np.random.Generator, groups: int, rows: int, per_group: int) -> IntegerLayer:
    channels = groups * per_group
    return IntegerLayer(
        "layer", rng.integers(-128, 128, (channels, rows)), rng.integers(-999, 999, channels), groups,
        Format(0.1, int(rng.integers(-128, 128)), np.dtype(np.int8)), np.ones(channels, np.float32), None,
    )  # fmt: skip


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 4, 8]), POLARITIES)
@settings(deadline=None)
def test_weights_come_back_from_their_cells(seed: int, bits_per_cell: int, polarity: str) -> None:
    rng = np.random.default_rng(seed)
    code = WeightCode(bits_per_cell, -(-8 // bits_per_cell), polarity)  # type: ignore[arg-type]
    weights, inputs = rng.integers(-128, 128, (7, 5)), rng.integers(0, 256, (4, 7))
    levels = code.encode(weights)
    assert levels.shape == (7, 5 * code.columns)
    assert levels.min() >= 0
    assert levels.max() < code.levels
    np.testing.assert_array_equal(code.decode(inputs @ levels, inputs), inputs @ weights)


def on_crossbars(layer: IntegerLayer, vectors: Integers, polarity: str, overrides: dict[str, object]) -> Integers:
    """The layer's sums with each crossbar an exact product."""
    hardware = load_hardware("rram-256", {"crossbar.polarity": polarity, **overrides})
    content, entry = layer_content(layer, hardware, 8), InputCode.of(layer)
    code = content.code
    driven = entry.driven(vectors)
    assert driven.min() >= 0
    assert driven.max() < 256
    sums = np.zeros((len(driven), layer.channels), np.int64) + layer.bias - entry.shift * layer.weights.sum(axis=1)
    for block in content.blocks:
        inputs = driven[:, block.rows]
        sums[:, block.channels] += code.decode(inputs @ code.encode(block.weights), inputs)
    return sums.reshape(*vectors.shape[:2], -1)


@given(
    st.integers(0, 10**6), st.sampled_from([1, 2, 5]), st.integers(1, 40), st.integers(1, 6), POLARITIES,
    st.sampled_from([8, 16, 64]), st.sampled_from([16, 24, 64]), st.sampled_from([1, 2, 4]),
)  # fmt: skip
@settings(deadline=None)
def test_a_layer_in_pieces_gives_its_sums(
    seed: int, groups: int, rows: int, per_group: int, polarity: str, height: int, width: int, bits_per_cell: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = integer_layer(rng, groups, rows, per_group)
    vectors = rng.integers(-128, 128, (2, 3, groups, rows)) - layer.input.zero
    size = {"crossbar.rows": height, "crossbar.wordlines_active": height, "crossbar.columns": width}
    found = on_crossbars(layer, vectors, polarity, {**size, "crossbar.bits_per_cell": bits_per_cell})
    np.testing.assert_array_equal(found, layer.sums(vectors))


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ImcsimError, match="do not fit 2 slices"):
        WeightCode(2, 2, "differential").encode(np.array([[16]]))
