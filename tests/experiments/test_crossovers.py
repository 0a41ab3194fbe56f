"""Are crossovers without a simulation those of the simulated plans?"""

from __future__ import annotations

from typing import Any

import pytest

from imcsim.experiments.crossovers import analytic_batch, line_of
from imcsim.experiments.run import execute
from imcsim.hardware.hardware import load_hardware
from imcsim.reporting.closed_form import ClosedForm, line
from imcsim.reporting.run_spec import RunSpec
from imcsim.workload.workload import load_workload

PLANS = [("reprogram", {}), ("reprogram", {"grouping": "packed"}), ("basisn_inferred", {}), ("static", {})]


@pytest.mark.parametrize(("scheme", "options"), PLANS)
def test_the_line_of_a_plan_is_that_of_its_run(scheme: str, options: dict[str, Any]) -> None:
    hardware = load_hardware("rram-256", write="radar2b_row")
    request = RunSpec(load_workload("resnet20_cifar"), hardware, scheme, 4, options)
    found = line_of(request)
    assert found is not None
    assert found == line(execute(request).execution)


def test_the_crossover_is_against_the_lowest_line_at_each_batch() -> None:
    own, packed, layers = ClosedForm(0, 30), ClosedForm(1000, 20), ClosedForm(5000, 5)
    assert analytic_batch([own], [packed])[0] == pytest.approx(100)
    assert analytic_batch([own], [layers])[0] == pytest.approx(200)
    assert analytic_batch([own], [packed, layers])[0] == pytest.approx(100)
    assert analytic_batch([own, ClosedForm(0, 15)], [packed, layers])[0] == pytest.approx(500)
    assert analytic_batch([ClosedForm(0, 4)], [packed, layers]) == (None, "never")
    assert analytic_batch([own], [ClosedForm(1, 1)]) == (None, "ahead from batch 1")
