"""Does an installed package bring classes and presets of its own, and does a broken one harm nobody else?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imcsim
from imcsim.hardware.devices import DEVICES, load_device
from imcsim.reporting.explain.listing import LISTS
from imcsim.util import presets
from tests.house.test_api import ROOT
from tests.support.plugins import install, on_the_path

EXAMPLE = ROOT / "tests" / "example_plugin"
DEVICE = (EXAMPLE / "imcsim_example" / "forgetful.py").read_text()
CHIP = "name: {name}\ndescription: of a package\nextends: rram-256\n"


@pytest.fixture(scope="module")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the example package."""
    source, target = (tmp_path_factory.mktemp("example") / name for name in ("source", "target"))
    shutil.copytree(EXAMPLE, source)
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation")
    words = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target), str(source)]
    subprocess.run(words, check=True, capture_output=True)
    return target


def command(folder: Path, *words: str) -> str:
    """What the command line says in a process that finds the packages of a folder."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    outcome = subprocess.run(
        [sys.executable, "-m", "imcsim", *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return outcome.stdout


def test_the_example_package_runs_when_it_is_installed(installed_example: Path) -> None:
    run = ("run", "resnet20_cifar", "--hardware", "example-chip", "--scheme", "one_copy", "--json")
    summary = json.loads(command(installed_example, *run))
    assert (summary["write"], summary["hardware"]) == ("example-set-reset", "example-chip")
    assert "one copy of each layer" in summary["notes"]


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("devices", "forgetful"), ("adcs", "flash"), ("write-circuits", "set_reset"), ("schemes", "one_copy"),
        ("hardware", "example-chip"), ("writes", "example-set-reset"),
    ],
)  # fmt: skip
def test_lists_say_where_things_come_from(what: str, name: str, installed_example: Path) -> None:
    rows = {row["name"]: row for row in json.loads(command(installed_example, "list", what, "--json"))}
    assert rows.pop(name)["from"] == "imcsim-example 1.0"
    assert {row["from"] for row in rows.values()} == {"imcsim"}


# -- broken packages ---------------------------------------------------------------------------------------------------

BROKEN = {  # name of the entry point: what it names, and what is said to those who ask for it
    "missing": ("acme.nowhere:Device", "cannot be loaded (ModuleNotFoundError: No module named 'acme.nowhere')"),
    "nameless": ("acme.cells:Nothing", "cannot be loaded (AttributeError: "),
    "failing": ("acme.failing:Device", "cannot be loaded (ZeroDivisionError: division by zero); repair or uninstall"),
    "number": ("acme.cells:NUMBER", "'acme.cells:NUMBER' is no device; derive a class from imcsim.hardware.DeviceSpec"),
    "wrong": ("acme.cells:Forgetful", "its class calls itself 'forgetful'; give both the same name"),
}


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[None]:
    """A package of which nearly everything is broken, or clashes with what is shipped."""
    devices = {name: value for name, (value, _) in BROKEN.items()}
    points = {
        "imcsim.devices": {**devices, "forgetful": "acme.cells:Forgetful", "ideal": "acme.cells:Ideal"},
        "imcsim.presets": {"acme": "acme.files", "gone": "acme.gone"},
    }
    ideal = '\n\nNUMBER = 3\n\n\nclass Ideal(Forgetful):\n    kind: Literal["ideal"]\n'
    files = {
        "acme/__init__.py": "",
        "acme/cells.py": DEVICE + ideal,
        "acme/failing.py": "x = 1 / 0\n",
        "acme/files/hwconfigs/isaac.yaml": CHIP.format(name="isaac"),
        "acme/files/hwconfigs/acme-chip.yaml": CHIP.format(name="acme-chip"),
        "acme/files/hwconfigs/acme-broken.yaml": "name: acme-broken\nextends: nothing\n",
    }
    install("acme", points, files, tmp_path)
    with on_the_path(tmp_path, DEVICES):
        yield


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.usefixtures("acme")
def test_what_is_broken_is_told_to_those_who_ask_for_it(name: str) -> None:
    with pytest.raises(imcsim.ImcsimError) as caught:
        load_device(name)
    assert str(caught.value).startswith(f"package acme 1.0, entry point '{name}' of imcsim.devices: ")
    assert BROKEN[name][1] in str(caught.value)


@pytest.mark.usefixtures("acme")
def test_a_name_that_two_bring_is_refused() -> None:
    with pytest.raises(imcsim.ImcsimError, match=r"device 'ideal': is brought by imcsim and acme 1\.0; uninstall"):
        load_device("ideal")
    with pytest.raises(imcsim.ImcsimError, match=r"isaac: is brought by imcsim and acme 1\.0; give the path"):
        imcsim.load_hardware("isaac")


@pytest.mark.usefixtures("acme")
def test_what_is_not_broken_works() -> None:
    assert load_device("forgetful", loss_per_decade=0.01).kind == "forgetful"
    assert load_device("rram_milo2021").kind == "rram_milo2021"
    assert imcsim.load_hardware("acme-chip").name == "acme-chip"
    assert imcsim.load_hardware("rram-256").name == "rram-256"


@pytest.mark.usefixtures("acme")
def test_a_package_without_its_presets_is_told_where_a_name_is_not_found() -> None:
    with pytest.raises(
        imcsim.ImcsimError, match=r"acme 1\.0, entry point 'gone' of imcsim\.presets: there is no package"
    ):
        presets.find("hwconfigs", "acme-chips")


@pytest.mark.usefixtures("acme")
def test_lists_show_what_is_broken() -> None:
    devices = {row["name"]: row for row in LISTS["devices"]()}
    assert all(says in devices[name]["description"] for name, (_, says) in BROKEN.items())
    assert devices["ideal"]["from"] == "imcsim and acme 1.0"
    chips = {row["name"]: row["description"] for row in LISTS["hardware"]()}
    assert chips["acme-chip"] == "of a package"
    assert all(chips[name].startswith("cannot be used: ") for name in ("isaac", "acme-broken"))
    assert "there is no package 'acme.gone' with presets" in chips["?"]
