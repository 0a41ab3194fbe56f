"""Do the figures of a report follow from its trace, is every key documented, and are its files whole?"""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

import imcsim
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import load_hardware
from imcsim.reporting.figures import comparison as figures
from imcsim.reporting.perfetto import chrome_trace as perfetto
from imcsim.reporting.report import Report, build_report
from imcsim.reporting.terminal import run as tables
from imcsim.timing.engine.contract import UNLIMITED, Job, JobResult
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file
from tests.support import hand_made

DOCS = Path(__file__).parents[2] / "docs" / "report.md"
TABLES = ("layers", "energy", "resources", "critical_path")


@pytest.fixture
def report() -> Report:
    return build_report(hand_made.trace(), hand_made.costs(), hand_made.request())


@pytest.fixture(scope="module")
def real() -> Report:
    return imcsim.run("resnet20_cifar", "rram-256", "reprogram", write="ember2b_word", batch=2)


# -- numbers by hand ---------------------------------------------------------------------------------------------------


def test_headline_figures(report: Report) -> None:
    expected = {
        "cycles_per_inference": 14,  # (100 + 180) ns / 10 ns / 2
        "latency_ns": 200,  # 100 of writing, 100 until the second vector
        "interval_ns": 140,
        "makespan_ns": 280,
        "energy_pj": 96 + 200 + 140,  # 64 cells x 3 / 2, 100 conversions x 2, 1 mW x 280 ns / 2
        "edp_latency_pj_ns": 436 * 200,
        "edp_throughput_pj_ns": 436 * 140,
        "area_um2": 15,
        "crossbars_used": 2,
        "crossbars_needed": 1,
        "crossbars_available": 256,
        "cells_written": 512,  # 4 rows x 8 outputs x 8 columns x 2 copies
        "write_pulses": 512,
        "adc_conversions": 100,
        "macs": 64,
    }
    assert {key: report.summary[key] for key in expected} == pytest.approx(expected)
    assert report.summary["energy_by_component_pj"] == pytest.approx({"cell": 96, "adc": 200, "leakage": 140})


def test_energy_table_lists_amount_price_and_source(report: Report) -> None:
    rows = report.energy.values.tolist()
    assert rows == [
        ["cell", "write", 32.0, 3.0, 96.0, "two"],
        ["adc", "convert", 100.0, 2.0, 200.0, "one"],
        ["leakage", "ns", 140.0, 1.0, 140.0, "leakage_uw of all parts"],
    ]


def test_layer_table(report: Report) -> None:
    row = report.layers.iloc[0].to_dict()
    assert len(report.layers) == 1
    assert row == pytest.approx({
        "layer": "a", "kind": "linear", "start_cycle": 0, "span_cycles": 28, "busy_cycles": 20 + 20,
        "crossbar_utilisation_frac": 160 / 180, "cell_utilisation_frac": 256 / 128**2, "energy_pj": 296,
        "adc_conversions": 100, "cells_written": 512, "queued_cycles": 24, "starved_cycles": 0, "blocked_cycles": 0,
        "critical_percent": 100, "snr_db": np.nan, "saturated_frac": np.nan,
    }, nan_ok=True)  # fmt: skip


def test_resource_table(report: Report) -> None:
    rows = report.resources.set_index("resource")
    assert list(rows.index) == ["write", "bus[0]", "crossbars[a]"]
    assert rows["busy_cycles"].tolist() == [20, 4, 16]
    assert rows["idle_cycles"].tolist() == [0, 14, 2]
    assert rows["queued_cycles"].tolist() == [0, 6, 18]
    assert rows["utilisation_frac"].tolist() == pytest.approx([1, 4 / 18, 16 / 18])
    assert report.summary["waiting_ns"]["crossbar"] == {"queued": 180, "starved": 0, "blocked": 0}


def test_critical_path_and_bottleneck(report: Report) -> None:
    assert report.critical_path[["resource", "time_ns"]].values.tolist() == [
        ["crossbars[a]", 170], ["write", 100], ["bus[0]", 10]
    ]  # fmt: skip
    first, second, third = report.summary["bottleneck"]
    assert (first["kind"], second["kind"], third["kind"]) == ("crossbar", "write", "bus")
    assert first["percent"] == pytest.approx(100 * 170 / 280)
    where = "writing crossbars, 2 at once; the largest part is layer a (35.7 %)"
    assert second["sentence"] == f"35.7 % of the time goes to {where}"


def test_lifetime_counts_the_crossbar_written_most_often(report: Report) -> None:
    endurance = hand_made.HARDWARE.cell.write.endurance_writes
    assert report.summary["lifetime_inferences"] == {
        "kind": "limited", "inferences": 2 * endurance, "writes_per_batch": 1, "crossbar": 3
    }  # fmt: skip


