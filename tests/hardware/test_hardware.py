"""Do the presets close on their papers, is every number sourced and priced, and do changes change what they say?"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import imcsim
from imcsim.hardware import adcs as converters
from imcsim.hardware import figures_of_merit
from imcsim.hardware.actions import PRICED
from imcsim.hardware.adcs import survey
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import IDEAL_PARTS, Hardware, IdealPart, idealise, load_hardware, override
from imcsim.reporting.explain import hardware as explain
from imcsim.util import presets, units
from imcsim.util.errors import ImcsimError
from tests.support.plugins import classes

PRESETS = list(presets.shipped_files("hwconfigs"))
WRITES = list(presets.shipped_files("hwconfigs/write"))
SHARING = ({"kind": "private", "n_per_crossbar": 2}, {"kind": "pooled", "crossbars_per_pool": 4, "n_per_pool": 2})


def adc_block(kind: str, sharing: dict[str, Any]) -> dict[str, Any]:
    """An ADC of a kind, with the examples that the kind gives for its own keys."""
    fields = classes(converters.ADCS)[kind].model_fields
    return {"kind": kind, "bits": 8, "convert_ns": 0.78125, "sharing": sharing} | {
        name: field.examples[0] for name, field in fields.items() if field.examples
    }


# -- every preset, every ADC ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_sourced_priced_and_closes(name: str) -> None:
    hardware = load_hardware(name)
    assert hardware.name == name
    assert all(hardware.source(key) for key in hardware.numbers())
    costs = CostTable.of(hardware)
    for component, action in PRICED:
        if costs.price_pj(component, action) == 0:
            assert any(word in costs.source(component, action) for word in ("included", "assumed"))
    assert costs.area_um2 == pytest.approx(hardware.area_um2)
    assert costs.area_um2 > 0
    checks = explain.published(hardware)
    assert checks["ok"].all(), checks[~checks["ok"]]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("write", WRITES)
def test_every_write_preset_fits_every_chip(name: str, write: str) -> None:
    hardware = load_hardware(name, write=write)
    assert hardware.cell.write.name == write
    assert hardware.name == name
    assert hardware.cell.write.time_ns(hardware.crossbar.rows, hardware.crossbar.columns) > 0
    assert CostTable.of(hardware).source("cell", next(iter(hardware.cell.write.prices_pj())))


@pytest.mark.parametrize("name", PRESETS)
def test_a_resolved_preset_is_a_preset(name: str, tmp_path: Path) -> None:
    hardware = load_hardware(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(hardware.model_dump(mode="json")))
    assert load_hardware(str(path)) == hardware
    assert load_hardware(str(path)).hash == hardware.hash


@pytest.mark.parametrize("kind", sorted(classes(converters.ADCS)))
@pytest.mark.parametrize("sharing", SHARING, ids=lambda sharing: sharing["kind"])
def test_every_adc_kind_obeys_the_common_laws(kind: str, sharing: dict[str, Any]) -> None:
    hardware = load_hardware("rram-256", {"tile.adc": adc_block(kind, sharing)})
    adc = hardware.tile.adc
    assert isinstance(adc, classes(converters.ADCS)[kind])
    assert adc.n_per_crossbar == 2
    assert adc.mean_per_crossbar == (2 if sharing["kind"] == "private" else 0.5)
    assert hardware.phase_cycles(128) == 5
    assert CostTable.of(hardware).price_pj("adc", "convert") > 0
    assert [hardware.phase_cycles(c) for c in range(1, 129)] == sorted(hardware.phase_cycles(c) for c in range(1, 129))


def test_adc_sharing_sets_the_area_of_computed_prices() -> None:
    private, pooled = (load_hardware("rram-256", {"tile.adc": adc_block("survey", sharing)}) for sharing in SHARING)
    assert private.all_parts()["adc"].area_um2 == pytest.approx(4 * pooled.all_parts()["adc"].area_um2)
    assert private.all_parts()["adc"].actions_pj == pooled.all_parts()["adc"].actions_pj


# -- published numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enob_bits", "rate_hz", "node_nm", "energy_pj", "area_um2"),
    [
        (4, 1e9, 32, 0.924, 4964), (6, 1e9, 32, 1.065, 5180), (8, 1e9, 32, 1.714, 5972), (8, 1.28e9, 32, 1.929, 6469),
        (8, 1e8, 32, 1.714, 3939), (8, 1e6, 32, 1.714, 1714), (10, 1e9, 32, 13.95, 11180), (12, 1e9, 32, 133, 21959),
        (8, 1e9, 7, 0.098, 561), (8, 1e9, 14, 0.362, 1650), (8, 1e9, 22, 0.847, 3334), (8, 1e9, 28, 1.333, 4852),
        (8, 1e9, 40, 2.61, 8450), (8, 1e9, 65, 6.49, 17983), (8, 1e9, 130, 23.9, 52864), (8, 1e9, 180, 44.1, 87704),
    ],
)  # fmt: skip
def test_survey_fit(enob_bits: float, rate_hz: float, node_nm: float, energy_pj: float, area_um2: float) -> None:
    sharing = converters.Private(kind="private", n_per_crossbar=1)
    adc = survey.SurveyAdc(
        kind="survey",
        bits=8,
        convert_ns=1e9 / rate_hz,
        sharing=sharing,
        enob_bits=float(enob_bits),
        node_nm=float(node_nm),
    )
    assert adc.energy_pj == pytest.approx(energy_pj, rel=6e-3)
    assert adc.area_um2 == pytest.approx(area_um2, rel=1e-3)
    part = adc.part()
    assert part.actions_pj["convert"] + part.leakage_uw * adc.convert_ns / 1000 == pytest.approx(adc.energy_pj)


def test_isaac_closes_to_the_printed_digit() -> None:
    hardware = load_hardware("isaac")
    printed = {
        "unit_power_mw": "24.08", "unit_area_mm2": "0.01312", "tile_power_mw": "329.8", "tile_area_mm2": "0.3723",
        "chip_power_w": "65.8", "chip_area_mm2": "85.4", "peak_tops": "41.29", "printed_gops_per_w": "627.5",
    }  # fmt: skip
    figures = explain.figures(hardware).set_index("figure")["value"]
    for name, text in printed.items():
        decimals = len(text.partition(".")[2])
        assert f"{figures[name]:.{decimals}f}" == text, name


def test_hermes_four_phase_rate_is_one_override_away() -> None:
    hardware = load_hardware("hermes-64", {"crossbar.evaluate_ns": 521})
    assert figures_of_merit.peak_tops(hardware, hardware.precision) == pytest.approx(16.1, rel=1e-3)


# -- sizes ---------------------------------------------------------------------------------------------------------


def test_sizes_of_the_small_chip() -> None:
    hardware = load_hardware("rram-256")
    assert hardware.n_crossbars == 256
    assert hardware.period_ps == 10_000
    assert hardware.weight_columns(8) == 8
    assert hardware.input_phases(8, 128) == 8
    assert [hardware.phase_cycles(columns) for columns in (1, 12, 13, 127, 128)] == [1, 1, 2, 10, 10]
    assert load_hardware("rram-16k").n_crossbars == 16_384 >= 12_504


def test_fewer_wordlines_take_more_phases() -> None:
    hardware = load_hardware("rram-256", {"crossbar.wordlines_active": 32})
    assert [hardware.input_phases(8, rows) for rows in (1, 32, 33, 128)] == [8, 8, 16, 32]


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 5000))
def test_cycles_round_up_once(n_cycles: int, clock_mhz: int) -> None:
    assert units.cycles(n_cycles * 1000 / clock_mhz, clock_mhz) == n_cycles
    assert units.cycles(Fraction(n_cycles * 1000, clock_mhz), clock_mhz) == n_cycles
    assert units.cycles((n_cycles + 0.001) * 1000 / clock_mhz, clock_mhz) in (n_cycles, n_cycles + 1)


def test_levels_add_up() -> None:
    hardware = load_hardware("isaac")
    sums = explain.sums(hardware).set_index("level")["power_mw"]
    assert 12 * sums["unit"] + 40.85 == pytest.approx(sums["tile"])
    assert 168 * sums["tile"] + 10_400 == pytest.approx(sums["chip"])


# -- changes -------------------------------------------------------------------------------------------------------


def test_overrides_change_value_source_and_hash() -> None:
    plain, changed = load_hardware("rram-256"), load_hardware("rram-256", {"tile.adc.bits": "6"})
    assert changed.tile.adc.bits == 6
    assert changed.source("tile.adc.bits") == "set by the user"
    assert changed.source("tile.adc.convert_ns") == plain.source("tile.adc.convert_ns")
    assert changed.hash != plain.hash == load_hardware("rram-256", {}).hash == override(plain, {}).hash


def test_overrides_of_prices_are_marked() -> None:
    changed = load_hardware("rram-256", {"parts.adc.actions_pj.convert": 3})
    assert CostTable.of(changed).price_pj("adc", "convert") == 3
    assert changed.parts["adc"].source.startswith("set by the user: parts.adc.actions_pj.convert; the rest: ISAAC")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("tile.adc.bit", 6, "unknown key 'bit'; did you mean 'bits'?"),
        ("tile.adc.bits", 0, "must be greater than 0, got 0"),
        ("tile.adc.bits", "six", "expected a whole number, got 'six'"),
        ("tile.bus.kind", "idle", "unknown kind 'idle'; did you mean 'ideal'?"),
        ("parts.adk.area_um2", 6, "unknown key 'adk'; did you mean 'adc'?"),
        ("parts.adc.actions_pj.convrt", 6, "unknown key 'convrt'; did you mean 'convert'?"),
        ("tile.n_crossbars", 12, "unit_crossbars is 8, which does not divide the 12 crossbars of a tile"),
    ],
)
def test_bad_overrides(key: str, value: object, sentence: str) -> None:
    with pytest.raises(ImcsimError) as caught:
        load_hardware("rram-256", {key: value})
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", [name for name in IDEAL_PARTS if name != "adc"])
def test_each_part_can_be_made_ideal_alone(name: str) -> None:
    plain, ideal = load_hardware("rram-256"), load_hardware("rram-256", ideal=[name])
    old, new = plain.model_dump(), ideal.model_dump()
    block, key = IDEAL_PARTS[name].split(".")
    assert new[block].pop(key) == IdealPart(kind="ideal").model_dump()
    old[block].pop(key)
    assert {level: new[level] for level in ("chip", "tile", "crossbar", "cell")} == {
        level: old[level] for level in ("chip", "tile", "crossbar", "cell")
    }


def test_an_ideal_adc_is_not_shared() -> None:
    pooled = load_hardware("rram-256", {"tile.adc.sharing": SHARING[1]})
    ideal = idealise(pooled, ["adc"])
    assert ideal.tile.adc.sharing == converters.Private(kind="private", n_per_crossbar=2)
    assert ideal.phase_cycles(128) == pooled.phase_cycles(128)
    everything = idealise(pooled, ["all"])
    assert everything.tile.bus == everything.chip.noc == everything.tile.digital == IdealPart(kind="ideal")
    with pytest.raises(ImcsimError, match="unknown part 'buss'; did you mean 'bus'"):
        idealise(pooled, ["buss"])


def test_a_file_answers_for_its_own_numbers(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    head = "extends: rram-256\nname: wide\ndescription: d\n"
    path.write_text(head + "crossbar: {columns: 256}\nsources: {crossbar: my own}\n")
    hardware = load_hardware(str(path))
    assert hardware.source("crossbar.columns") == "my own"
    assert hardware.source("crossbar.rows") == load_hardware("rram-256").source("crossbar.rows")
    assert hardware.published == {}


def test_a_write_file_of_ones_own_lies_beside_the_chip(tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text("extends: ember2b_word\nname: slow\nword_ns: 32400\nsources: {word_ns: mine}\n")
    chip = tmp_path / "chip.yaml"
    chip.write_text("extends: rram-256\nname: chip\ndescription: d\ncell: {write: slow.yaml}\n")
    hardware = load_hardware(str(chip))
    assert hardware.cell.write.time_ns(128, 128) == 128 * 3 * 32_400
    assert hardware.source("cell.write.word_ns") == "mine"
    assert load_hardware("rram-256", write=str(tmp_path / "slow.yaml")).cell == hardware.cell


def test_assumed_numbers_are_listed_with_their_value() -> None:
    assumed = load_hardware("isaac", write="radar2b_row").assumed()
    assert "cell.write.pulse_ns = 100.0: assumed, not stated with the measurement" in assumed
    assert not any(row.startswith("cell.write.word_ns") for row in assumed)
    assert any(row.startswith("parts.digital: ") for row in assumed)
    assert not any(row.startswith("tile.adc") for row in load_hardware("isaac").assumed())


def test_a_component_or_action_without_price_is_refused() -> None:
    costs = CostTable.of(load_hardware("rram-256"))
    with pytest.raises(ImcsimError, match="'buss' has no row"):
        costs.price_pj("buss", "byte")
    with pytest.raises(ImcsimError, match="the action 'bits' has no price"):
        costs.price_pj("bus", "bits")


# -- explain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_explain_prints_numbers_sums_prices_and_assumptions(name: str) -> None:
    hardware, out = load_hardware(name), StringIO()
    imcsim.explain(hardware).show(Console(file=out, width=250))
    text = out.getvalue()
    for needed in ("Numbers", "Sums", "Prices", "chip.clock_mhz", hardware.description, f"{len(hardware.assumed())}"):
        assert needed in text
    assert ("Against the paper" in text) == bool(hardware.published)


def test_an_unknown_published_figure_is_named() -> None:
    data = load_hardware("isaac").model_dump(mode="json")
    data["published"]["peak"]["figure"] = "peak_top"
    with pytest.raises(ImcsimError, match="unknown figure 'peak_top'; did you mean 'peak_tops'"):
        explain.published(Hardware.model_validate_json(json.dumps(data)))


def test_frames_have_one_row_per_price() -> None:
    hardware = load_hardware("puma")
    frame = CostTable.of(hardware).frame()
    assert len(frame) == sum(len(part.actions_pj) for part in hardware.all_parts().values())
    assert math.isclose(explain.parts(hardware).area_um2.max(), 22_880_000)
    assert len(explain.tree(hardware)) == len(hardware.numbers())
