"""Do the laws hold that no particular number shows: work is conserved, less waiting takes no longer, same in, same out?

Cases marked as expected failures state a law that the code breaks today; they fail the suite once the law holds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pandas as pd
import pytest

from imcsim.experiments.run import execute
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import IDEAL_PARTS, Hardware, load_hardware
from imcsim.mapping.plan import Mvm
from imcsim.mapping.schemes import SCHEMES
from imcsim.reporting.report import Report, build_report
from imcsim.reporting.run_spec import RunSpec
from imcsim.workload.workload import Workload, load_workload, n_weights
from tests.support.closed_forms import Layer
from tests.support.networks import ideal_chip, one_conv, residual
from tests.support.plugins import classes

NETWORKS = {"residual": residual(16, 8), "short": residual(8, 4), "resnet20": load_workload("resnet20_cifar")}
POOLED = {f"tile.adc.sharing.{key}": n for key, n in (("kind", "pooled"), ("crossbars_per_pool", 4), ("n_per_pool", 2))}
COMPUTE = {"adc", "dac", "array", "sample_hold", "shift_add", "input_register", "output_register", "digital"}
TRAVEL = {"buffer", "router", "dram"}  # what moves and spills cost, so that they go where there is nowhere to travel
NAMES = sorted(classes(SCHEMES))

everywhere = pytest.mark.parametrize("network", NETWORKS)
each_scheme = pytest.mark.parametrize("scheme", NAMES)


def chip(ideal: tuple[str, ...] = (), write: str = "ideal_single", **values: object) -> Hardware:
    """48 tiles whose crossbars share ADCs, unless ``values`` say how else."""
    sharing = {} if any(key.startswith("tile.adc.sharing") for key in values) else POOLED
    return load_hardware("rram-256", {"chip.n_tiles": 48, **sharing, **values}, write, ideal)


def ran(workload: Workload, scheme: str, hardware: Hardware, batch: int = 1, **fields: object) -> Report:
    return execute(RunSpec(workload, hardware, scheme, batch, **fields))  # type: ignore[arg-type]


def amounts(report: Report, *without: str) -> dict[tuple[str, str, str], float]:
    """What happened in the whole batch, by layer, component and action; without some components."""
    return {key: amount for key, amount in report.execution.amounts().items() if key[1] not in without}


def computed(report: Report) -> dict[tuple[str, str, str], float]:
    return {key: amount for key, amount in amounts(report).items() if key[1] in COMPUTE}


def result(report: Report) -> dict[str, object]:
    """The summary without what names the run."""
    return {key: value for key, value in report.summary.items() if key not in ("run_id", "engine", "seed")}


# -- work is conserved -------------------------------------------------------------------------------------------------


@each_scheme
@everywhere
def test_less_waiting_for_bus_dram_digital_units_and_adcs_changes_no_amount(network: str, scheme: str) -> None:
    real = ran(NETWORKS[network], scheme, chip(), 2)
    for part in ("bus", "dram", "digital", "adc"):
        ideal = ran(NETWORKS[network], scheme, chip((part,)), 2)
        assert amounts(ideal) == amounts(real)
        assert ideal.summary["energy_pj"] == real.summary["energy_pj"]  # nothing leaks on this chip


@each_scheme
@everywhere
def test_without_network_or_buffers_only_travel_and_spills_are_saved(network: str, scheme: str) -> None:
    real = ran(NETWORKS[network], scheme, chip(), 2)
    for part in ("noc", "buffer", "all"):
        ideal = ran(NETWORKS[network], scheme, chip((part,)), 2)
        assert amounts(ideal, *TRAVEL) == amounts(real, *TRAVEL)
        assert all(amount <= amounts(real)[key] for key, amount in amounts(ideal).items())
        if part != "buffer":
            assert not [key for key in amounts(ideal) if key[1] == "router"]


@pytest.mark.parametrize(("scheme", "more"), [("static", "busiest"), ("reprogram", "fill")])
@everywhere
def test_copies_share_the_work_and_are_all_written(network: str, scheme: str, more: str) -> None:
    workload = NETWORKS[network]
    one, copied = (ran(workload, scheme, chip(), 2, options={"replication": how}) for how in ("none", more))
    assert computed(one) == computed(copied)
    assert one.summary["adc_conversions"] == copied.summary["adc_conversions"]
    copies = {op.layer.name: op.region.copies for op in copied.execution.plan.operations() if isinstance(op, Mvm)}
    cells = {layer.name: n_weights(layer) * 8 for layer in workload.weighted}
    expected = [sum(cells.values()), sum(n * copies[name] for name, n in cells.items())]
    assert [r.summary["cells_written"] or r.summary["setup"]["cells_written"] for r in (one, copied)] == expected
    assert expected[0] < expected[1]


@each_scheme
@everywhere
def test_every_image_takes_the_same_work_and_every_batch_the_same_writes(network: str, scheme: str) -> None:
    options = {"replication": "none"} if scheme in ("static", "reprogram") else {}
    one = ran(NETWORKS[network], scheme, chip(), 1, options=options)
    for batch in (2, 20):
        many = ran(NETWORKS[network], scheme, chip(), batch, options=options)
        assert computed(many) == pytest.approx({k: n * batch for k, n in computed(one).items()}, rel=1e-12)
        cells = [amounts(report, *TRAVEL, *COMPUTE, "bus") for report in (one, many)]
        assert cells[0] == cells[1]
        for key in ("cells_written", "adc_conversions", "macs"):
            assert many.summary[key] == one.summary[key]


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
@everywhere
def test_cycles_are_writes_over_batch_plus_compute(network: str, batch: int) -> None:
    """cycles(B) = W / B + c, with W and c by the closed forms: a batch is written once and fills each layer once."""
    workload = NETWORKS[network]
    forms = [Layer(layer.rows, layer.channels, layer.positions) for layer in workload.weighted]
    write = sum(5 * min(form.k, form.r) + form.fill for form in forms)  # 50 ns a row
    each = sum(form.p * form.t_in * form.tau for form in forms)
    report = ran(workload, "reprogram", ideal_chip(write="ideal_single"), batch, options={"replication": "none"})
    assert report.execution.makespan_ps == (write + batch * each) * report.execution.hardware.period_ps
    assert report.summary["cycles_per_inference"] == pytest.approx(write / batch + each, rel=1e-12)


# -- less waiting takes no longer --------------------------------------------------------------------------------------


def makespan_ps(network: str, scheme: str, batch: int, *ideal: str, **values: object) -> int:
    return ran(NETWORKS[network], scheme, chip(ideal, **values), batch).execution.makespan_ps


@each_scheme
@everywhere
def test_no_ideal_part_lengthens_one_image(network: str, scheme: str) -> None:
    real = makespan_ps(network, scheme, 1)
    single = [makespan_ps(network, scheme, 1, part) for part in IDEAL_PARTS]
    assert makespan_ps(network, scheme, 1, "all") <= min(single) < real
    assert max(single) <= real


@each_scheme
@everywhere
def test_no_ideal_part_lengthens_a_batch(network: str, scheme: str) -> None:
    """Save for ideal buffers: without limits, later images get ahead of earlier ones at what they share."""
    real = makespan_ps(network, scheme, 3)
    for part in sorted(set(IDEAL_PARTS) - {"buffer"}):
        assert makespan_ps(network, scheme, 3, part) <= real


# -- same in, same out -------------------------------------------------------------------------------------------------


@each_scheme
def test_a_finished_run_at_other_prices_is_the_run_at_those_prices(scheme: str) -> None:
    cheap, dear = chip(), chip(**{"parts.adc.actions_pj.convert": 3.125})  # twice as much
    done, again = (ran(NETWORKS["residual"], scheme, hardware, 2) for hardware in (cheap, dear))
    priced = build_report(done.execution, CostTable.of(dear), again.spec)
    assert priced.summary == again.summary
    for table in ("layers", "energy", "resources", "critical_path"):
        pd.testing.assert_frame_equal(getattr(priced, table), getattr(again, table), check_exact=True)
    more = again.summary["energy_pj"] - done.summary["energy_pj"]
    assert more == pytest.approx(1.5625 * done.summary["adc_conversions"], rel=1e-9)
    assert (more > 0) == (scheme != "digital")


@each_scheme
def test_both_engines_report_the_same(scheme: str) -> None:
    fast, readable = (ran(residual(16, 5), scheme, chip(), 2, engine=name) for name in ("fast", "simpy"))
    assert result(fast) == result(readable)
    for table in ("layers", "energy", "resources", "critical_path"):
        pd.testing.assert_frame_equal(getattr(fast, table), getattr(readable, table), check_exact=True)


@each_scheme
def test_the_same_seed_gives_the_same_report(scheme: str) -> None:
    one, same, other = (
        ran(NETWORKS["residual"], scheme, chip(write="radar2b_row"), 2, seed=seed, sampled_writes=True)
        for seed in (1, 1, 2)
    )
    assert one.summary == same.summary
    assert (result(other) == result(one)) == (scheme == "digital")  # the only one that writes nothing
    assert other.run_id != one.run_id


def test_expected_writes_do_not_depend_on_the_seed() -> None:
    one, other = (ran(NETWORKS["residual"], "reprogram", chip(write="radar2b_row"), seed=seed) for seed in (1, 2))
    assert result(one) == result(other)


def test_threads_do_not_matter(start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    running = []
    for count in ("1", "2"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", count)
        running.append(start("run", "resnet20_cifar", "--hardware", "rram-256", "--json"))
    one, two = (process.communicate(timeout=60)[0] for process in running)
    assert one == two
    assert json.loads(one)["workload"] == "resnet20_cifar"


# -- lifetime ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workload", "options", "writes"), [
    (residual(16, 6), {}, 3),  # three layers of 2 crossbars, each in 4 copies on all 8
    (residual(16, 6), {"replication": "none"}, 3),  # each on the first two
    (residual(16, 6), {"grouping": "packed"}, 1),  # side by side on 6
    (residual(16, 6), {"grouping": "packed", "overlap": True}, 1),  # two banks of 4 hold two and one
    (one_conv(128, 128, 4), {}, 9),  # 9 x 8 crossbars in 9 passes
    (one_conv(256, 16, 4), {}, 3),  # 18 in passes of 8, 8 and 2
])  # fmt: skip
@pytest.mark.parametrize("batch", [1, 6])
def test_a_crossbar_lives_for_its_endurance(
    workload: Workload, options: dict[str, object], writes: int, batch: int
) -> None:
    hardware = load_hardware("rram-256", {"chip.n_tiles": 1, "cell.write.endurance_writes": 9000}, "ideal_single")
    lifetime = ran(workload, "reprogram", hardware, batch, options=options).summary["lifetime_inferences"]
    expected = {"kind": "limited", "inferences": 9000 * batch / writes, "writes_per_batch": writes, "crossbar": 0}
    assert lifetime == expected


@each_scheme
def test_only_what_rewrites_wears_out(scheme: str) -> None:
    report = ran(residual(16, 6), scheme, chip())
    rewrites = scheme == "reprogram"
    assert report.summary["lifetime_inferences"]["kind"] == ("limited" if rewrites else "unlimited")
    assert any(component == "cell" for _, component, _ in amounts(report)) == rewrites
