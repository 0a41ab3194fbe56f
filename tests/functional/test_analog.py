"""Does the compiled analog multiply give the integers of the plain one, and is its noise what it says?"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from imcsim.functional.crossbar import AnalogArray, Products, Quantizer, ReadNoise, fixed_point, multiply
from imcsim.functional.encoding import WeightCode
from imcsim.functional.kernels import reference
from imcsim.util.errors import ImcsimError

Array = NDArray[np.int64]
WIDE = Quantizer.uniform(1 << 24, 0, -(1 << 23), -(1 << 23))  # a code for every sum
MANY = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
    yield
    numba.set_num_threads(before)


def lossless(cell_bits: int, group_rows: int, digit_bits: int, fraction_bits: int = 8) -> Quantizer:
    """One code for each count, thresholds halfway between."""
    counts = group_rows * ((1 << cell_bits) - 1) * ((1 << digit_bits) - 1) + 1
    return Quantizer.uniform(counts, fraction_bits, -(1 << fraction_bits - 1))


def twin(
    cells: Array, group_rows: int, digit_bits: int, inputs: Array, n_bits: int, adc: Quantizer,
    offsets: Array | int = 0, noise: Array | float = 0,
) -> Products:  # fmt: skip
    """The plain multiply with the converter's thresholds and values written out."""
    c = adc.converter
    if c.thresholds.size:
        thresholds, values = c.thresholds[:-1].astype(np.int64), c.values.astype(np.int64)
    else:
        thresholds, values = c.origin + (np.arange(1, c.top + 1) << c.shift), c.lowest + np.arange(c.top + 1)
    digits = reference.digits_of(inputs, n_bits, digit_bits)
    weights = 1 << np.arange(0, n_bits, digit_bits)[:, None]
    results, sums = reference.multiply(digits, cells, group_rows, offsets, thresholds, values * weights, noise)
    return Products(results, ((sums < c.low) | (sums >= c.high)).sum((0, 1, 2)))


def same(found: Products, expected: Products) -> None:
    np.testing.assert_array_equal(found.results, expected.results)
    np.testing.assert_array_equal(found.saturated, expected.saturated)