def test_nothing_rewritten_lives_without_limit() -> None:
    trace = hand_made.trace()
    still = replace(trace, plan=replace(trace.plan, phases=trace.plan.phases[1:]))
    summary = build_report(still, hand_made.costs(), hand_made.request()).summary
    assert summary["lifetime_inferences"] == {"kind": "unlimited"}


def test_setup_is_reported_and_not_charged(report: Report) -> None:
    assert report.summary["setup"] == {"time_ns": 50, "energy_pj": 30, "cells_written": 256}


def test_notes_tell_of_spills_and_of_images_that_were_not_simulated() -> None:
    trace = hand_made.trace()
    longer = replace(trace, batch=8, results=tuple(replace(result, n_images=8) for result in trace.results))
    notes = build_report(longer, hand_made.costs(), replace(hand_made.request(), batch=8)).summary["notes"]
    assert notes[0] == "by hand"
    assert "image" in notes[1]
    assert notes[2].startswith("2 of 8 images were simulated")


def test_completions_of_images_that_repeat_move_with_the_makespan() -> None:
    trace = hand_made.trace()
    first, last = trace.results
    longer = replace(trace, results=(first, replace(last, n_images=4, makespan_ps=340 * hand_made.NS)), batch=4)
    layers = build_report(longer, hand_made.costs(), hand_made.request()).layers
    assert layers["span_cycles"].tolist() == [10 + 34]


# -- laws --------------------------------------------------------------------------------------------------------------


def test_tables_add_up_to_the_headline_figures(real: Report) -> None:
    s = real.summary
    assert real.critical_path["time_ns"].sum() == pytest.approx(s["makespan_ns"])
    assert real.critical_path["percent"].sum() == pytest.approx(100)
    assert real.layers["critical_percent"].sum() == pytest.approx(100)
    assert real.energy["energy_pj"].sum() == pytest.approx(s["energy_pj"])
    assert real.layers["energy_pj"].sum() == pytest.approx(s["energy_pj"] - s["energy_by_component_pj"]["leakage"])
    assert real.layers["cells_written"].sum() == pytest.approx(s["cells_written"])
    busy_ps = sum(_busy_ps(*phase) for phase in zip(real.execution.jobs, real.execution.results, strict=True))
    assert real.resources["busy_cycles"].sum() * real.execution.hardware.period_ps == pytest.approx(busy_ps)


def _busy_ps(job: Job, result: JobResult) -> int:
    return int(result.busy_ps[[resource.capacity != UNLIMITED for resource in job.resources]].sum())


def test_repricing_equals_running_again(real: Report) -> None:
    prices = {"parts.dram.actions_pj.byte": 80, "parts.digital.leakage_uw": 7}
    dearer = load_hardware("rram-256", prices, "ember2b_word")
    again = imcsim.run("resnet20_cifar", dearer, "reprogram", batch=2)
    repriced = real.reprice(CostTable.of(dearer), dearer)
    assert repriced.summary == again.summary
    assert repriced.summary["energy_pj"] > real.summary["energy_pj"]
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(repriced, name), getattr(again, name))


def test_other_prices_give_another_directory(report: Report) -> None:
    dearer = report.reprice(hand_made.costs(convert_pj=5.0))
    assert dearer.summary["energy_pj"] == pytest.approx(436 + 300)
    assert dearer.run_id != report.run_id


@pytest.mark.parametrize("change", [
    {"batch": 3}, {"seed": 1}, {"engine": "simpy"}, {"scheme": "static"}, {"options": {"a": 1}},
    {"sampled_writes": True}, {"workload": hand_made.WORKLOAD.model_copy(update={"name": "b"})},
])  # fmt: skip
def test_run_id_depends_on_everything_that_matters(report: Report, change: dict) -> None:
    assert replace(report, spec=replace(report.spec, **change)).run_id != report.run_id
    assert build_report(hand_made.trace(), hand_made.costs(), hand_made.request()).run_id == report.run_id


def test_an_action_without_a_price_is_refused() -> None:
    parts = {"adc": hand_made.costs().parts["adc"]}
    with pytest.raises(ImcsimError, match="cell"):
        build_report(hand_made.trace(), replace(hand_made.costs(), parts=parts), hand_made.request())


# -- schema ------------------------------------------------------------------------------------------------------------


def documented(section: str) -> list[str]:
    """Return the keys in the first column of the table below a heading of docs/report.md."""
    text = re.split(rf"^##+ `?{re.escape(section)}`?$", DOCS.read_text(), flags=re.M)[1]
    return re.findall(r"^\| `([^`]+)`", re.split(r"^##", text, flags=re.M)[0], flags=re.M)


