"""Is one new file enough for a device, an ADC, a write circuit, a scheme and a preset, and does it then run?

The files are those of docs/extend.md. (An operation: tests/timing/test_new_operation.py.)
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imcsim
from imcsim.functional.evaluate import Trial
from imcsim.hardware.adcs import ADCS
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.devices import DEVICES
from imcsim.hardware.write_circuits import WRITE_CIRCUITS
from imcsim.mapping.schemes import SCHEMES
from imcsim.util import python_files
from tests.house.test_api import ROOT, block_with
from tests.support.plugins import drop

PAGE = ROOT / "docs" / "extend.md"
EXAMPLE = ROOT / "tests" / "example_plugin" / "imcsim_example"
FILES = {
    "forgetful.py": "class Forgetful(DeviceSpec)",
    "flash.py": "class FlashAdc(AdcSpec)",
    "set_reset.py": "class SetReset(WriteSpec)",
    "one_copy.py": "class OneCopy(Scheme)",
}
FOLDERS: dict[str, Any] = {
    "forgetful.py": DEVICES,
    "flash.py": ADCS,
    "set_reset.py": WRITE_CIRCUITS,
    "one_copy.py": SCHEMES,
}
MODELS = ROOT / "workloads" / "models"
MODEL, DATA = str(MODELS / "resnet8_fashion.onnx"), str(MODELS / "fashion_mnist_1000.npz")
CHIP = """
name: dropped
description: rram-256 with parts from files beside this one
extends: rram-256
tile:
  adc: {kind: FLASH, bits: 9, convert_ns: 1, comparator_pj: 0.02, comparator_um2: 12,
        sharing: {kind: private, n_per_crossbar: 1}}
cell:
  device: {kind: FORGETFUL, loss_per_decade: 0.01}
  write: ./set-reset.yaml
