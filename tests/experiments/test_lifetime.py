"""Do batch and refresh interval reach the lifetime that they promise, and are refreshes charged in full?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imcsim
from imcsim.experiments.lifetime import (
    batch_for,
    deviation_frac,
    interval_for_s,
    lifetime_images,
    programmings_per_batch,
    refresh,
    refresh_interval_s,
)
from imcsim.hardware.devices import load_device
from imcsim.util.errors import ImcsimError

DAY_S = 86_400.0
amounts = st.floats(1, 1e12)


@settings(deadline=None)
@given(amounts, st.floats(1e3, 1e12), st.floats(0.01, 500))
def test_the_batch_reaches_the_lifetime_and_one_less_does_not(images: float, endurance: float, writes: float) -> None:
    batch = batch_for(images, endurance, writes)
    assert lifetime_images(batch, endurance, writes) >= images * (1 - 1e-9)
    if batch > 1:
        assert lifetime_images(batch - 1, endurance, writes) < images * (1 + 1e-9)


@pytest.mark.parametrize(("options", "scheme"), [({}, "reprogram"), ({"grouping": "packed"}, "reprogram")])
def test_programmings_are_those_of_the_report(options: dict[str, Any], scheme: str) -> None:
    report = imcsim.run("resnet18", "rram-256", scheme, batch=2, options=options)
    lifetime = report.summary["lifetime_inferences"]
    programmings = programmings_per_batch(report.execution.plan)
    assert programmings == lifetime["writes_per_batch"]
    endurance = report.execution.hardware.cell.write.endurance_writes
    assert lifetime_images(2, endurance, programmings) == lifetime["inferences"]


def test_what_is_written_once_lasts() -> None:
    report = imcsim.run("resnet20_cifar", "rram-256", "basis_broadcast")
    assert programmings_per_batch(report.execution.plan) == 0
    assert lifetime_images(1, 1e4, 0) == math.inf
    assert batch_for(1e12, 1e4, 0) == 1


def test_refreshes_cost_the_setup_writes_shared_by_the_images_between() -> None:
    report = imcsim.run("resnet20_cifar", "rram-256", "basis_broadcast", write="radar2b_serial")
    daily = refresh(report, DAY_S, images_per_second=30)
    setup = report.summary["setup"]
    assert daily.images == 30 * DAY_S
    assert daily.cycles_per_image * daily.images == pytest.approx(setup["time_ns"] / 10)
    assert daily.energy_pj_per_image * daily.images == pytest.approx(setup["energy_pj"])
    assert daily.lifetime_images(1e4) == pytest.approx(1e4 * 30 * DAY_S)
    assert interval_for_s(daily.lifetime_images(1e4), 1e4, 30) == pytest.approx(DAY_S)
    assert refresh(report, DAY_S).images == pytest.approx(DAY_S * 1e9 / report.summary["makespan_ns"])


def test_deviation_of_cells_that_do_not_drift_is_that_of_their_writes() -> None:
    device = load_device("rram_generic", g_max_usiemens=100.0, on_off_ratio=50.0, n_levels="continuous",
                         sigma_frac=0.02, read_sigma_frac=0.0)  # fmt: skip
    assert deviation_frac(device, 0.0) == pytest.approx(0.02 / 0.98, rel=0.05)
    assert refresh_interval_s(device, 0.05) == math.inf
    assert refresh_interval_s(device, 0.01) == 0.0


@pytest.mark.parametrize(
    ("kind", "ages_s"), [("rram_wan2022", (1, 3600, DAY_S)), ("pcm_iterative", (0, 3600, 30 * DAY_S))]
)
def test_drifting_cells_deviate_more_and_more(kind: str, ages_s: tuple[float, ...]) -> None:
    device = load_device(kind)
    deviations = [deviation_frac(device, age_s) for age_s in ages_s]
    assert deviations == sorted(deviations)
    assert deviations[-1] > deviations[0]


@pytest.mark.parametrize("kind", ["rram_wan2022", "pcm_iterative"])
def test_the_interval_ends_where_the_deviation_is_reached(kind: str) -> None:
    device = load_device(kind)
    first = deviation_frac(device, device.earliest_s)
    allowed = (first + deviation_frac(device, DAY_S)) / 2
    interval_s = refresh_interval_s(device, allowed)
    assert device.earliest_s < interval_s < DAY_S
    assert deviation_frac(device, interval_s) == pytest.approx(allowed, rel=1e-3)


def test_an_interval_is_never_longer_than_the_model_is_known() -> None:
    assert refresh_interval_s(load_device("rram_wan2022"), 0.5) == 2 * DAY_S
    assert refresh_interval_s(load_device("rram_milo2021"), 0.5) == 0.0


def test_numbers_that_are_none() -> None:
    for wrong in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ImcsimError, match="must be a finite number above 0"):
            batch_for(wrong, 1e6, 38)
        with pytest.raises(ImcsimError, match="must be a finite number above 0"):
            refresh_interval_s(load_device("rram_wan2022"), wrong)
    report = imcsim.run("resnet20_cifar", "rram-256", "reprogram")
    with pytest.raises(ImcsimError, match="writes nothing once"):
        refresh(report, DAY_S)
    basis = imcsim.run("resnet20_cifar", "rram-256", "basis_broadcast")
    with pytest.raises(ImcsimError, match="are more than"):
        refresh(basis, DAY_S, images_per_second=1e9)
    assert np.isfinite(refresh(basis, DAY_S).energy_pj_per_image)
