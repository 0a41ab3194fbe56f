"""Do crossbars of ideal cells give the integers of a layer, and real ones the errors of their device, reproducibly?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.hardware.devices import DeviceSpec, load_device
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.workload.quantised import IntegerLayer, Integers, QuantisedNetwork
from tests.functional.test_encoding import integer_layer
from tests.support.crossbars import arrays_of
from tests.workload.test_quantised import small_network

IDEAL = load_device("ideal", g_max_usiemens=50.0, g_min_usiemens=2.0)
NOISY = load_device("pcm_iterative")


def chip(**values: object) -> Hardware:
    small = {"crossbar.rows": 32, "crossbar.wordlines_active": 32, "crossbar.columns": 64, "tile.adc.bits": 12}
    return load_hardware("rram-256", small | {key.replace("__", "."): value for key, value in values.items()})


def vectors_of(layer: IntegerLayer, rng: np.random.Generator, images: int = 2) -> Integers:
    return rng.integers(-128, 128, (images, 3, layer.groups, layer.rows)) - layer.input.zero


@given(
    st.integers(0, 10**6), st.sampled_from([1, 3]), st.integers(1, 70), st.sampled_from(["differential", "offset"]),
    st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4, 8]), st.sampled_from([5, 8, 32]), st.booleans(),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_ideal_cells_and_enough_codes_give_the_exact_sums(
    seed: int, groups: int, rows: int, polarity: str, bits_per_cell: int, dac_bits: int, wordlines: int, basis: bool
) -> None:
    """Whatever the slices, the input coding and the wordlines at once, on crossbars of its own or from a basis."""
    rng = np.random.default_rng(seed)
    layer = integer_layer(rng, groups, rows, 5)
    hardware = chip(
        crossbar__polarity=polarity, crossbar__bits_per_cell=bits_per_cell, crossbar__dac_bits=dac_bits,
        crossbar__wordlines_active=wordlines, tile__adc__bits=17,
    )  # fmt: skip
    vectors = vectors_of(layer, rng)
    arrays = arrays_of([layer], hardware, IDEAL, basis=basis)
    np.testing.assert_array_equal(arrays(layer, vectors), layer.sums(vectors))
    assert arrays.counts[layer.name].saturated == 0


def test_a_network_on_ideal_crossbars_gives_the_library_s_answers() -> None:
    network = QuantisedNetwork(small_network(np.random.default_rng(4), np.int8, 2, 1, 1), "model.onnx")
    x = np.random.default_rng(0).normal(0, 1.5, (20, 3, 7, 6)).astype(np.float32)
    np.testing.assert_array_equal(network.run(x, arrays_of(network.layers, chip(), IDEAL)), network.run(x))


def errors(device: DeviceSpec, vectors: Integers, layer: IntegerLayer, **values: object) -> Integers:
    return np.asarray(arrays_of([layer], chip(), device, **values)(layer, vectors) - layer.sums(vectors))  # type: ignore[arg-type]


def test_the_seed_is_the_chip() -> None:
    rng = np.random.default_rng(1)
    layer = integer_layer(rng, 1, 40, 6)
    vectors = vectors_of(layer, rng)
    first, same, other = (errors(NOISY, vectors, layer, seed=seed) for seed in (1, 1, 2))
    assert first.any()
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert (first != errors(NOISY, vectors, layer, seed=1, age_s=86_400.0)).any()


def test_neither_the_order_of_layers_nor_the_size_of_a_batch_matters() -> None:
    rng = np.random.default_rng(2)
    layers = [integer_layer(rng, 1, 40, 6), integer_layer(rng, 1, 9, 4)]
    layers = [IntegerLayer(**{**layer.__dict__, "name": name}) for layer, name in zip(layers, "ab", strict=True)]
    inputs = [vectors_of(layer, rng, images=6) for layer in layers]
    forward, backward = (arrays_of(layers, chip(), NOISY, seed=3) for _ in range(2))
    whole = [forward(layer, x) for layer, x in zip(layers, inputs, strict=True)]
    for number in (1, 0):
        parts = {}
        for i in (4, 0, 2):
            backward.first_image = i
            parts[i] = backward(layers[number], inputs[number][i : i + 2])
        np.testing.assert_array_equal(np.concatenate([parts[i] for i in (0, 2, 4)]), whole[number])


def test_errors_are_those_of_the_device() -> None:
    """A conversion errs by sigma sqrt(active rows) and by rounding to whole levels; errors add up over digits."""
    fields = {"on_off_ratio": 25.0, "n_levels": 4, "sigma_frac": 0.0, "read_sigma_frac": 0.2}
    device = load_device("rram_generic", g_max_usiemens=50.0, **fields)
    layer = integer_layer(np.random.default_rng(3), 1, 24, 8)
    vectors = np.random.default_rng(4).integers(-128, 128, (400, 5, 1, 24)) - layer.input.zero
    adc = {"kind": "ideal", "bits": 12, "convert_ns": 1, "sharing": {"kind": "private", "n_per_crossbar": 1}}
    arrays = arrays_of([layer], chip(tile__adc=adc), device)
    found = (arrays(layer, vectors) - layer.sums(vectors)).ravel()
    sigma = 0.2 * 50.0 / (50.0 * (1 - 1 / 25) / 3)  # of a cell, in level steps
    driven = vectors + layer.input.zero + 128
    active = np.array([(driven >> bit & 1).sum(axis=(2, 3)).mean() for bit in range(8)])
    columns = 2 * sum(16.0**number for number in range(4))  # both polarities of slices of two bits
    wanted = columns * (4.0 ** np.arange(8) * (sigma**2 * active + 1 / 12)).sum()
    assert found.mean() == pytest.approx(0, abs=5 * np.sqrt(wanted / found.size))
    assert found.var() == pytest.approx(wanted, rel=5 * np.sqrt(2 / found.size))


def test_too_few_codes_saturate_or_round() -> None:
    rng = np.random.default_rng(5)
    layer = integer_layer(rng, 1, 32, 6)
    vectors = vectors_of(layer, rng)
    coarse = arrays_of([layer], chip(tile__adc__bits=4), IDEAL)
    assert (coarse(layer, vectors) != layer.sums(vectors)).any()
    assert coarse.counts[layer.name].conversions == 6 * 6 * 8 * 8  # vectors, channels, columns of a weight, phases
