"""Does the explanation of a device say what its model says, and is every kind drawn?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.hardware.devices import DEVICES, DeviceSpec, load_device
from imcsim.reporting.explain import device as device_explained
from imcsim.reporting.figures import device as device_figure
from tests.conftest import Outcome
from tests.support.plugins import classes

Command = Callable[..., Outcome]
PNG = b"\x89PNG"


def example(kind: str, **fields: Any) -> DeviceSpec:
    given = {name: field.examples[0] for name, field in classes(DEVICES)[kind].model_fields.items() if field.examples}
    return load_device(kind, **(given | fields))


@pytest.mark.parametrize("kind", classes(DEVICES))
def test_every_kind_is_drawn(kind: str, tmp_path: Path) -> None:
    files = device_figure.draw_device(example(kind, stuck_on_frac=0.1), tmp_path / "new")
    assert [path.name for path in files] == [f"device_{kind}.png", f"device_{kind}.svg"]
    assert files[0].read_bytes().startswith(PNG)
    drawn = files[1].read_text()
    assert all(title in drawn for title in ("Programming error", "Drift", "Read noise", kind))
    assert sorted((tmp_path / "new").iterdir()) == files


def test_a_panel_without_anything_in_it_says_so(tmp_path: Path) -> None:
    _, ideal = device_figure.draw_device(example("ideal"), tmp_path)
    assert "every target is reached" in ideal.read_text()
    assert "reads are without noise" in ideal.read_text()
    _, milo = device_figure.draw_device(example("rram_milo2021"), tmp_path)
    assert "the model holds at age 0 only" in milo.read_text()


def test_a_curve_has_one_entry_in_the_legend(tmp_path: Path) -> None:
    _, drawn = device_figure.draw_device(example("rram_cmo2025"), tmp_path)  # points at age 0, lines from 1 s on
    assert len(re.findall(r">88\.2 uS<", drawn.read_text())) == 1


def test_columns_are_the_ages_at_which_the_model_holds() -> None:
    assert list(device_explained.errors(example("rram_milo2021"))) == ["target", "write", "read, fresh (0 s)"]
    wan = device_explained.errors(example("rram_wan2022"))
    assert list(wan)[2:] == ["read, fresh (1 s)", "read, 1 h", "read, 1 d", "left, 1 h", "left, 1 d"]


def test_numbers_are_those_of_the_model() -> None:
    device = example("rram_wan2022")
    table = device_explained.errors(device)
    targets = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    assert np.array_equal(table["target"], targets)
    assert np.allclose(table["write"], device.program_sigma_usiemens(targets))
    assert np.allclose(table["read, 1 h"], 0.4)
    accumulative = device_explained.errors(example("pcm_accumulative"))
    assert np.allclose(accumulative["left, 1 d"], 100 * ((86_400 + 38.6) / 38.6) ** -0.04)  # its only exponent


def test_what_has_no_closed_form_is_sampled() -> None:
    table = device_explained.errors(example("pcm_accumulative"))
    reset = table["write, sampled"][0]  # the lowest target is a RESET, which scatters by 0.01 uS
    assert abs(reset - 0.01) < 5 * 0.01 / math.sqrt(2 * device_explained.N_CELLS)


def test_cells_that_conduct_nothing_have_nothing_left() -> None:
    left = device_explained.errors(example("ideal"))["left, 1 y"]
    assert math.isnan(left[0])
    assert np.array_equal(left[1:], [100.0] * 4)


def test_targets_are_levels_and_cells_are_not_stuck() -> None:
    device = example("rram_generic", n_levels=3, stuck_on_frac=0.5)
    cells = device_explained.sample(device, 5)
    assert np.allclose(cells.targets_usiemens, np.linspace(100 / 17, 100, 3))
    assert not cells.cells.stuck.any()
    assert dict(device_explained.facts(device).itertuples(index=False))["levels"] == "3"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (1, "1 s"), (300, "5 min"), (172_800, "2 d"), (31_536_000, "1 y"), (0.5, "0.5 s")]
)
def test_ages_in_words(seconds: float, text: str) -> None:
    assert device_explained.age(seconds) == text


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_and_draws(imcsim: Command, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    outcome = imcsim("explain", "pcm_hermes", "--device-option", "devices=2", "-o", str(out))
    assert outcome.code == 0, outcome.err
    assert all(word in outcome.out for word in ("pcm_hermes", "0 to 20.7 uS", "HERMES", "devices=2", "left, 1 y"))
    assert {path.name for path in out.iterdir()} == {"device_pcm_hermes.png", "device_pcm_hermes.svg"}
    assert "written to" in outcome.err


def test_nothing_is_drawn_unless_asked_for(imcsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = imcsim("explain", "rram_milo2021")
    assert (outcome.code, outcome.err) == (0, "")
    assert "0 only (as programmed)" in outcome.out
    assert list(tmp_path.iterdir()) == []


def test_a_device_from_a_file(imcsim: Command, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
    path = tmp_path / "fefet_example.py"
    path.write_text(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[1])
    outcome = imcsim("explain", str(path), "--device-option", "sigma_frac=0.02", "-o", str(tmp_path))
    assert outcome.code == 0, outcome.err
    assert "ferroelectric" in outcome.out
    assert (tmp_path / "device_fefet_example.svg").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("pcm_herms", "there is no such hardware and no such device; did you mean 'pcm_hermes'?"),
        ("isac", "there is no such hardware and no such device; did you mean 'isaac'?"),
        ("isaac -o figures", "is a chip, not a device; leave out --out"),
        ("ideal --set tile.adc.bits=7", "is a device, not a chip; leave out --set"),
        ("pcm_hermes", "the key 'devices' is missing"),
        ("ideal --device-option colour=2", "unknown key 'colour'"),
    ],
)
def test_mistakes(words: str, says: str, imcsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = imcsim("explain", *words.split())
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_chip_goes_before_a_device_of_the_same_name(imcsim: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES.origins, "isaac", DEVICES.origins["ideal"])
    assert "41.29" in imcsim("explain", "isaac").out