@given(st.data())
@MANY
def test_compiled_equals_plain(data: st.DataObject) -> None:
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_rows, n_columns, n_vectors = draw(st.integers(0, 150)), draw(st.integers(1, 140)), draw(st.integers(0, 40))
    n_bits, digit_bits, group_rows = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(1, 160))
    largest = draw(st.sampled_from([1, 300, 4095, 5000, 60000]))
    cells = rng.integers(draw(st.sampled_from([0, -largest])), largest + 1, (n_rows, n_columns))
    inputs = rng.integers(0, 1 << n_bits, (n_vectors, n_rows))
    spread = max(largest * max(n_rows, 1) * ((1 << digit_bits) - 1) // 4, 8)
    if draw(st.booleans()):
        shift = draw(st.integers(0, min(spread.bit_length(), 20)))  # 300 codes of 2**20 stay within 2**29
        adc = Quantizer.uniform(
            draw(st.integers(1, 300)), shift, -draw(st.integers(0, 300)), draw(st.integers(-300, 300))
        )
    else:
        cuts = np.sort(rng.integers(-spread, spread, draw(st.integers(1, 80))))
        values = rng.integers(-1000, 1000, cuts.size + 1)
        adc = Quantizer.listed(cuts, values, int(cuts[0]) - 9, int(cuts[-1]) + 9)
    offsets = rng.integers(-300, 300, n_columns)
    found = multiply(AnalogArray(cells, group_rows, digit_bits), inputs, n_bits, adc, offsets)
    same(found, twin(cells, group_rows, digit_bits, inputs, n_bits, adc, offsets))


@given(
    st.integers(1, 140), st.integers(1, 20), st.integers(2, 8), st.integers(1, 4), st.integers(1, 8), st.integers(1, 4),
    st.integers(1, 140), st.sampled_from(["differential", "offset"]), st.integers(0, 999),
)  # fmt: skip
@MANY
def test_lossless_is_the_matrix_product(
    n_rows: int, n_outputs: int, weight_bits: int, cell_bits: int, n_bits: int, digit_bits: int, group_rows: int,
    polarity: str, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    half = 1 << weight_bits - 1
    weights = rng.integers(-half, half, (n_rows, n_outputs))
    inputs = rng.integers(0, 1 << n_bits, (7, n_rows))
    code = WeightCode(cell_bits, -(-weight_bits // cell_bits), polarity)  # type: ignore[arg-type]
    crossbar = AnalogArray(fixed_point(code.encode(weights)), group_rows, digit_bits)
    found = multiply(crossbar, inputs, n_bits, lossless(cell_bits, min(group_rows, n_rows), digit_bits))
    assert not found.saturated.any()
    np.testing.assert_array_equal(code.decode(found.results, inputs), inputs @ weights)


def test_offset_by_a_column_of_ones() -> None:
    """The sum of the inputs can be read from the crossbar itself."""
    rng = np.random.default_rng(1)
    weights, inputs = rng.integers(-8, 8, (30, 5)), rng.integers(0, 16, (9, 30))
    code = WeightCode(2, 2, "offset")
    levels = np.hstack([code.encode(weights), np.ones((30, 1), np.int64)])
    results = multiply(AnalogArray(fixed_point(levels), 16), inputs, 4, lossless(2, 16, 1)).results
    np.testing.assert_array_equal(code.decode(results[:, :-1], results[:, -1:]), inputs @ weights)


def test_a_sum_on_a_threshold_gets_the_upper_code() -> None:
    cells, inputs = np.array([[9, 10, 11, 19, 20, 21]]), np.ones((1, 1), np.int64)
    listed = Quantizer.listed([10, 20], [5, 6, 9], 0, 21)
    assert multiply(AnalogArray(cells, 1), inputs, 1, listed).results.tolist() == [[5, 6, 6, 6, 9, 9]]
    uniform = Quantizer.uniform(3, 2, 8, 1)  # thresholds 12 and 16
    cells = np.array([[0, 11, 12, 15, 16, 19, 20]])
    found = multiply(AnalogArray(cells, 1), inputs, 1, uniform)
    assert found.results.tolist() == [[1, 1, 2, 2, 3, 3, 3]]
    assert found.saturated.tolist() == [1, 0, 0, 0, 0, 0, 1]  # 20 is the first sum beyond the range


def test_equal_thresholds_leave_codes_out() -> None:
    adc = Quantizer.listed([3, 3, 3, 4], [0, 1, 2, 3, 4], 0, 9)
    assert multiply(AnalogArray([[2, 3, 4]], 1), [[1]], 1, adc).results.tolist() == [[0, 3, 4]]


def test_offsets_shift_what_is_converted() -> None:
    adc = Quantizer.uniform(16, 0, 0)
    found = multiply(AnalogArray([[5, 5, 5]], 1), [[3]], 2, adc, [-1, 0, 2])
    assert found.results.tolist() == [[(5 - 1) * 3, 5 * 3, (5 + 2) * 3]]


@pytest.mark.parametrize("largest", [4095, 4096, 60000])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("group_rows", [127, 128, 512])
def test_lanes_cannot_overflow(largest: int, sign: int, group_rows: int) -> None:
    """All cells at the extreme, all inputs on: 512 * 4095 is 32 times what 16 bits hold."""
    cells, inputs = np.full((512, 65), sign * largest), np.full((2, 512), 255)
    adc = Quantizer.uniform(1 << 27, 0, -(1 << 26), -(1 << 26))
    same(multiply(AnalogArray(cells, group_rows), inputs, 8, adc), twin_of_extremes(cells, inputs))


def twin_of_extremes(cells: Array, inputs: Array) -> Products:
    return Products(inputs @ cells, np.zeros(cells.shape[1], np.int64))


def test_16_bit_lanes_are_filled_to_the_brim() -> None:
    """Four nibbles of 4 * 4095 fit into 16 bits, five do not; 32 of 4 * 511 do, 32 of 4 * 513 do not."""
    assert AnalogArray(np.full((16, 1), 4095), 16).tables.chunk == 4
    assert AnalogArray(np.full((17, 1), 4095), 17).tables.chunk == 3  # five nibbles, in two parts of at most three
    assert AnalogArray(np.full((128, 1), 511), 128).tables.chunk == 32
    assert AnalogArray(np.full((128, 1), 513), 128).tables.chunk == 16


@pytest.mark.parametrize("n_bits", [8, 16])
def test_large_values_are_flushed_in_time(n_bits: int) -> None:
    """Codes times 2**phase exceed 32 bits long before the result is complete."""
    adc = Quantizer.listed([100], [-(2**30), 2**30 + 7], 0, 1000)
    inputs = np.array([[(1 << n_bits) - 1]])
    cells = np.array([[99, 100]])
    same(multiply(AnalogArray(cells, 1), inputs, n_bits, adc), twin(cells, 1, 1, inputs, n_bits, adc))


def test_no_rows_and_no_vectors() -> None:
    rowless = multiply(AnalogArray(np.zeros((0, 3), int), 4), np.zeros((2, 0), int), 8, WIDE)
    assert rowless.results.tolist() == [[0] * 3] * 2
    assert multiply(AnalogArray(np.zeros((5, 3), int), 4), np.zeros((0, 5), int), 8, WIDE).results.shape == (0, 3)
    silent = multiply(AnalogArray(np.zeros((5, 3), int), 4), np.zeros((2, 5), int), 8, WIDE, noise=ReadNoise(1, 50.0))
    assert not silent.results.any()  # no active row, no noise


# noise


def noisy(crossbar: AnalogArray, inputs: Array, n_bits: int, noise: ReadNoise, numbers: Array | None = None) -> Array:
    return multiply(crossbar, inputs, n_bits, WIDE, noise=noise, numbers=numbers).results


def test_noise_equals_the_plain_one() -> None:
    """Same bits, same quantiles; only where a noisy sum is within rounding of an integer may its floor differ."""
    rng = np.random.default_rng(2)
    cells, inputs = rng.integers(0, 500, (50, 150)), rng.integers(0, 64, (40, 50))
    variances = rng.integers(0, 1 << 10, cells.shape) / (1 << 4)
    variances[0, 0] = 64.0  # the scale is a power of two, so the table holds these exactly
    adc_sigma = rng.uniform(0, 20, 150)
    numbers = rng.integers(0, 2**60, 40)
    digits = reference.digits_of(inputs, 6, 2)
    variance = reference.noise_variance(digits, variances, 20) + adc_sigma**2
    noise = reference.normals(77, numbers, 3, 3, 150) * np.sqrt(variance)
    found = multiply(
        AnalogArray(cells, 20, 2, variances), inputs, 6, WIDE, noise=ReadNoise(77, adc_sigma=adc_sigma), numbers=numbers
    ).results
    expected = twin(cells, 20, 2, inputs, 6, WIDE, noise=np.floor(noise)).results
    differences = found - expected
    assert np.abs(differences).max() <= 16 + 4 + 1
    assert (differences != 0).mean() < 2e-3


def test_draws_follow_the_normal_law() -> None:
    """400,000 draws, each in the finest steps: mean, variance, tails and the whole distribution."""
    sigma = 1000.0
    inputs = np.ones((4000, 1), np.int64)
    x = noisy(AnalogArray(np.zeros((1, 100), int), 1), inputs, 1, ReadNoise(3, sigma)) + 0.5
    n = x.size
    assert abs(x.mean()) < 5 * sigma / np.sqrt(n)
    assert abs(x.var() - sigma**2 - 1 / 12) < 5 * sigma**2 * np.sqrt(2 / n)
    assert stats.kstest(x.ravel() / sigma, "norm").pvalue > 1e-4
    for z in (3, 4):
        p = 2 * stats.norm.sf(z)
        assert abs((np.abs(x) > z * sigma).sum() - n * p) < 5 * np.sqrt(n * p) + 1


@pytest.mark.parametrize("digit_bits", [1, 2, 3])
@pytest.mark.parametrize("per_cell", [False, True])
def test_mean_and_variance_are_the_closed_form(digit_bits: int, per_cell: bool) -> None:
    """Variance of a result: sum over phases of 4**shift * (sum of digit**2 * variance + that of the ADC + 1/12)."""
    rng = np.random.default_rng(4)
    n_rows, n_columns, n, n_bits, group_rows = 30, 40, 3000, 6, 13
    cells = rng.integers(0, 500, (n_rows, n_columns))
    variances = rng.uniform(0, 4000, cells.shape) if per_cell else np.full(cells.shape, 50.0**2)
    adc_sigma = rng.uniform(0, 200, n_columns)
    row = rng.integers(0, 1 << n_bits, n_rows)
    crossbar = AnalogArray(cells, group_rows, digit_bits, variances if per_cell else None)
    x = noisy(crossbar, np.tile(row, (n, 1)), n_bits, ReadNoise(5, 50.0, adc_sigma))
    digits = reference.digits_of(row[None], n_bits, digit_bits)
    weights = 1 << np.arange(0, n_bits, digit_bits)
    variance = reference.noise_variance(digits, variances, group_rows)[0] + adc_sigma**2 + 1 / 12
    variance = np.einsum("p,pgc->c", weights.astype(float) ** 2, variance)
    mean = row @ cells - 0.5 * 3 * weights.sum()
    assert (np.abs(x.mean(0) - mean) < 5 * np.sqrt(variance / n)).all()
    assert (np.abs(x.var(0) - variance) < 5 * variance * np.sqrt(2 / n)).all()


def test_draws_are_independent() -> None:
    """Correlations between columns, vectors, phases, groups and seeds are those of independent numbers."""
    x = reference.normals(6, np.arange(500), 4, 3, 96)
    views = [np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for axis in (1, 2, 3)]
    views.append(x[:64].reshape(64, -1))
    views.append(np.stack([reference.normals(seed, np.arange(50), 4, 3, 96).ravel() for seed in range(20)]))
    for view in views:
        for values in (view, view**2):
            found = np.corrcoef(values)[np.triu_indices(len(view), 1)] * np.sqrt(view.shape[1])
            assert np.abs(found).max() < 6
            assert abs(found.std() - 1) < 5 / np.sqrt(2 * found.size) + 0.1


def test_threads_order_and_seed() -> None:
    rng = np.random.default_rng(7)
    crossbar, inputs = AnalogArray(rng.integers(0, 500, (40, 70)), 40), rng.integers(0, 256, (333, 40))
    noise, numbers = ReadNoise(8, 30.0), np.arange(333) + 10**12
    both = noisy(crossbar, inputs, 8, noise, numbers)
    numba.set_num_threads(1)
    np.testing.assert_array_equal(noisy(crossbar, inputs, 8, noise, numbers), both)
    order = rng.permutation(333)
    np.testing.assert_array_equal(noisy(crossbar, inputs[order], 8, noise, numbers[order]), both[order])
    np.testing.assert_array_equal(noisy(crossbar, inputs[100:], 8, noise, numbers[100:]), both[100:])
    assert (noisy(crossbar, inputs, 8, ReadNoise(9, 30.0), numbers) != both).mean() > 0.99
    assert (noisy(crossbar, inputs, 8, noise, numbers + 1) != both).mean() > 0.99


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Quantizer.listed([2, 1], [0, 1, 2], 0, 3),
        lambda: Quantizer.listed([1, 2], [0, 1], 0, 3),
        lambda: Quantizer.uniform(0, 1, 0),
        lambda: Quantizer.uniform(1 << 20, 20, 0),
        lambda: AnalogArray(np.zeros((2, 2)), 1),
        lambda: AnalogArray([[1 << 24]], 1),
        lambda: AnalogArray(np.full((512, 1), 1 << 21), 512),
        lambda: AnalogArray([[1]], 0),
        lambda: AnalogArray([[1]], 1, variances=np.array([[-1.0]])),
        lambda: multiply(AnalogArray([[1]], 1), [[2]], 1, WIDE),
        lambda: multiply(AnalogArray([[1]], 1), [[-1]], 8, WIDE),
        lambda: multiply(AnalogArray([[1]], 1), [[1, 1]], 8, WIDE),
        lambda: multiply(AnalogArray([[1]], 1), [[1]], 8, WIDE, [1, 2]),
        lambda: multiply(AnalogArray([[1]], 1), [[1]], 8, WIDE, noise=ReadNoise(1, 1e9)),
    ],
)
def test_wrong_arguments_are_refused(attempt) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ImcsimError):
        attempt()
