"""Does the command line print what it promises, where it promises it?"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import imcsim as package
from imcsim.cli._groups import ValuesOptions
from imcsim.functional.trial import Trial
from imcsim.reporting.explain.listing import LISTS
from tests.conftest import Outcome

Command = Callable[..., Outcome]
SMALL = ("resnet20_cifar", "--hardware", "rram-256")
KEYS = {
    "workload", "hardware", "scheme", "batch", "cycles_per_inference", "latency_ns", "interval_ns", "energy_pj",
    "energy_by_component_pj", "edp_latency_pj_ns", "edp_throughput_pj_ns", "area_um2", "crossbars_used",
    "crossbars_needed", "cells_written", "write_pulses", "adc_conversions", "macs", "lifetime_inferences", "assumed",
    "bottleneck", "schema_version",
}  # fmt: skip
FILES = {"report.json", "layers.parquet", "layers.csv", "energy.csv", "config.resolved.yaml", "trace.json.gz"}


@pytest.fixture(autouse=True)
def in_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


COMMANDS = ("run", "compare", "explain", "export", "quantize", "train", "train-step", "list", "version")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, imcsim: Command) -> None:
    outcome = imcsim(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: imcsim {command}")


def test_version(imcsim: Command) -> None:
    assert imcsim("version").out == f"{package.__version__}\n"


def test_json_and_nothing_else_on_standard_output(imcsim: Command) -> None:
    outcome = imcsim("run", *SMALL, "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 0
    assert report.keys() >= KEYS
    assert "written to" in outcome.err
    (folder,) = Path("imcsim-runs").iterdir()
    assert json.loads((folder / "report.json").read_text()) == report
    assert {path.name for path in folder.iterdir()} >= FILES
    assert json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))


def test_a_table_with_units(imcsim: Command) -> None:
    outcome = imcsim("run", *SMALL, "--scheme", "static", "--out", "here")
    assert outcome.code == 0
    assert all(word in outcome.out for word in ("resnet20_cifar", "static", "cycles per inference", "J", "mm2"))
    assert len(list(Path("here").iterdir())) == 1


def test_the_same_run_has_the_same_place(imcsim: Command) -> None:
    first, again = (json.loads(imcsim("run", *SMALL, "--json").out) for _ in range(2))
    assert first == again
    assert len(list(Path("imcsim-runs").iterdir())) == 1
    imcsim("run", *SMALL, "--seed", "1")
    assert len(list(Path("imcsim-runs").iterdir())) == 2


def test_options_reach_scheme_and_hardware(imcsim: Command) -> None:
    words = (
        "--scheme basis_broadcast --option q=4 --option coefficients=dram --set tile.adc.bits=7 --write radar2b_row "
        "--batch 3 --seed 5 --write-times sampled --ideal bus,noc"
    )
    report = json.loads(imcsim("run", *SMALL, *words.split(), "--json").out)
    assert report["options"] == {"q": 4, "coefficients": "dram"}
    assert (report["write"], report["batch"], report["seed"], report["sampled_writes"]) == ("radar2b_row", 3, 5, True)
    (folder,) = Path("imcsim-runs").iterdir()
    tile = yaml.safe_load((folder / "config.resolved.yaml").read_text())["hardware"]["tile"]
    assert (tile["adc"]["bits"], tile["bus"]["kind"]) == (7, "ideal")


def test_options_that_are_left_out_are_those_of_a_trial() -> None:
    options = ValuesOptions(data="images.npz")
    assert options.trial("int8.onnx", Path("out")) == Trial("int8.onnx", "images.npz", journal=Path("out/unfinished"))


def test_a_calibration_is_a_file_or_a_number_of_images() -> None:
    trials = [ValuesOptions("images.npz", calibration=text).trial("m.onnx", Path()) for text in ("20", "ranges.json")]
    given = [(trial.calibration_images, trial.calibration_file) for trial in trials if trial]
    assert given == [(20, None), (None, Path("ranges.json"))]


def test_both_engines_report_the_same(imcsim: Command) -> None:
    words = ("run", *SMALL, "--scheme", "digital", "--json", "--engine")
    fast, simpy = (json.loads(imcsim(*words, name).out) for name in ("fast", "simpy"))
    different = {key for key in fast if fast[key] != simpy[key]}
    assert different <= {"engine", "run_id", "imcsim_version"}


@pytest.mark.parametrize("what", LISTS)
def test_lists(what: str, imcsim: Command) -> None:
    rows = json.loads(imcsim("list", what, "--json").out)
    table = imcsim("list", what)
    assert rows
    assert all(row["name"] in table.out for row in rows)


def test_the_list_of_workloads_shows_sizes(imcsim: Command) -> None:
    rows = {row["name"]: row for row in json.loads(imcsim("list", "workloads", "--json").out)}
    assert rows["resnet50"]["weights"] == 25_502_912
    assert rows["resnet50"].keys() >= {"layers", "weights", "macs", "positions"}


def test_explain_prints_prices_with_sources(imcsim: Command) -> None:
    outcome = imcsim("explain", "isaac")
    assert outcome.code == 0
    assert all(word in outcome.out for word in ("41.29", "adc", "chip"))


def test_export_and_run_a_model(imcsim: Command, tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    _save_model(model)
    assert imcsim("export", str(model), "-o", "tiny.json").code == 0
    direct, exported = (
        json.loads(imcsim("run", name, "--hardware", "rram-256", "--json").out) for name in (str(model), "tiny.json")
    )
    assert direct["cycles_per_inference"] == exported["cycles_per_inference"]


def test_an_unknown_operator_can_be_allowed(imcsim: Command) -> None:
    model = Path(__file__).parents[1] / "bad" / "cli" / "unknown_operator.onnx"
    outcome = imcsim("export", str(model), "-o", "x.json", "--allow-unknown")
    assert outcome.code == 0, outcome.err


def test_a_reader_that_leaves_is_no_error() -> None:
    root = Path(__file__).parents[2]
    shell = f"{sys.executable} -m imcsim list workloads --json | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def _save_model(path: Path) -> None:
    """A convolution and a matrix product."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [
        numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones((8 * 36, 10), np.float32), "v"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Flatten", ["a"], ["b"], name="flatten"),
        helper.make_node("MatMul", ["b", "v"], ["y"], name="product"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "tiny", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
