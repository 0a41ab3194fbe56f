"""Do the pages tell the truth: does their Python run, are their commands understood, does what they name exist?"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import typer

from imcsim.cli import app
from tests.workload.test_quantise import N_CLASSES, N_IMAGES, float_network, images

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:[\w-]+/)+|[\w./-]*[\w-]\.py|(?:[\w-]+/)+[\w.-]+\.\w+")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in a language, in their order."""
    return [code for name, code in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def inline(page: Path) -> list[str]:
    """Return what a page sets in code between words."""
    return INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))


def shell_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command in the shell blocks of a page."""
    for code in blocks(page, "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words after ``imcsim`` mean, and the words that are left for it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


# -- Python ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty module in a directory that has the shipped workloads, as a clone has them, a float model and images."""
    (tmp_path / "workloads").symlink_to(ROOT / "workloads")
    onnx.save(float_network(), str(tmp_path / "float.onnx"))
    np.savez(tmp_path / "images.npz", images=images(), labels=np.arange(N_IMAGES) % N_CLASSES)
    monkeypatch.chdir(tmp_path)
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    return page


# The blocks of extend.md are whole files, which test_api.py, test_drop_ins.py and test_new_operation.py put into place.
READ_TOP_DOWN = [page for page in PAGES if blocks(page, "python") and page.name != "extend.md"]


@pytest.mark.parametrize("page", READ_TOP_DOWN, ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path, module: ModuleType) -> None:
    """Blocks of a page run one after another in one namespace, as a reader would type them."""
    for place, code in enumerate(blocks(page, "python"), 1):
        if "import torch" in code or "from torch" in code:
            pytest.importorskip("torch")
        exec(compile(code, f"{page.name}, Python block {place}", "exec"), vars(module))


# -- commands ----------------------------------------------------------------------------------------------------------


def test_every_shell_block_says_so() -> None:
    """Blocks without a language would be looked at by no test."""
    assert [page.name for page in PAGES if any("imcsim " in code for code in blocks(page, ""))] == []


@every_page
def test_commands_in_blocks_are_understood(page: Path) -> None:
    for words in shell_lines(page):
        if words[0] == "imcsim":
            command, rest = command_of(words[1:])
            command.make_context("imcsim", rest)


@every_page
def test_commands_between_words_have_known_options(page: Path) -> None:
    """They may leave out what does not matter there, so only the names of their options are looked at."""
    for code in inline(page):
        if not code.startswith("imcsim "):
            continue
        command, rest = command_of(code.split()[1:])
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert command.name not in ("imcsim", "basis") or not rest, f"{page.name}: there is no '{code}'"
        assert [word for word in rest if word.startswith("-") and word not in {*known, "--help"}] == [], code


@every_page
def test_scripts_and_targets_in_blocks_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in shell_lines(page):
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), words[1]


# -- names and links ---------------------------------------------------------------------------------------------------


@every_page
def test_files_and_folders_of_a_page_exist(page: Path) -> None:
    """Except files of a user, which code blocks of the page name too, and what commands make, which git ignores."""
    theirs = "".join(code for _, code in BLOCK.findall(page.read_text(encoding="utf-8")))
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    named = [code for code in inline(page) if PATH.fullmatch(code) and code not in theirs]
    names = [name for name in named if name.partition("/")[0] not in ignored]
    places = (ROOT, ROOT / "imcsim", page.parent)
    assert [name for name in names if not any((place / name).exists() for place in places)] == []


@every_page
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Anchors are looked at by ``make docs``."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_stands_in_the_index_and_in_the_site() -> None:
    names = {page.name for page in PAGES if page.parent == ROOT / "docs"} - {"index.md"}
    index, site = (ROOT / "docs" / "index.md").read_text(), (ROOT / "mkdocs.yml").read_text()
    assert {name for name in names if f"]({name})" not in index or f": {name}\n" not in site} == set()
    order = [re.findall(pattern, text) for pattern, text in ((r"\]\((\w+\.md)\)", index), (r": (\w+\.md)\n", site))]
    assert [name for name in order[0] if name in names] == [name for name in order[1] if name in names]


def test_the_figure_of_the_wings_is_that_of_the_contract() -> None:
    """Else: ``python docs/figures/wings.py``."""
    spec = importlib.util.spec_from_file_location("wings", ROOT / "docs" / "figures" / "wings.py")
    assert spec is not None
    assert spec.loader is not None
    wings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wings)
    assert (ROOT / "docs" / "figures" / "wings.svg").read_text() == wings.svg()
    folders = {path.name for path in (ROOT / "imcsim").iterdir() if (path / "__init__.py").exists()}
    assert set(wings.WINGS) == {name for floor in wings.floors() for name in floor} == folders


def test_the_citation_names_this_version() -> None:
    import imcsim

    assert f"\nversion: {imcsim.__version__}\n" in (ROOT / "CITATION.cff").read_text()
