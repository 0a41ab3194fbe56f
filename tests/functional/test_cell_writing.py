"""Does writing cell by cell follow its pulses one by one, and the statistics that its write circuits declare?"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from imcsim.functional.kernels import reference
from imcsim.hardware.kernels.write_verify import normals
from imcsim.hardware.pulsed_cell import PulsedCell
from imcsim.hardware.write_circuits import Written
from imcsim.hardware.write_circuits.verify import Verify, draw_counts, write_verify
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from tests.hardware.test_write_circuit import distributions, fixed, geometric, preset, sigma_ns, verify

CELL = PulsedCell(
    set_step_usiemens=2.0, reset_step_usiemens=1.5, growth_frac=0.0, step_sigma_frac=0.3, read_sigma_usiemens=0.4,
    band_usiemens=1.5, g_min_usiemens=1.0, g_max_usiemens=60.0,
)  # fmt: skip
STILL = CELL._replace(step_sigma_frac=0.0, read_sigma_usiemens=0.0)


def levels(rows: int, columns: int, *purpose: str | int) -> Any:
    """Conductances between 5 and 50 uS."""
    return random_streams.rng(2, "levels", *purpose).uniform(5, 50, (rows, columns))


def plain_write(target: Any, present: Any, factor: Any, cell: PulsedCell, cap: int, drawn: list[Any]) -> Any:
    """One cell, pulse by pulse; ``drawn``: the two numbers of every turn."""
    turns, g, pulses, alike, last = iter(drawn), present, 0, 0, ""
    missing = target - cell.read_sigma_usiemens * next(turns)[1] - g
    while abs(missing) > cell.band_usiemens and pulses < cap:
        direction = "set" if missing > 0 else "reset"
        alike = alike + 1 if direction == last else 0  # pulses before this one in the same direction
        step = factor * (cell.set_step_usiemens if direction == "set" else -cell.reset_step_usiemens)
        varied, noise = next(turns)
        g += step * (1 + cell.growth_frac * alike) * (1 + cell.step_sigma_frac * varied)
        g = min(max(g, cell.g_min_usiemens), cell.g_max_usiemens)
        pulses, last = pulses + 1, direction
        missing = target - cell.read_sigma_usiemens * noise - g
    return g, pulses, abs(missing) > cell.band_usiemens


def plain_row_time_ns(pulses: Any, verifies: Any, circuit: Verify) -> list[float]:
    size = pulses.shape[1] if circuit.cells_at_once == "row" else circuit.cells_at_once
    times = []
    for row_pulses, row_verifies in zip(pulses.tolist(), verifies.tolist(), strict=True):
        time_ns = 0.0
        for start in range(0, len(row_pulses), size):
            time_ns += circuit.row_setup_ns + max(row_pulses[start : start + size]) * circuit.pulse_ns
            time_ns += max(row_verifies[start : start + size]) * circuit.verify_ns
        times.append(time_ns)
    return times


def assert_adds_up(written: Written, circuit: Verify) -> None:
    """Time is the maximum over the cells of a group, energy and wear are sums."""
    assert written.row_time_ns == pytest.approx(plain_row_time_ns(written.pulses, written.verifies, circuit))
    assert written.time_ns == pytest.approx(sum(written.row_time_ns))
    assert written.n_pulses == sum(written.pulses.ravel().tolist())
    energy = written.pulses * circuit.pulse_pj + written.verifies * circuit.verify_pj
    assert written.energy_pj == pytest.approx(energy.sum())


# -- pulse by pulse ------------------------------------------------------------------------------------------------

sigmas = st.sampled_from([0.0, 0.3, 1.5])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 9), st.integers(1, 30), sigmas, sigmas, st.sampled_from([0.0, 0.2]),
    st.floats(0.5, 4), st.integers(1, 9) | st.just("row"), st.integers(0, 99),
)  # fmt: skip
def test_kernel_equals_the_plain_loop_on_the_same_random_numbers(
    rows: int, columns: int, cap: int, step: float, read: float, growth: float, band: float, at_once: Any, seed: int
) -> None:
    cell = CELL._replace(step_sigma_frac=step, read_sigma_usiemens=read, growth_frac=growth, band_usiemens=band)
    circuit = verify(fixed(1), cap=cap, cells_at_once=at_once, row_setup_ns=3.0, verify_pj=0.3)
    target, present, factor = (levels(rows, columns, name, seed) for name in ("target", "present", "factor"))
    factor /= 25
    final, written = write_verify(target, present, cell, circuit, random_streams.rng(seed, "write"), factor)
    key = random_streams.rng(seed, "write").integers(2**64, dtype=np.uint64)
    drawn = normals(key, rows * columns, cap + 1)
    cells = zip(target.flat, present.flat, factor.flat, drawn.tolist(), strict=True)
    plain = [plain_write(*values[:3], cell, cap, values[3]) for values in cells]
    assert written.pulses.ravel().tolist() == [pulses for _, pulses, _ in plain]
    assert written.failed.ravel().tolist() == [failed for _, _, failed in plain]
    assert final.ravel().tolist() == [g for g, _, _ in plain]
    assert np.array_equal(written.verifies, written.pulses + 1)
    assert_adds_up(written, circuit)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    results, before = [], numba.get_num_threads()
    try:
        for n_threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n_threads)
            random = random_streams.rng(1, "threads")
            results.append(write_verify(levels(64, 33, 1), levels(64, 33, 2), CELL, preset("radar2b_row"), random))
    finally:
        numba.set_num_threads(before)
    (first, one), (second, two) = results
    assert np.array_equal(first, second)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_cells_are_independent_and_another_seed_writes_differently() -> None:
    target, present = np.full((40, 50), 30.0), np.full((40, 50), 10.0)
    final, _ = write_verify(target, present, CELL, preset("radar2b_row"), random_streams.rng(1, "a"))
    assert np.unique(final).size == final.size
    other, _ = write_verify(target, present, CELL, preset("radar2b_row"), random_streams.rng(1, "b"))
    assert not np.any(final == other)
    alone, _ = write_verify(target[:3], present[:3], CELL, preset("radar2b_row"), random_streams.rng(1, "a"))
    assert np.array_equal(alone, final[:3])


@pytest.mark.parametrize("growth", [0.0, 0.1])
def test_steps_without_noise_take_the_pulses_of_their_closed_form(growth: float) -> None:
    target, present = levels(30, 30, "to"), levels(30, 30, "from")
    cell = STILL._replace(growth_frac=growth, band_usiemens=8.0)  # wide: no step jumps over it
    final, written = write_verify(target, present, cell, preset("radar2b_row"), random_streams.rng(0))
    way, first = np.abs(target - present) - 8.0, np.where(target > present, 2.0, 1.5)
    n = np.arange(100)
    reached = first[..., None] * (n + growth * n * (n - 1) / 2)
    assert np.array_equal(written.pulses, (reached < way[..., None] - 1e-9).sum(axis=-1))
    assert final == pytest.approx(present + np.sign(target - present) * np.take_along_axis(
        reached, written.pulses[..., None], axis=-1)[..., 0])  # fmt: skip


def test_cells_that_pass_a_read_without_noise_lie_within_the_band() -> None:
    cell = STILL._replace(step_sigma_frac=0.5)
    target = levels(60, 60, "to")
    final, written = write_verify(
        target, levels(60, 60, "from"), cell, verify(fixed(1), cap=12), random_streams.rng(0, "band")
    )
    passed = np.abs(final - target) <= cell.band_usiemens
    assert np.array_equal(passed, ~written.failed)
    assert 0 < written.failed.mean() < 1
    assert written.pulses.max() == 12 == written.pulses[written.failed].min()
    assert final.min() >= cell.g_min_usiemens
    assert final.max() <= cell.g_max_usiemens


def test_cells_already_in_the_band_take_one_read_and_no_pulse() -> None:
    present, circuit = levels(20, 20) / 2, verify(fixed(1), cells_at_once=5, row_setup_ns=10.0)
    target = present.copy()
    target[:, 7] += 20  # one cell of the second group of each row
    final, written = write_verify(target, present, STILL, circuit, random_streams.rng(0))
    is_same = np.arange(20) != 7
    assert np.array_equal(final[:, is_same], present[:, is_same])
    assert np.array_equal(written.pulses, np.where(is_same, 0, 10) * np.ones((20, 1)))
    assert written.row_time_ns == pytest.approx(np.full(20, 4 * (10 + 40) + 10 * (60 + 40)))


def test_a_stuck_cell_takes_all_pulses_and_fails() -> None:
    factor = np.ones((4, 4))
    factor[1, 2] = 0.0
    final, written = write_verify(
        np.full((4, 4), 40.0),
        np.full((4, 4), 10.0),
        CELL,
        preset("radar2b_row"),
        random_streams.rng(0, "stuck"),
        factor,
    )
    assert written.failed.tolist() == (factor == 0).tolist()
    assert (final[1, 2], written.pulses[1, 2]) == (10.0, 100)


def test_the_noise_is_normal() -> None:
    drawn = normals(np.uint64(7), 400, 2500).astype(float)
    n = drawn.size
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / n)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-6
    for level in (1.0, 2.0, 3.0, 3.5, 4.0, 4.5):
        for side in (drawn, -drawn):
            p = stats.norm.sf(level)
            assert abs((side > level).mean() - p) < 5 * math.sqrt(p / n)


def test_the_noise_is_independent() -> None:
    """Of the other number of the pair, of other turns, of other cells."""
    drawn = normals(np.uint64(8), 400, 2500).astype(float)
    neighbours = [(drawn[..., 0], drawn[..., 1]), (drawn[1:], drawn[:-1])]
    neighbours += [(drawn[:, apart:], drawn[:, :-apart]) for apart in (1, 2, 4, 64)]
    neighbours.append((drawn[:, 1:, 0], drawn[:, :-1, 1]))
    for a, b in neighbours:
        for values in ((a, b), (a**2, b**2), (a, b**2)):
            assert abs(np.corrcoef(*(value.ravel() for value in values))[0, 1]) < 5 / math.sqrt(a.size)


def test_the_noise_equals_the_plain_one() -> None:
    """Same bits, with the logarithm, sine and cosine of numpy: within 1e-5 but where a radius is all but 0."""
    cells, turns = np.arange(50, dtype=np.uint64), np.arange(2000)
    key = reference.mixed(np.array([9], np.uint64), cells)[:, None]
    expected = np.stack(reference.pair(reference.hashed(key, 2 * turns), reference.hashed(key, 2 * turns + 1)), axis=-1)
    error = np.abs(normals(np.uint64(9), 50, 2000) - expected)
    assert error.max() < 1e-3
    assert (error > 1e-5).mean() < 1e-3


def test_many_cells_and_few_are_written_alike() -> None:
    """Blocks of cells and idle slots are not seen from outside: cell by cell, the same."""
    cell, circuit = CELL._replace(band_usiemens=0.7, growth_frac=0.1), verify(fixed(1), cap=8)
    target, present = levels(1, 3000, "to"), levels(1, 3000, "from")
    final, written = write_verify(target, present, cell, circuit, random_streams.rng(5, "blocks"))
    drawn = normals(random_streams.rng(5, "blocks").integers(2**64, dtype=np.uint64), 3000, 9).tolist()
    plain = [plain_write(*values, cell, 8, turns) for *values, turns in zip(
        target.flat, present.flat, np.ones(3000), drawn, strict=True)]  # fmt: skip
    assert list(zip(final.flat, written.pulses.flat, written.failed.flat, strict=True)) == plain
    assert 0 < written.failed.mean() < 1


# -- counts only ---------------------------------------------------------------------------------------------------


def assert_mean(values: Any, beyond: Any, mean: float) -> None:
    """Within 5 standard errors, exact for counts of which P(count > j) is ``beyond[j]``."""
    variance = ((2 * np.arange(len(beyond)) + 1) * beyond).sum() - beyond.sum() ** 2
    assert abs(np.mean(values) - mean) < 5 * math.sqrt(max(variance, 0.0) / np.size(values)) + 1e-6


def beyond(circuit: Verify, cells: int) -> Any:
    """P(the slowest of some cells takes more than j pulses)."""
    return 1 - (1 - circuit.survival) ** cells


def test_radar_statistics() -> None:
    uncapped = preset("radar2b_serial").model_copy(update={"cells_at_once": "row"})
    written = draw_counts(uncapped, 4000, 128, random_streams.rng(1, "radar"))
    print(f"mean {written.pulses.mean():.3f}, mean maximum of 128 cells {written.pulses.max(axis=1).mean():.2f}")
    assert_mean(written.pulses, uncapped.survival, uncapped.mean_pulses)
    assert written.pulses.mean() == pytest.approx(8.27, abs=0.08)
    assert_mean(written.pulses.max(axis=1), beyond(uncapped, 128), uncapped.expected_max(128))
    assert written.pulses.max(axis=1).mean() == pytest.approx(57, abs=1)
    for pulses, prob in ((5, 0.5), (21, 0.9), (38, 0.99), (71, 0.999)):
        error = 5 * math.sqrt(prob * (1 - prob) / written.pulses.size)
        assert (written.pulses <= pulses).mean() > prob - error
        assert (written.pulses <= pulses - 1).mean() < prob + error


@settings(max_examples=40, deadline=None, derandomize=True)
@given(distributions, st.integers(20, 80), st.sampled_from([0.0, 0.2]), st.sampled_from(["accept", "retry"]))
def test_drawn_counts_have_the_expected_values(pulses: Any, cap: int, missed: float, on_failure: Any) -> None:
    at_once = 7
    circuit = verify(pulses, cap=cap, missed_frac=missed, cells_at_once=at_once, on_failure="accept")
    if circuit.fail_frac < 0.4:
        circuit = circuit.model_copy(update={"on_failure": on_failure})
    written = draw_counts(circuit, 500, 3 * at_once, random_streams.rng(1, "counts"))
    assert_mean(written.pulses, circuit.survival, circuit.mean_pulses)
    slowest = written.pulses.reshape(500, 3, at_once).max(axis=2)
    assert_mean(slowest, beyond(circuit, at_once), circuit.expected_max(at_once))
    spread = math.sqrt(circuit.fail_frac * (1 - circuit.fail_frac) / written.failed.size)
    assert abs(written.failed.mean() - circuit.fail_frac) <= 5 * spread + 1e-9
    assert written.row_time_ns == pytest.approx(slowest.sum(axis=1) * (60 + 40))


def test_geometric_counts_have_their_closed_distribution() -> None:
    written = draw_counts(verify(geometric(5.0), cap=10_000), 300, 300, random_streams.rng(4, "geometric"))
    for n in (1, 2, 5, 10, 20, 30):
        p = 0.8**n
        assert abs((written.pulses > n).mean() - p) < 5 * math.sqrt(p * (1 - p) / written.pulses.size)
    assert not written.failed.any()


def test_fixed_counts_a_cap_and_unchanged_cells() -> None:
    unchanged = np.arange(12).reshape(3, 4) % 2 == 0
    circuit = verify(fixed(9), cap=6, cells_at_once=2, row_setup_ns=5.0, verify_ns=0.0)
    written = draw_counts(circuit, 3, 4, random_streams.rng(0), unchanged)
    assert written.pulses.tolist() == np.where(unchanged, 0, 6).tolist()
    assert written.failed.tolist() == (~unchanged).tolist()
    assert not written.verifies.any()  # a pulse without reads is trusted
    assert written.time_ns == pytest.approx(3 * 2 * (6 * 60 + 5))
    assert_adds_up(written, circuit)


@pytest.mark.parametrize("name", ["radar2b_row", "radar2b_serial", "neurram_serial", "ideal_single", "pcm_row"])
def test_counts_of_presets_take_the_expected_time_and_energy(name: str) -> None:
    circuit = preset(name)
    assert isinstance(circuit, Verify)
    written = draw_counts(circuit, 1000, 64, random_streams.rng(1, name))
    assert_adds_up(written, circuit)
    error_ns = 5 * sigma_ns(circuit, 1, 64, 64 if circuit.cells_at_once == "row" else circuit.cells_at_once, 0.0)
    assert abs(written.row_time_ns.mean() - circuit.time_ns(1, 64)) < error_ns / math.sqrt(1000) + 1e-3
    prices, cells = circuit.prices_pj(), written.pulses.size
    expected_pj = sum(prices[action] * n for action, n in circuit.amounts(1000, 64, cells).items())
    spread_pj = sum(prices.values()) * written.pulses.std() * math.sqrt(cells)
    assert abs(written.energy_pj - expected_pj) <= 5 * spread_pj + 1e-6 * expected_pj


@pytest.mark.parametrize(
    ("changes", "on_failure", "message"),
    [
        ({"band_usiemens": -1.0}, "accept", "cell.band_usiemens: -1.0 must be"),
        ({"set_step_usiemens": math.nan}, "accept", "cell.set_step_usiemens: nan must be"),
        ({"g_min_usiemens": 70.0}, "accept", "cell.g_min_usiemens: 70.0 is above"),
        ({}, "retry", "circuit.on_failure: write-verify keeps"),
    ],
)
def test_cells_and_circuits_that_are_refused(changes: dict[str, float], on_failure: Any, message: str) -> None:
    circuit = verify(fixed(1), on_failure=on_failure)
    with pytest.raises(ImcsimError, match=message):
        write_verify(levels(2, 2), levels(2, 2), CELL._replace(**changes), circuit, random_streams.rng(0))


def test_matrices_that_do_not_fit() -> None:
    with pytest.raises(ImcsimError, match="shapes differ"):
        write_verify(levels(2, 3), levels(3, 2), CELL, verify(fixed(1)), random_streams.rng(0))
    with pytest.raises(ImcsimError, match="must be finite"):
        write_verify(levels(2, 2) * math.inf, levels(2, 2), CELL, verify(fixed(1)), random_streams.rng(0))
