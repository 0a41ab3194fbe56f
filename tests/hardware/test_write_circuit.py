"""Does writing take the time, the pulses and the energy that its closed forms say?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.hardware.hardware import load_hardware
from imcsim.hardware.pulses import Fixed, Geometric, Quantiles
from imcsim.hardware.write_circuits.array import Array
from imcsim.hardware.write_circuits.verify import Verify, draw_counts
from imcsim.hardware.write_circuits.word import Word
from imcsim.util import presets, random_streams
from imcsim.util.errors import ImcsimError

PRESETS = list(presets.shipped_files("hwconfigs/write"))


def preset(name: str) -> Verify | Word | Array:
    write: Verify | Word | Array = load_hardware("rram-256", write=name).cell.write
    return write


def verify(pulses: Fixed | Geometric | Quantiles, **changes: Any) -> Verify:
    fields: dict[str, Any] = {
        "name": "v", "description": "", "kind": "verify", "pulse_ns": 60.0, "verify_ns": 40.0, "row_setup_ns": 0.0,
        "cap": 1000, "missed_frac": 0.0, "on_failure": "accept", "cells_at_once": "row", "max_crossbars_at_once": "all",
        "pulse_pj": 1.0, "verify_pj": 1.0, "endurance_writes": 1e6,
    }  # fmt: skip
    return Verify(pulses=pulses, **(fields | changes))


def geometric(mean: float) -> Geometric:
    return Geometric(kind="geometric", mean=mean)


def fixed(n: int) -> Fixed:
    return Fixed(kind="fixed", n=n)


@st.composite
def quantiles(draw: st.DrawFn) -> Quantiles:
    n = draw(st.integers(1, 6))
    probs = sorted(draw(st.lists(st.floats(0.01, 0.99), min_size=n, max_size=n, unique=True)))
    counts = sorted(draw(st.lists(st.integers(1, 60), min_size=n, max_size=n, unique=True)))
    return Quantiles(kind="quantiles", points=((0.0, 0.0), *zip(probs, counts, strict=True), (1.0, 70.0)))


distributions = st.one_of(st.integers(1, 30).map(fixed), st.floats(1, 30).map(geometric), quantiles())


# -- published numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "time_ns", "tolerance_frac"),
    [
        ("ideal_single", 6_400, 0),
        ("puma_bulk", 10_970, 2e-4),
        ("radar2b_row", 1.27e6, 3e-3),
        ("ember2b_word", 128 * 3 * 16_200, 1e-12),
        ("radar2b_serial", 27.1e6, 1e-3),
        ("neurram_serial", 279e6, 1e-3),
    ],
)
def test_time_to_write_128_by_128_cells(name: str, time_ns: float, tolerance_frac: float) -> None:
    assert preset(name).time_ns(128, 128) == pytest.approx(time_ns, rel=tolerance_frac)


@pytest.mark.parametrize(("cells", "pulses"), [(1, 8.27), (8, 23.5), (64, 45.4), (128, 57.4)])
def test_measured_mean_and_maxima_of_radar_without_cap(cells: int, pulses: float) -> None:
    write = preset("radar2b_serial")
    assert isinstance(write, Verify)
    assert write.expected_max(cells) == pytest.approx(pulses, rel=2e-3)


def test_measured_spread_of_radar() -> None:
    write = preset("radar2b_serial")
    assert isinstance(write, Verify)
    mean_square = ((2 * np.arange(len(write.survival)) + 1) * write.survival).sum()
    assert math.sqrt(mean_square - write.mean_pulses**2) == pytest.approx(9.83, rel=2e-3)


def test_measured_quantiles_and_capped_maximum_of_radar() -> None:
    write = preset("radar2b_row")
    assert isinstance(write, Verify)
    assert write.expected_max(128) == pytest.approx(49.7, rel=2e-3)
    for pulses, prob in ((5, 0.5), (21, 0.9), (38, 0.99), (71, 0.999)):
        assert 1 - write.survival[pulses] >= prob > 1 - write.survival[pulses - 1]
    assert write.fail_frac == pytest.approx(0.039, abs=1e-3)


@pytest.mark.parametrize(("cells", "pulses"), [(8, 21.6), (48, 35.1), (128, 42.7)])
def test_maxima_of_geometric_pulses(cells: int, pulses: float) -> None:
    assert verify(geometric(8.27)).expected_max(cells) == pytest.approx(pulses, abs=0.05)


# -- closed forms --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(1, 20), st.integers(1, 12))
def test_geometric_maximum_by_inclusion_and_exclusion(mean: float, cells: int) -> None:
    stay = 1 - 1 / mean
    exact = sum((-1) ** (i + 1) * math.comb(cells, i) / (1 - stay**i) for i in range(1, cells + 1))
    assert verify(geometric(mean)).expected_max(cells) == pytest.approx(exact, rel=1e-6)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_fixed_pulses_take_rows_times_words_times_pulses(n: int, rows: int, columns: int, at_once: int) -> None:
    write = verify(fixed(n), cells_at_once=at_once, row_setup_ns=7.0)
    assert write.time_ns(rows, columns) == pytest.approx(rows * -(-columns // at_once) * (n * 100 + 7))
    assert write.amounts(rows, columns, rows * columns)["pulse"] == pytest.approx(n * rows * columns)


@settings(deadline=None)
@given(distributions, st.integers(1, 20), st.floats(0, 1))
def test_maximum_lies_between_mean_and_sum_and_falls_with_unchanged_cells(pulses: Any, cells: int, phi: float) -> None:
    write = verify(pulses)
    assert write.expected_max(1) == pytest.approx(write.mean_pulses)
    assert write.mean_pulses - 1e-9 <= write.expected_max(cells) <= cells * write.mean_pulses + 1e-9
    assert write.expected_max(cells, phi) <= write.expected_max(cells) + 1e-9
    direct = sum(1 - (phi + (1 - phi) * (1 - s)) ** cells for s in write.survival)
    assert write.expected_max(cells, phi) == pytest.approx(direct, abs=1e-7)


@settings(deadline=None)
@given(distributions, st.integers(1, 80), st.floats(0, 0.3))
def test_a_cap_cuts_the_distribution_and_counts_the_failures(pulses: Any, cap: int, missed: float) -> None:
    write = verify(pulses, cap=cap, missed_frac=missed)
    beyond = 1 - float(pulses.cdf(np.array([float(cap)]))[0])
    assert write.fail_frac == pytest.approx(beyond + missed * (1 - beyond), abs=1e-9)
    uncapped = verify(pulses).survival
    assert write.mean_pulses == pytest.approx(uncapped[:cap].sum())


@settings(deadline=None)
@given(distributions, st.integers(5, 80), st.floats(0, 0.3))
def test_retries_take_attempts_until_one_succeeds(pulses: Any, cap: int, missed: float) -> None:
    attempt = verify(pulses, cap=cap, missed_frac=missed)
    if attempt.fail_frac > 0.5:
        with pytest.raises(ValueError, match="retrying hardly ends"):
            verify(pulses, cap=cap, missed_frac=missed, on_failure="retry")
        return
    retry = verify(pulses, cap=cap, missed_frac=missed, on_failure="retry")
    assert retry.fail_frac == 0
    assert retry.mean_pulses == pytest.approx(attempt.mean_pulses / (1 - attempt.fail_frac), rel=1e-6)


def test_more_columns_rows_or_pulses_never_write_faster() -> None:
    for name in PRESETS:
        times = [preset(name).time_ns(rows, columns) for rows, columns in ((1, 1), (8, 32), (64, 100), (256, 256))]
        assert times == sorted(times), name


def test_unchanged_cells_hardly_shorten_rows_but_spare_pulses() -> None:
    row, serial = preset("radar2b_row"), preset("radar2b_serial")
    assert row.time_ns(128, 128, 0.25) > 0.9 * row.time_ns(128, 128)
    assert serial.time_ns(128, 128, 0.25) == pytest.approx(0.75 * serial.time_ns(128, 128))
    assert row.amounts(128, 128, 100, 0.25)["pulse"] == pytest.approx(0.75 * row.amounts(128, 128, 100)["pulse"])
    word = preset("ember2b_word")
    assert word.time_ns(1, 48, 0.5) == pytest.approx(16_200 * (1 - 0.5**48))


# -- drawn times ---------------------------------------------------------------------------------------------------


def sigma_ns(write: Verify, rows: int, columns: int, at_once: int, phi: float) -> float:
    """The exact standard deviation of the time: groups are independent, each ends with its slowest cell."""
    sizes = [at_once] * (columns // at_once) + [columns % at_once] * (columns % at_once > 0)
    beyond = [1 - (1 - (1 - phi) * write.survival) ** cells for cells in sizes]
    variances = [((2 * np.arange(len(p)) + 1) * p).sum() - p.sum() ** 2 for p in beyond]
    return (write.pulse_ns + write.verify_ns) * math.sqrt(rows * max(sum(variances), 0.0))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(distributions, st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.9))
def test_drawn_times_have_the_expected_mean(pulses: Any, rows: int, columns: int, at_once: int, phi: float) -> None:
    write, random, n = verify(pulses, cells_at_once=at_once), random_streams.rng(1, "mean"), 600
    drawn = [write.sample_time_ns(rows, columns, phi, random) for _ in range(n)]
    tolerance = 5 * sigma_ns(write, rows, columns, at_once, phi) / math.sqrt(n) + 1e-3
    assert abs(np.mean(drawn) - write.time_ns(rows, columns, phi)) < tolerance


def test_drawn_maxima_equal_the_maxima_of_drawn_cells() -> None:
    write, random, n, cells, phi = preset("radar2b_row"), random_streams.rng(1, "cells"), 4000, 16, 0.2
    assert isinstance(write, Verify)
    pulses = np.searchsorted(1 - write.survival, 1 - random.random((n, cells)))
    slowest = np.where(random.random((n, cells)) < phi, 0, pulses).max(axis=1)
    drawn = np.array([write.sample_time_ns(1, cells, phi, random) / 200 for _ in range(n)])
    for level in (5, 10, 20, 40, 80):
        a, b = (slowest <= level).mean(), (drawn <= level).mean()
        assert abs(a - b) < 5 * math.sqrt((a * (1 - a) + b * (1 - b)) / n + 1 / n**2)


@pytest.mark.parametrize("name", PRESETS)
def test_every_write_preset_obeys_the_common_laws(name: str) -> None:
    hardware = load_hardware("rram-256", write=name)
    write, random = hardware.cell.write, random_streams.rng(3, name)
    assert write.name == name
    drawn = np.array([write.sample_time_ns(4, 128, 0.0, random) for _ in range(300)])
    tolerance = 5 * drawn.std() / math.sqrt(300) + 1e-6 * drawn.mean()
    assert abs(drawn.mean() - write.time_ns(4, 128)) < tolerance
    amounts = write.amounts(4, 128, 512)
    assert set(amounts) <= set(hardware.all_parts()["cell"].actions_pj)
    assert all(amount > 0 for amount in amounts.values())
    assert 1 <= write.crossbars_at_once(256) <= 256
    assert 0 <= write.fail_frac < 1 <= write.mean_pulses <= write.endurance_writes
    assert all(hardware.source(key) for key in hardware.numbers() if key.startswith("cell.write"))


def test_a_limit_of_crossbars_written_at_once() -> None:
    write = load_hardware("rram-256", {"cell.write.max_crossbars_at_once": 8}).cell.write
    assert [write.crossbars_at_once(n) for n in (4, 8, 256)] == [4, 8, 8]


@pytest.mark.parametrize(
    "points", ["[]", "[[0, 0]]", "[[0.1, 0], [1, 3]]", "[[0, 0], [0.9, 3]]", "[[0, 0], [0.5, 3], [0.5, 4], [1, 5]]"]
)
def test_quantiles_that_are_none(points: str) -> None:
    with pytest.raises(ImcsimError, match="quantiles must"):
        load_hardware("rram-256", {"cell.write.pulses.points": points}, write="radar2b_row")


# -- selective verify ----------------------------------------------------------------------------------------------


fractions = st.floats(0, 1)


def test_verifying_all_cells_is_what_leaving_it_out_means() -> None:
    for pulses in (fixed(3), geometric(8.27)):
        default, explicit = verify(pulses), verify(pulses, verified_frac=1.0)
        assert default.time_ns(128, 100, 0.3) == explicit.time_ns(128, 100, 0.3)
        assert default.amounts(128, 100, 9_000, 0.3) == explicit.amounts(128, 100, 9_000, 0.3)
        drawn = [write.sample_time_ns(128, 100, 0.3, random_streams.rng(1, "all")) for write in (default, explicit)]
        assert drawn[0] == drawn[1]
        assert default.fail_frac == explicit.fail_frac


@settings(deadline=None)
@given(distributions, fractions, fractions)
def test_one_cell_at_a_time_takes_the_mean_of_both_kinds_of_cells(pulses: Any, verified: float, phi: float) -> None:
    write, full = verify(pulses, cells_at_once=1, verified_frac=verified), verify(pulses)
    mean_ns = verified * full.mean_pulses * 100 + (1 - verified) * 60
    assert write.time_ns(7, 11, phi) == pytest.approx(77 * (1 - phi) * mean_ns, abs=1e-6)
    mean_reads = verified * full.mean_pulses
    expected = {"pulse": mean_reads + 1 - verified, "verify": mean_reads}
    assert write.amounts(7, 11, 77) == pytest.approx({key: 77 * value for key, value in expected.items()})


@settings(deadline=None)
@given(distributions, fractions, fractions, st.integers(1, 60), st.floats(0, 1))
def test_verifying_fewer_cells_is_never_slower(pulses: Any, a: float, b: float, at_once: int, phi: float) -> None:
    fewer, more = (verify(pulses, cells_at_once=at_once, verified_frac=f) for f in sorted((a, b)))
    assert fewer.time_ns(3, 50, phi) <= more.time_ns(3, 50, phi) + 1e-6
    assert fewer.amounts(3, 50, 150)["verify"] <= more.amounts(3, 50, 150)["verify"] + 1e-6


def test_without_verification_every_group_takes_one_pulse() -> None:
    write = verify(geometric(8.27), verified_frac=0.0, row_setup_ns=7.0)
    assert write.time_ns(128, 128) == pytest.approx(128 * (60 + 7))
    assert write.fail_frac == pytest.approx(1 - 1 / 8.27)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(distributions, fractions, st.integers(1, 40), st.floats(0, 0.9))
def test_groups_with_some_verified_cells_cell_by_cell(pulses: Any, verified: float, cells: int, phi: float) -> None:
    write, full, n = verify(pulses, verified_frac=verified), verify(pulses), 3000
    random = random_streams.rng(1, "selective")
    needed = np.searchsorted(1 - full.survival, 1 - random.random((n, cells)))
    is_verified, changed = random.random((n, cells)) < verified, random.random((n, cells)) >= phi
    reads = np.where(is_verified & changed, needed, 0)
    slowest = np.where(changed & ~is_verified, 1, reads).max(axis=1) * 60 + reads.max(axis=1) * 40
    drawn = np.array([write.sample_time_ns(1, cells, phi, random) for _ in range(n)])
    tolerance = 5 * (slowest.std() + 1) / math.sqrt(n)
    assert abs(slowest.mean() - write.time_ns(1, cells, phi)) < tolerance
    assert abs(drawn.mean() - write.time_ns(1, cells, phi)) < tolerance
    variance_error = ((slowest - slowest.mean()) ** 2).std() / math.sqrt(n)  # large where only a few rows differ
    assert abs(drawn.var() - slowest.var()) < 5 * math.sqrt(2) * variance_error + 100


@pytest.mark.parametrize("verified", [0.0, 0.1, 0.5, 1.0])
def test_cells_without_verification_fail_where_one_pulse_does_not_do(verified: float) -> None:
    chip = load_hardware("rram-256", {"cell.write.verified_frac": verified}, write="radar2b_row")
    write, full = chip.cell.write, preset("radar2b_row")
    after_one = 1 - 0.961 * 0.11077
    assert write.fail_frac == pytest.approx(verified * full.fail_frac + (1 - verified) * after_one, abs=1e-4)
    assert chip.source("cell.write.verified_frac") == "set by the user"


def test_cells_without_verification_have_costs_but_no_values() -> None:
    with pytest.raises(ImcsimError, match="not known"):
        draw_counts(verify(geometric(8.0), verified_frac=0.5), 2, 2, random_streams.rng(1, "refused"))
    with pytest.raises(ImcsimError, match="verified_frac must be all"):
        load_hardware("rram-256", {"cell.write.verified_frac": 0.5}, write="neurram_stepped")