def test_every_key_is_documented_in_order(report: Report) -> None:
    s = report.summary
    assert list(s) == documented("report.json")
    assert list(s["lifetime_inferences"]) == documented("lifetime_inferences")
    assert list(s["setup"]) == documented("setup")
    assert s["values"] == {"kind": "none"}
    assert list(s["bottleneck"][0]) == documented("bottleneck")
    assert list(s["waiting_ns"]["bus"]) == documented("waiting_ns")


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_documented_in_order(report: Report, name: str) -> None:
    assert list(getattr(report, name).columns) == documented(name)


def test_to_dict_is_a_copy_of_what_is_written(report: Report) -> None:
    copy = report.to_dict()
    copy["batch"] = 0
    assert report.summary["batch"] == 2
    assert report.summary["facts"] == {"slots": 3}


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_run_directory_is_complete(report: Report, tmp_path: Path) -> None:
    folder = report.write(tmp_path / "new" / "runs")
    assert folder.name == report.run_id
    assert sorted(path.name for path in folder.iterdir()) == sorted(documented("Files"))
    assert json.loads((folder / "report.json").read_text()) == report.summary
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "layers.parquet"), report.layers)
    for name in TABLES:
        pd.testing.assert_frame_equal(pd.read_csv(folder / f"{name}.csv"), getattr(report, name), check_dtype=False)
    config = yaml.safe_load((folder / "config.resolved.yaml").read_text())
    assert (config["run_id"], config["hardware"]["name"]) == (report.run_id, "rram-256")
    assert [path.name for path in folder.parent.iterdir()] == [report.run_id]


def test_the_resolved_hardware_loads_as_a_hardware_file(report: Report, tmp_path: Path) -> None:
    config = yaml.safe_load((report.write(tmp_path) / "config.resolved.yaml").read_text())
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(config["hardware"]))
    assert load_hardware(str(path)).hash == hand_made.HARDWARE.hash


def test_an_older_directory_of_the_same_run_is_replaced(report: Report, tmp_path: Path) -> None:
    stale = report.write(tmp_path) / "stale.txt"
    stale.write_text("old")
    report.write(tmp_path)
    assert not stale.exists()
    assert [path.name for path in tmp_path.iterdir()] == [report.run_id]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, OSError(28, "No space left on device")])
def test_a_failure_in_the_middle_leaves_nothing(report, tmp_path, monkeypatch, failure) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(perfetto, "write_trace", fail)
    with pytest.raises((KeyboardInterrupt, RuntimeError, ImcsimError)):
        report.write(tmp_path / "new" / "runs")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_older_directory_as_it_was(report, tmp_path, monkeypatch) -> None:
    before = {path.name: path.read_bytes() for path in report.write(tmp_path).iterdir()}
    monkeypatch.setattr(perfetto, "write_trace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / report.run_id).iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_while_replacing_brings_the_older_directory_back(report, tmp_path, monkeypatch) -> None:
    report.write(tmp_path)
    rename = imcsim.util.files.os.rename

    def fail(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(imcsim.util.files.os, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        report.write(tmp_path)
    assert (tmp_path / report.run_id / "report.json").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unwritable_place_is_refused_in_one_sentence(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImcsimError, match=r"cannot be written .*; choose another place with --out"):
        report.write(tmp_path / "file")
    with pytest.raises(ImcsimError, match="cannot be written"):
        report.write(tmp_path / "file" / "below")


# -- terminal and figures ----------------------------------------------------------------------------------------------


def test_the_terminal_view_fits_100_columns(report: Report, real: Report) -> None:
    for any_report in (report, real):
        console = Console(width=100, record=True, file=io.StringIO())
        tables.print_report(any_report, console)
        text = console.export_text()
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
        assert "…" not in text
        assert "energy per inference" in text
        assert "numbers are assumed" in text


def test_figures_are_whole_files(real: Report, tmp_path: Path) -> None:
    rows = [("reprogram", 1, 1e4), ("reprogram", 100, 1e2), ("static", 1, 1e3), ("static", 100, 1e3)]
    frame = pd.DataFrame(rows, columns=["scheme", "batch", "cycles_per_inference"])
    energies = {"one": real.summary["energy_by_component_pj"], "nothing": {"adc": 0.0}}
    files = [
        *figures.cycles_against_batch(frame, tmp_path),
        *figures.energy_stack(energies, tmp_path / "energy"),
        *figures.critical_path_bar(real.critical_path, tmp_path / "path"),
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for path in files:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            ElementTree.parse(path)


def test_the_crossing_lies_where_the_lines_meet() -> None:
    batches, falling, level = pd.Index([1, 100]), [1e4, 1e2], [1e3, 1e3]
    curves = {"reprogram": pd.Series(falling, batches), "static": pd.Series(level, batches)}
    assert figures._crossings(curves) == [("static", pytest.approx(10))]
    assert figures._zeros(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == []


def test_a_failed_figure_leaves_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with new_file(tmp_path / "figure.png") as partial:
            partial.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert list(tmp_path.iterdir()) == []
