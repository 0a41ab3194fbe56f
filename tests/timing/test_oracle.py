"""Is the worked example met, row by row? One layer, 128 -> 128, 3x3, 28x28, on 256 crossbars of 128x128."""

from __future__ import annotations

import pytest

from imcsim.mapping.tiling import cut
from imcsim.reporting.run_spec import RunSpec
from imcsim.timing.execution import Execution
from tests.support.networks import ideal_chip, one_conv
from tests.support.runs import simulated

FILL = 10 + 2  # one tau and the shift-add depth of rram-256


def traced(scheme: str, write: str = "ember2b_word", **options: object) -> Execution:
    request = RunSpec(one_conv(), ideal_chip(write=write), scheme, options=options)
    return simulated(request)


def phase_cycles(trace: Execution) -> list[int]:
    return [result.makespan_ps // trace.hardware.period_ps for result in trace.results]


def amount(trace: Execution, component: str, action: str) -> float:
    return sum(n for (_, c, a), n in trace.amounts().items() if (c, a) == (component, action))


def test_crossbars_of_the_layer() -> None:
    grid = cut(one_conv().weighted[0], ideal_chip())
    assert (grid.row_tiles, grid.column_tiles, grid.crossbars) == (9, 8, 72)


def test_three_copies_compute_in_262_vectors() -> None:
    trace = traced("reprogram")
    assert phase_cycles(trace)[-1] == 20_960 + FILL
    assert trace.plan.crossbars_used == 3 * 72


@pytest.mark.parametrize(
    ("write", "cycles", "tolerance"),
    [
        ("ideal_single", 640, 0),
        ("radar2b_row", 127_232, 0.01),  # E[max_128] = 49.7
        ("radar2b_serial", 2_709_914, 0.01),  # mean 8.27
    ],
)
def test_write_time(write: str, cycles: int, tolerance: float) -> None:
    assert phase_cycles(traced("reprogram", write))[0] == pytest.approx(cycles, rel=tolerance)


def test_conversions_of_resident_weights() -> None:
    for scheme in ("static", "reprogram"):
        assert amount(traced(scheme), "adc", "convert") == 57_802_752


def test_basis_copies_and_segment_slots() -> None:
    trace = traced("basis_broadcast")
    assert trace.plan.facts["basis_copies"] == 32
    assert trace.jobs[-1].operations[-1].n_vectors == 784 * 9
    assert phase_cycles(trace)[-1] == 221 * 80 + FILL


def test_broadcast_converts_as_often_as_static_and_combines_digitally() -> None:
    trace = traced("basis_broadcast")
    assert amount(trace, "adc", "convert") == 57_802_752
    assert amount(trace, "digital", "mac") == 7_225_344


def test_coefficients_of_the_layer() -> None:
    plan = traced("basis_broadcast").plan
    assert plan.facts["coefficient_bytes"] == 9_216 * (4 + 1 + 7) // 8


def test_exclusive_analog_is_limited_by_its_adcs() -> None:
    trace = traced("basisn_inferred", lines=128)
    assert phase_cycles(trace)[-1] == pytest.approx(70_720, rel=0.02)
    assert amount(trace, "adc", "convert") == 231_211_008
