"""Do hybrid weights keep their laws: carries, wear, steps, reads, drift; and do kernels equal plain numpy?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.training.hic.options import CODES, HybridOptions
from imcsim.training.hic.physics import LEVEL_USIEMENS, Physics, bit_error_frac
from imcsim.training.hic.wear import bound, histograms, parts, wear
from imcsim.training.hic.weights import HybridWeights
from imcsim.training.kernels import hybrid as kernels
from imcsim.training.kernels import hybrid_reference as reference

IDEAL = Physics(nonlinear=False, write_noise=False, read_noise=False, drift="none")
N = 200_000  # cells of a statistical check
FIVE_SIGMA = 5.0


def weights(physics: Physics = IDEAL, shape: tuple[int, ...] = (7, 30), seed: int = 3, **options: Any) -> HybridWeights:
    initial = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.1
    return HybridWeights.program("layer", initial, HybridOptions(physics=physics, **options), seed)


def gradients(of: HybridWeights, seed: int, units: float) -> np.ndarray:
    """Return a gradient which at rate 1 moves accumulators by about so many units."""
    return (np.random.default_rng(seed).standard_normal(of.shape) * units * of.unit).astype(np.float32)


# -- the accumulator ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    bits=st.integers(2, 10),
    code=st.sampled_from(CODES),
    rounding=st.sampled_from(["stochastic", "nearest"]),
    units=st.floats(0.01, 300),
    seed=st.integers(0, 1000),
)
def test_nothing_is_lost_between_updates_and_carries(
    bits: int, code: str, rounding: str, units: float, seed: int
) -> None:
    """accumulator + half x carries = sum of the rounded updates, exactly."""
    cells = weights(seed=seed, bits=bits, code=code, rounding=rounding)
    half, passed = cells.options.half, 0
    carried, total = np.zeros((2, *cells.shape), np.int64)
    for step in range(12):
        gradient = gradients(cells, 100 * seed + step, units)
        key, before = cells._key("update", cells.tally.updates), cells.value.copy()
        amounts = (np.float32(-1 / cells.unit) * gradient).reshape(-1)
        value, carries = reference.accumulate(key, amounts, rounding == "stochastic", half, before)
        carried_now = cells.update(gradient, 1.0, 0.0)
        assert (cells.value == value).all()
        assert (carried_now.reshape(-1) == carries).all()
        carried += carried_now
        passed += np.abs(carried_now).sum()
        alone, _ = reference.accumulate(key, amounts, rounding == "stochastic", 1 << 40, np.zeros_like(before))
        total += alone.reshape(cells.shape)  # rounded, and never carried
        assert np.abs(cells.value).max() < half
    assert (cells.value.reshape(cells.shape) + half * carried == total).all()
    assert cells.tally.carries == passed


def test_the_mean_of_a_stochastic_rounding_is_the_update_itself() -> None:
    cells = weights(shape=(400, 500), bits=10)
    cells.update(np.full(cells.shape, -0.3 * cells.unit, np.float32), 1.0, 0.0)
    assert abs(cells.value.mean() - 0.3) < FIVE_SIGMA * math.sqrt(0.3 * 0.7 / cells.size)
    assert set(np.unique(cells.value)) == {0, 1}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("bits", [2, 7, 10])
def test_codes_are_one_to_one_and_have_as_many_bits(code: str, bits: int) -> None:
    half = 1 << (bits - 1)
    values = np.arange(1 - half, half)
    codes = reference.encoded(values, half, code)
    assert len(set(codes)) == len(values)
    assert codes.min() >= 0
    assert codes.max() < 1 << bits


def test_gray_neighbours_differ_in_one_cell_and_twos_complement_flips_all_above_at_zero() -> None:
    values = np.arange(-63, 64)
    encoded = {code: reference.encoded(values, 64, code) for code in CODES}
    flips = {code: np.bitwise_count(bits[1:] ^ bits[:-1]) for code, bits in encoded.items()}
    assert (flips["gray"] == 1).all()
    assert flips["twos_complement"][62] == 7  # from -1 to 0
    assert flips["sign_magnitude"][62] == 2


@settings(max_examples=25, deadline=None)
@given(code=st.sampled_from(CODES), units=st.floats(0.1, 200), seed=st.integers(0, 100), updates=st.integers(1, 30))
def test_no_accumulator_cell_sees_more_cycles_than_half_the_updates(
    code: str, units: float, seed: int, updates: int
) -> None:
    cells = weights(Physics(), seed=seed, code=code)
    rng = np.random.default_rng(seed)
    for _ in range(updates):
        flipping = np.where(rng.random(cells.shape) < 0.5, 1, -1) * np.float32(units * cells.unit)
        cells.update(flipping.astype(np.float32), 1.0, 0.0)
    assert cells.bit_reset.max() <= bound(updates)
    assert np.abs(cells.bit_set - cells.bit_reset).max() <= 1  # a cell that is set has to be reset before the next time
    assert (cells.bit_set + cells.bit_reset).max() <= updates


def test_a_bit_that_flips_every_time_meets_the_bound() -> None:
    cells = weights(code="gray")
    for update in range(9):
        sign = 1 if update % 2 else -1
        cells.update(np.full(cells.shape, sign * cells.unit, np.float32), 1.0, 0.0)
    assert cells.bit_set.max() == 5 == bound(9)
    assert cells.bit_reset.max() == 4


def test_cells_hold_what_the_accumulator_holds() -> None:
    """Counted writes and coded values say the same: set minus reset is the difference of the codes, bit by bit."""
    cells = weights(bits=5, code="sign_magnitude")
    for step in range(20):
        cells.update(gradients(cells, step, 9.0), 1.0, 0.0)
    code = reference.encoded(cells.value, cells.options.half, "sign_magnitude")
    bits = code[:, None] >> np.arange(5) & 1
    assert (cells.bit_set - cells.bit_reset == bits).all()


def test_carries_beyond_the_most_pulses_are_counted_as_lost() -> None:
    cells = weights(most_pulses=2)
    sets = cells.n_set.sum()
    cells.update(np.full(cells.shape, -5.0 * cells.options.half * cells.unit, np.float32), 1.0, 0.0)
    assert cells.tally.carries == 5 * cells.size
    assert cells.tally.lost == 3 * cells.size
    assert cells.n_set.sum() - sets == 2 * cells.size


def test_rows_with_a_carry_are_counted_crossbar_by_crossbar() -> None:
    """Ten outputs on crossbars of four columns: each of six wordlines is a row three times."""
    cells = weights(shape=(10, 6), columns=4, most_pulses=3)
    assert cells.rows == 18
    gradient = np.zeros(cells.shape, np.float32)
    for output, row, carries in ((0, 2, 1), (3, 2, 2), (9, 2, 1), (9, 5, 7)):
        gradient[output, row] = -carries * cells.options.half * cells.unit
    cells.update(gradient, 1.0, 0.0)
    assert cells.tally.rows == 3
    assert cells.tally.longest == 2 + 1 + 3  # of the first crossbar, and of two rows of the third, cut to three pulses


# -- ideal cells -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(units=st.floats(0.5, 40), seed=st.integers(0, 100), bits=st.integers(3, 9))
def test_ideal_cells_are_integer_accumulators_bit_for_bit(units: float, seed: int, bits: int) -> None:
    cells = weights(seed=seed, bits=bits, range_sigmas=2.0, most_pulses=100, refresh_every=3)
    level = np.rint((cells.g[0] - cells.g[1]) / LEVEL_USIEMENS).astype(int)
    up, down = (np.rint(cells.g[row] / LEVEL_USIEMENS).astype(int) for row in range(2))
    value = cells.value.astype(int)
    for step in range(10):
        gradient = gradients(cells, step, units)
        amounts = (np.float32(-1 / cells.unit) * gradient).reshape(-1)
        value, carries = reference.accumulate(cells._key("update", step), amounts, True, cells.options.half, value)
        cells.update(gradient, 1.0, 0.0)
        up, down = up + np.maximum(carries, 0), down + np.maximum(-carries, 0)
        if max(up.max(), down.max()) * LEVEL_USIEMENS > cells.options.physics.full_usiemens:
            return  # a full cell takes no more: the law is one of cells that have room
        level = up - down
        expected = np.float32(cells.scale) * (LEVEL_USIEMENS * level).astype(np.float32)
        assert (cells.reader(float(step))(step).reshape(-1) == expected).all()


def test_ideal_refresh_changes_no_weight_and_empties_the_smaller_cell() -> None:
    cells = weights(range_sigmas=2.0)
    for step in range(40):
        cells.update(gradients(cells, step, 40.0), 1.0, 0.0)
    cells.g[:] = np.minimum(cells.g, LEVEL_USIEMENS * 13)  # whole levels where SET saturated
    before = cells.reader(0.0)(0)
    refreshed = cells.refresh(0.0)
    assert refreshed.any()
    assert (cells.reader(0.0)(0) == before).all()
    assert (cells.g.min(axis=0)[refreshed.reshape(-1)] == 0).all()


# -- the physics of cells: closed forms and check values ---------------------------------------------------------------

SET_MEAN = {1: 2.06, 2: 3.44, 4: 5.27, 8: 7.16, 12: 8.09, 20: 8.91}  # 200,000 cells of the model, full at 12 uS
SET_SIGMA = {1: 1.52, 2: 1.97, 4: 2.29, 8: 2.24, 12: 2.10, 20: 1.97}
STEPS = (1.82, 1.37, 1.05, 0.82, 0.65, 0.53, 0.44, 0.38)  # without noise


def pulsed(physics: Physics, n_pulses: int, n: int = N) -> np.ndarray:
    """Return conductances after RESET and each of some SET pulses: (pulses + 1, cells)."""
    options = HybridOptions(physics=physics)
    cells = HybridWeights.program("cells", np.zeros((1, n), np.float32), options, 0)
    conductances = [cells.g[0].copy()]
    gradient = np.full(cells.shape, -cells.unit * cells.options.half, np.float32)
    for _ in range(n_pulses):
        cells.update(gradient, 1.0, 0.0)
        conductances.append(cells.g[0].copy())
    return np.array(conductances)


def test_set_curve_without_noise() -> None:
    steps = np.diff(pulsed(replace(IDEAL, nonlinear=True), 8, 3)[:, 0])
    assert steps == pytest.approx(STEPS, abs=0.005)


def test_set_curve_and_its_spread() -> None:
    conductances = pulsed(Physics(read_noise=False, drift="none"), 20)
    for n, mean in SET_MEAN.items():
        sigma = SET_SIGMA[n]
        assert conductances[n].mean() == pytest.approx(mean, abs=0.005 + FIVE_SIGMA * sigma / math.sqrt(N))
        assert conductances[n].std() == pytest.approx(sigma, abs=0.005 + FIVE_SIGMA * sigma / math.sqrt(N))
    assert conductances.max() <= 12.0


def test_reset_leaves_a_tenth_of_a_microsiemens() -> None:
    conductances = pulsed(Physics(), 0)[0]
    assert conductances.mean() == pytest.approx(0.1, abs=FIVE_SIGMA * 0.01 / math.sqrt(N))
    assert conductances.std() == pytest.approx(0.01, abs=FIVE_SIGMA * 0.01 / math.sqrt(2 * N))


@pytest.mark.parametrize("g", [2.0, 8.0])
def test_reads_scatter_as_the_model_says(g: float) -> None:
    cells = weights(replace(IDEAL, read_noise=True), (1, N))
    cells.g[0], cells.g[1] = g, 5.0
    differences = cells.reader(0.0)(1) / cells.scale
    sigma = math.hypot(0.03 * g + 0.13, 0.03 * 5 + 0.13)
    assert differences.mean() == pytest.approx(g - 5, abs=FIVE_SIGMA * sigma / math.sqrt(N))
    assert differences.std() == pytest.approx(sigma, abs=FIVE_SIGMA * sigma / math.sqrt(2 * N))
    again = cells.reader(0.0)(2) / cells.scale
    assert abs(np.corrcoef(differences, again)[0, 1]) < FIVE_SIGMA / math.sqrt(N)


def test_drift_is_a_power_law_from_the_last_pulse_on() -> None:
    cells = weights(replace(IDEAL, nonlinear=True, drift="alike"), (1, 4))
    cells.g[:], cells.since_s[:] = 4.0, 100.0
    for age_s in (0.0, 1.0, 3600.0, 3.15e7):
        expected = 4.0 * ((age_s + 38.6) / 38.6) ** -0.04
        assert cells.drifted(100.0 + age_s) == pytest.approx(np.full((2, 4), expected), rel=1e-6)


def test_a_pulse_begins_drift_anew_for_its_cell_alone() -> None:
    cells = weights(replace(IDEAL, nonlinear=True, drift="alike"), (1, 4))
    cells.update(np.full(cells.shape, -cells.unit * cells.options.half, np.float32), 1.0, 1e6)
    assert (cells.since_s[0] == 1e6).all()
    assert (cells.since_s[1] == 0.0).all()
    assert (cells.drifted(1e6)[0] == cells.g[0]).all()
    assert (cells.drifted(1e6)[1] < cells.g[1]).all()


def test_exponents_by_conductance_are_those_of_the_iterative_model() -> None:
    cells = weights(replace(IDEAL, drift="by_conductance"), (1, N), range_usiemens=LEVEL_USIEMENS, range_sigmas=1.0)
    cells.update(np.full(cells.shape, -cells.unit * cells.options.half * 6, np.float32), 1.0, 0.0)
    levels, n_cells = np.unique(cells.g[0], return_counts=True)
    assert len(levels) == 2 and n_cells.min() > N / 10  # noqa: PT018
    for one in levels:
        exponents, r = cells.exponent[0][cells.g[0] == one], one / 25
        mean = np.clip(-0.0155 * math.log(r) + 0.0244, 0.049, 0.1)
        sigma = np.clip(-0.0125 * math.log(r) - 0.0059, 0.008, 0.045)
        assert exponents.mean() == pytest.approx(mean, abs=FIVE_SIGMA * sigma / math.sqrt(exponents.size) + 1e-4)
        assert exponents.std() == pytest.approx(sigma, rel=0.05)


def test_a_binary_cell_is_hardly_ever_read_wrong() -> None:
    """Off at 0.1 uS, threshold at 1 uS, noise 0.133 uS: 6.8 sigma."""
    assert bit_error_frac() == pytest.approx(6.7e-12, rel=0.05)
    assert bit_error_frac(contrast=1.2) == pytest.approx(math.erfc((10 - 10 / 1.2**0.5) / 0.43 / 2**0.5) / 2)


def test_written_weights_come_near_what_was_asked() -> None:
    initial = np.random.default_rng(0).standard_normal((40, 500)).astype(np.float32)
    ideal = HybridWeights.program("layer", initial, HybridOptions(IDEAL, range_sigmas=4.0), 0)
    aimed = np.clip(initial / ideal.scale, -8, 8)
    assert np.abs((ideal.g[0] - ideal.g[1]).reshape(initial.shape) - aimed).max() <= LEVEL_USIEMENS / 2 + 1e-5
    real = HybridWeights.program("layer", initial, HybridOptions(range_sigmas=4.0), 0)
    assert np.corrcoef(real.reader(0.0)(0).ravel(), initial.ravel())[0, 1] > 0.85


# -- kernels against plain numpy ---------------------------------------------------------------------------------------


def twin(of: HybridWeights) -> reference.Pairs:
    arrays = [array.copy() for array in (of.g, of.pulses, of.since_s, of.exponent, of.n_set, of.n_reset)]
    return reference.Pairs(of.options.physics.cell, *arrays)


@pytest.mark.parametrize("drift", ["none", "alike", "by_conductance"])
def test_kernels_equal_plain_numpy(drift: Any) -> None:
    cells = weights(Physics(drift=drift), (33, 50))
    other = twin(cells)
    options = cells.options
    for step in range(30):
        now_s = other.now_s = 7.0 * step
        key = cells._key("update", cells.tally.updates)
        carries = cells.update(gradients(cells, step, 60.0), 1.0, now_s)
        other.carry(int(key), carries.reshape(-1), options.most_pulses)
        if step % 5 == 4:
            key = cells._key("refresh", cells.tally.checks)
            limits = (options.refresh_larger, options.refresh_smaller, LEVEL_USIEMENS / 2, options.most_writes)
            assert (cells.refresh(now_s).reshape(-1) == other.refresh(int(key), *limits)).all()
    assert cells.tally.refreshed > 0
    assert (cells.n_set == other.n_set).all()
    assert (cells.n_reset == other.n_reset).all()
    assert (cells.pulses == other.pulses).all()
    assert cells.g == pytest.approx(other.g, abs=2e-4)
    assert cells.exponent == pytest.approx(other.exponent, abs=1e-5)
    other.now_s = 1e5
    assert cells.drifted(1e5) == pytest.approx(other.drifted(), abs=2e-4)
    read = cells.reader(1e5)(4).reshape(-1)
    assert read == pytest.approx(other.read(int(cells._key("read", 4)), cells.scale), abs=5e-4 * cells.scale)


def test_a_write_equals_plain_numpy() -> None:
    options, initial = HybridOptions(), np.random.default_rng(1).standard_normal((9, 40)).astype(np.float32)
    cells = HybridWeights.program("layer", initial, options, 5)
    other = twin(cells)
    other.n_set[:], other.n_reset[:] = 0, 0
    aim = np.clip(initial.reshape(-1) / cells.scale, -8.0, 8.0).astype(float)
    other.write(int(cells._key("write", 0)), other.everyone, aim, LEVEL_USIEMENS / 2, options.most_writes)
    assert (cells.n_set == other.n_set).all()
    assert cells.g == pytest.approx(other.g, abs=2e-4)


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_converter_equals_plain_numpy(stochastic: bool) -> None:
    x, codes = np.random.default_rng(2).standard_normal(10_000).astype(np.float32), np.empty(10_000, np.float32)
    kernels.quantise(x, 0.02, 127, np.uint64(9), stochastic, codes)
    assert (codes == reference.quantise(x, 0.02, 127, 9, stochastic)).all()
    if stochastic:
        inside = np.abs(x) < 2.5
        assert abs((codes - x)[inside].mean()) < FIVE_SIGMA * 0.02 / 2 / math.sqrt(inside.sum())


# -- wear as a table ---------------------------------------------------------------------------------------------------


def test_wear_adds_up() -> None:
    cells = weights(Physics(), (20, 60))
    for step in range(50):
        cells.update(gradients(cells, step, 80.0), 1.0, 0.0)
        cells.refresh(0.0)
    table = {entry.part: entry for entry in wear([cells])}
    assert list(table) == ["positive", "negative", *(f"bit {n}" for n in range(7))]
    for part, resets, sets in parts(cells):
        assert table[part].cycles_max == resets.max()
        assert table[part].sets_mean == pytest.approx(sets.mean())
        assert (resets <= table[part].cycles_tail).mean() >= 0.999
    counts = histograms([cells])
    assert all(sum(bars.values()) == cells.size for bars in counts.values())
    assert max(map(int, counts["bit 0"])) == table["bit 0"].cycles_max
