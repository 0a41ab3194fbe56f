"""Are the public names few, lazy and documented, and do their examples run?"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import imcsim

ROOT = Path(__file__).parents[2]
FACES = ["imcsim.hardware", "imcsim.mapping", "imcsim.workload"]
EXAMPLES = [
    "imcsim", "imcsim.experiments.run", "imcsim.experiments.compare", "imcsim.functional.trial",
    "imcsim.hardware.hardware", "imcsim.hardware.preset", "imcsim.reporting.explain.explanation",
    "imcsim.training.step.step",
]  # fmt: skip
SECTIONS = {"Parameters", "Returns", "Raises"}  # of numpydoc


def test_about_twenty_names() -> None:
    assert 20 <= len(imcsim.__all__) <= 24
    assert dir(imcsim) == sorted(imcsim.__all__)


@pytest.mark.parametrize("name", sorted(set(imcsim.__all__) - {"__version__"}))
def test_every_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(imcsim, name))


@pytest.mark.parametrize("name", sorted(name for name in imcsim.__all__ if name[0].islower()))
def test_every_function_says_what_it_takes_gives_and_raises(name: str) -> None:
    function = getattr(imcsim, name)
    text = inspect.getdoc(function) or ""
    assert {line for line in text.splitlines() if line in SECTIONS} == SECTIONS
    parameters = text.partition("Parameters\n")[2].partition("Returns\n")[0]
    heads = re.findall(r"^(\w[^:\n]*)(?: :.*)?$", parameters, re.MULTILINE)
    listed = [name.strip() for head in heads for name in head.split(",")]
    assert [parameter for parameter in inspect.signature(function).parameters if parameter not in listed] == []


WITHOUT_PYTORCH = """
import sys
sys.modules["torch"] = None
import imcsim
assert callable(imcsim.train_step)  # which needs none
try:
    imcsim.train
except imcsim.ImcsimError as error:
    print(error)
"""


def test_without_pytorch_training_is_refused_in_one_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYTORCH], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "imcsim train: needs torch; pip install 'imcsim[train]'\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = imcsim.nothing


@pytest.mark.parametrize("name", FACES)
def test_a_face_promises_what_it_has(name: str) -> None:
    """The names for readers, those for type checkers and those that are imported when they are used are the same."""
    face = importlib.import_module(name)
    tree = ast.parse(inspect.getsource(face))
    (types,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    imported = [alias.name for node in types.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(face.__all__) == dir(face)
    assert all(getattr(face, word) is not None for word in face.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = face.nothing


def test_the_package_has_types() -> None:
    assert (ROOT / "imcsim" / "py.typed").is_file()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings(name: str) -> None:
    importlib.import_module(name)
    result = doctest.testmod(sys.modules[name])
    assert result.failed == 0
    assert result.attempted


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def block_with(page: Path, language: str, text: str) -> str:
    """The one code block of a page that has a text in it."""
    (block,) = (block for block in blocks(page, language) if text in block)
    return block


def test_the_preset_of_the_page_on_extending(tmp_path: Path) -> None:
    preset = block_with(ROOT / "docs" / "extend.md", "yaml", "name: fine-pitch")
    path = tmp_path / "fine-pitch.yaml"
    path.write_text(preset)
    chip = imcsim.load_hardware(str(path))
    assert (chip.name, chip.n_crossbars) == ("fine-pitch", 512)
    assert any("a denser process" in row for row in imcsim.run("resnet20_cifar", chip).summary["assumed"])


def test_the_scheme_of_the_page_on_extending(tmp_path: Path) -> None:
    scheme = block_with(ROOT / "docs" / "extend.md", "python", "class OneCopy")
    path = tmp_path / "one_copy.py"
    path.write_text(scheme)
    mine = imcsim.run("resnet20_cifar", "rram-256", str(path)).summary
    theirs = imcsim.run("resnet20_cifar", "rram-256", "reprogram", options={"replication": "none"}).summary
    assert mine["cycles_per_inference"] == theirs["cycles_per_inference"]
    with pytest.raises(imcsim.ImcsimError, match="the chip has 6 to spare"):
        imcsim.run("resnet20_cifar", "rram-256", str(path), options={"spare_crossbars": 250})


def test_the_page_on_hardware_names_every_preset_and_write_circuit_key() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text()
    presets = [path.stem for path in (ROOT / "hwconfigs").glob("*.yaml")]
    keys = {key for path in (ROOT / "hwconfigs" / "write").glob("*.yaml") for key in yaml.safe_load(path.read_text())}
    assert [name for name in [*presets, *sorted(keys - {"sources"})] if f"`{name}`" not in page] == []