sources: {tile.adc: assumed, cell.device: assumed}
"""
BY_PATH = {"FLASH": "./flash.py", "FORGETFUL": "./forgetful.py"}
BY_KIND = {"FLASH": "flash", "FORGETFUL": "forgetful"}


def code_of(file: str) -> str:
    return block_with(PAGE, "python", FILES[file])


def chip_file(folder: Path, kinds: dict[str, str], write_kind: str) -> str:
    """The chip and its write preset in a folder; returns the path of the chip."""
    text = CHIP
    for word, kind in kinds.items():
        text = text.replace(word, kind)
    preset = block_with(PAGE, "yaml", "name: set-reset").replace("./set_reset.py", write_kind)
    (folder / "set-reset.yaml").write_text(preset)
    (folder / "chip.yaml").write_text(text)
    return str(folder / "chip.yaml")


def by_path(folder: Path) -> str:
    """A chip whose parts are Python files that lie beside it; returns its path."""
    for file in FILES:
        (folder / file).write_text(code_of(file))
    return chip_file(folder, BY_PATH, "./set_reset.py")


def assert_runs(chip: imcsim.Hardware, scheme: str) -> None:
    """Costs and answers are those of the dropped parts."""
    assert CostTable.of(chip).price_pj("adc", "convert") == pytest.approx(511 * 0.02)
    report = imcsim.run("resnet20_cifar", chip, scheme)
    assert "one copy of each layer" in report.summary["notes"]
    pulses = report.energy.set_index(["component", "action"]).loc[("cell", "pulse")]
    assert pulses["energy_pj"] == pytest.approx(20 * pulses["amount"])
    assert report.summary["cells_failed"] > 0
    fresh, later = (
        imcsim.run(MODEL, chip, "static", trial=Trial(MODEL, DATA, images=4, ages_s=(age_s,))).summary["values"]
        for age_s in (0.0, 1e8)
    )
    assert fresh["layers"][0]["snr"] != later["layers"][0]["snr"]
    assert fresh["device"]["loss_per_decade"] == 0.01


@pytest.mark.parametrize("file", FILES)
def test_the_page_shows_the_files_of_the_example_package(file: str) -> None:
    assert (EXAMPLE / file).read_text() == code_of(file)


def test_the_page_shows_the_entry_points_of_the_example_package() -> None:
    assert block_with(PAGE, "toml", "entry-points") in (EXAMPLE.parent / "pyproject.toml").read_text()


def test_files_by_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = imcsim.load_hardware(by_path(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert_runs(chip, "./one_copy.py")


def test_files_in_the_folder_of_their_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, registry in FOLDERS.items():
        folder = tmp_path / Path(file).stem
        folder.mkdir()
        drop(code_of(file), file, registry, folder, monkeypatch)
    chip = imcsim.load_hardware(chip_file(tmp_path, BY_KIND, "set_reset"))
    assert not python_files.digest_of(type(chip.cell.device))
    assert_runs(chip, "one_copy")


def test_a_write_circuit_keeps_what_needs_no_write(tmp_path: Path) -> None:
    """By the defaults of the base: all cells that change are alike."""
    chip = imcsim.load_hardware(by_path(tmp_path))
    circuit, device = chip.cell.write, chip.cell.device
    rng = np.random.default_rng(1)
    old = device.program(np.full((40, 50), 5.0), rng)
    kept = rng.random((40, 50)) < 0.3
    cells, written = circuit.write_cells(device, np.full((40, 50), 9.0), old, kept, rng)
    assert np.array_equal(cells.programmed_usiemens, np.where(kept, 5.0, 9.0))
    assert np.array_equal(written.pulses, np.where(kept, 0, 1))
    assert written.row_time_ns == pytest.approx(np.full(40, 300.0))
    assert written.actions == {"pulse": pytest.approx((~kept).sum())}
    assert written.energy_pj == pytest.approx(20 * (~kept).sum())
    assert not (written.failed & kept).any()
    assert written.failed.sum() / (~kept).sum() == pytest.approx(0.01, abs=0.01)


# -- files by their path: what they are, and what they are not ---------------------------------------------------------


def test_a_hash_depends_on_what_files_contain_and_not_on_where_they_lie(tmp_path: Path) -> None:
    hashes, schemes = [], []
    for name, old, new in (("here", "", ""), ("there", "", ""), ("changed", "1 - self", "1 - 2 * self")):
        (tmp_path / name).mkdir()
        path = by_path(tmp_path / name)
        device = tmp_path / name / "forgetful.py"
        device.write_text(device.read_text().replace(old, new))
        hashes.append(imcsim.load_hardware(path).hash)
        scheme = tmp_path / name / "one_copy.py"
        scheme.write_text(scheme.read_text() + f"# {new}\n")
        schemes.append(imcsim.run("resnet20_cifar", "rram-256", str(scheme)).run_id)
    assert hashes[0] == hashes[1] != hashes[2]
    assert schemes[0] == schemes[1] != schemes[2]


def test_values_can_be_set_on_a_chip_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = by_path(tmp_path)
    monkeypatch.chdir(tmp_path)
    of_chip = imcsim.load_hardware(path, {"cell.device.loss_per_decade": 0.02})
    by_name = imcsim.load_hardware(
        "rram-256", {"cell.device.kind": "./forgetful.py", "cell.device.loss_per_decade": 0.02}
    )
    assert of_chip.cell.device == by_name.cell.device
    assert of_chip.source("cell.device.loss_per_decade") == "set by the user"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cell.device.loss_per_decad": 0.02}, "cell.device.loss_per_decad: unknown key 'loss_per_decad'; did"),
        ({"cell.device.loss_per_decade": -1}, "cell.device.loss_per_decade: must be at least 0, got -1"),
        ({"cell.device.kind": "./none.py"}, "cell.device: none.py: there is no such file"),
        ({"cell.device.kind": "forgetfull"}, "cell.device: unknown kind 'forgetfull'; known: ideal"),
        ({"cell.device.kind": "./flash.py"}, "flash.py: it defines no device; derive a class from imcsim.hard"),
        ({"cell.device.kind": "./two.py"}, "two.py: it defines several: first, second; keep one of them"),
        ({"cell.device.kind": "./broken.py"}, "broken.py, line 3: cannot be loaded (ZeroDivisionError: "),
        ({"cell.device.kind": "./syntax.py"}, "syntax.py, line 2: cannot be loaded (SyntaxError: "),
        ({"cell.device.kind": "forgetful@0123"}, "which this process has not read: forgetful@0123; give the path"),
    ],
)  # fmt: skip
def test_mistakes_are_named(
    changes: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = by_path(tmp_path)
    first = code_of("forgetful.py").replace('"forgetful"', '"first"')
    (tmp_path / "two.py").write_text(first + '\n\nclass Second(Forgetful):\n    kind: Literal["second"]\n')
    (tmp_path / "broken.py").write_text("\n\nx = 1 / 0\n")
    (tmp_path / "syntax.py").write_text("\nx = = 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(imcsim.ImcsimError) as caught:
        imcsim.load_hardware(path, changes)
    assert says in str(caught.value)


def test_a_chip_with_files_passes_to_other_processes(tmp_path: Path) -> None:
    """Which have never seen the files, and cannot: they are gone."""
    chip = imcsim.load_hardware(by_path(tmp_path))
    for file in FILES:
        (tmp_path / file).unlink()
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).hash, flush=True)"
    other = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(chip), capture_output=True, check=True)
    assert other.stdout.decode().strip() == chip.hash
    one, two = (imcsim.compare("resnet20_cifar", chip, schemes=["static"], batches=[1], processes=n) for n in (1, 2))
    assert one.frame.equals(two.frame)


def test_a_broken_file_in_a_folder_harms_only_those_who_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop("x = 1 / 0\n", "broken.py", DEVICES, tmp_path, monkeypatch)
    assert imcsim.load_hardware("hermes-64").cell.device.kind == "pcm_hermes"
    says = r"imcsim\.hardware\.devices\.broken: cannot be loaded \(ZeroDivisionError: .*; correct or remove the file"
    with pytest.raises(imcsim.ImcsimError, match=says):
        imcsim.load_hardware("hermes-64", {"cell.device.kind": "broken"})
