"""Is each mistake in a file refused with a sentence that names file, key and remedy?"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import PositiveInt

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import load_hardware
from imcsim.util import config, presets
from imcsim.util.errors import ImcsimError

BAD = Path(__file__).parents[1] / "bad" / "hardware"


def expected(path: Path) -> str:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# expect: "), f"{path}: the first line says which sentence is expected"
    return first.removeprefix("# expect: ")


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_hardware_is_refused_with_the_expected_sentence(path: Path) -> None:
    with pytest.raises(ImcsimError) as caught:
        CostTable.of(load_hardware(str(path)))
    assert str(caught.value).replace(f"{BAD}/", "") == expected(path)


def places(data: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every block and value of a file."""
    blocks = data if isinstance(data, dict) else {}
    below = [place for key, value in blocks.items() for place in places(value, (*path, key))]
    return [path, *below] if path else below


def complaint(*arguments: Any) -> str:
    """Return the sentence with which hardware is refused; empty where it is accepted."""
    try:
        CostTable.of(load_hardware(*arguments))
    except ImcsimError as error:
        return str(error)
    return ""


WHOLE = yaml.safe_load((presets.shipped_dir("hwconfigs") / "isaac.yaml").read_text())
VALUES: list[Any] = [None, True, -1, 0, 1.5, "", "x", "1"]
JUNK = [*VALUES, [], [1, "x"], [[]], {}, {"kind": "x"}, {"kind": 3}, {"x": {"y": 1}}, {1: 2}]


@settings(deadline=None)
@given(st.sampled_from(places(WHOLE)), st.sampled_from(JUNK), st.booleans())
def test_junk_anywhere_in_a_file_makes_sense_or_is_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], junk: Any, is_complete: bool
) -> None:
    data = copy.deepcopy(WHOLE) if is_complete else {"extends": "isaac", "name": "n", "description": "d"}
    block = data
    for key in place[:-1]:
        block = block.setdefault(key, {})
    block[place[-1]] = junk
    path = tmp_path_factory.getbasetemp() / "junk.yaml"
    path.write_text(yaml.safe_dump(data))
    assert "\n" not in complaint(str(path))


@settings(deadline=None)
@given(st.sampled_from(places(WHOLE)), st.sampled_from(JUNK))
def test_junk_in_an_override_makes_sense_or_is_refused_in_one_sentence(place: tuple[str, ...], junk: Any) -> None:
    assert "\n" not in complaint("isaac", {".".join(place): junk})


class Block(config.Spec):
    kind: Literal["block"]
    size: PositiveInt


class Model(config.Spec):
    name: str
    items: tuple[Block, ...]
    limit: Literal["all"] | PositiveInt = "all"


def build(**changes: Any) -> Model:
    return config.build(Model, {"name": "m", "items": [{"kind": "block", "size": 1}]} | changes, "file")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": 3}, "file: name: expected a text, got 3"),
        ({"items": {}}, "file: items: expected a list, got {}"),
        ({"items": [3]}, "file: items[0]: expected a block of keys, got 3"),
        ({"items": [{"kind": "block"}]}, "file: items[0].size: the key 'size' is missing; add it"),
        ({"items": [{"kind": "block", "sise": 3}]}, "file: items[0].sise: unknown key 'sise'; did you mean 'size'?"),
        ({"limit": "some"}, "file: limit: expected 'all' or a whole number, got 'some'"),
        ({"limit": 0}, "file: limit: expected 'all' or must be greater than 0, got 0"),
        ({"limt": 0}, "file: limt: unknown key 'limt'; did you mean 'limit'?"),
    ],
)
def test_mistakes_in_plain_words(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImcsimError) as caught:
        build(**changes)
    assert str(caught.value) == sentence


def test_a_good_block_is_frozen() -> None:
    model = build(limit=3)
    assert model.items == (Block(kind="block", size=1),)
    with pytest.raises(ValueError, match="frozen"):
        model.name = "other"


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("2.e6", 2e6), ("1e6", 1e6), ("-4", -4), ("0.5", 0.5)])
def test_numbers_with_an_exponent_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"x: {text}\n")
    assert config.read_yaml(path) == {"x": value}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match="there is no such file"):
        config.read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ImcsimError, match="cannot be read"):
        config.read_yaml(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImcsimError, match="cannot be read"):
        config.read_yaml(tmp_path / "binary.yaml")
    (tmp_path / "endless.yaml").write_text("name: m\nitems: &a [*a]\n")
    with pytest.raises(ImcsimError, match="refers to itself"):
        config.read_yaml(tmp_path / "endless.yaml")
    (tmp_path / "keys.yaml").write_text("? [a, b]\n: 3\n")
    with pytest.raises(ImcsimError, match="a key is no word"):
        config.read_yaml(tmp_path / "keys.yaml")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rram-257", "did you mean 'rram-256'?"),
        ("nowhere/chip.yaml", "there is no such file"),
        ("tests", "is a directory"),
    ],
)
def test_names_that_are_not_there(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ImcsimError, match=sentence):
        presets.find("hwconfigs", name)


def test_shipped_names_work_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert presets.find("hwconfigs", "isaac").name == "isaac.yaml"
    (tmp_path / "isaac").write_text("a file of the same name wins")
    assert presets.find("hwconfigs", "isaac") == Path("isaac")


def test_merge_replaces_a_block_of_another_kind() -> None:
    base = {"bus": {"kind": "shared", "width": 8}, "x": {"a": 1, "b": 2}}
    merged = config.merge(base, {"bus": {"kind": "ideal"}, "x": {"b": 3}})
    assert merged == {"bus": {"kind": "ideal"}, "x": {"a": 1, "b": 3}}


DATA = {"tile": {"adc": {"bits": 8}, "bus": {"kind": "shared", "width": 8}}, "points": [1]}


def test_overrides_are_read_as_yaml_and_leave_the_original() -> None:
    changed = config.apply_overrides(DATA, {"tile.adc.bits": "6", "points": "[1, 2]"}, "file")
    assert changed["tile"]["adc"]["bits"] == 6
    assert changed["points"] == [1, 2]
    assert config.apply_overrides(DATA, {}, "file")["tile"]["adc"]["bits"] == 8


def test_an_override_of_the_kind_clears_the_block_whatever_the_order() -> None:
    changed = config.apply_overrides(DATA, {"tile.bus.lanes": "4", "tile.bus.kind": "wide"}, "file")
    assert changed["tile"]["bus"] == {"kind": "wide", "lanes": 4}
    same = config.apply_overrides(DATA, {"tile.bus.kind": "shared"}, "file")
    assert same["tile"]["bus"] == {"kind": "shared", "width": 8}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("tile.acd.bits", "unknown key 'acd'; did you mean 'adc'?"),
        ("tile.adc.bit", "unknown key 'bit'; did you mean 'bits'?"),
        ("tile.adc.bits.x", "'bits' is a value and has no keys below it"),
        ("", "unknown key ''"),
    ],
)
def test_overrides_of_unknown_keys(path: str, sentence: str) -> None:
    with pytest.raises(ImcsimError) as caught:
        config.apply_overrides(DATA, {path: 3}, "file")
    assert sentence in str(caught.value)


def test_override_values_that_are_no_yaml() -> None:
    with pytest.raises(ImcsimError, match="cannot read the value"):
        config.apply_overrides(DATA, {"tile.adc.bits": "[6"}, "file")


def test_the_hash_does_not_depend_on_order() -> None:
    assert config.canonical_hash({"a": 1, "b": 2}) == config.canonical_hash({"b": 2, "a": 1})
    assert config.canonical_hash({"a": 1}) != config.canonical_hash({"a": 2})
