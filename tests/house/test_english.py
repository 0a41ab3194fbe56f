"""Does every public name say what it is, in a sentence, and every variable what it holds?"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VAGUE = {"found", "each", "own", "made", "whole"}  # they say that there is something, not what
FRAGMENTS = ("Of ", "Those ", "The same", "All of", "``")
Definition = ast.FunctionDef | ast.ClassDef


FILES = sorted((ROOT / "imcsim").rglob("*.py"))


def public(body: list[ast.stmt], before: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield the public classes, functions and methods of a module by their dotted names."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield before + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{before}{node.name}.")


def inherits(path: Path, name: str) -> bool:
    """Say whether a method overrides one that has a docstring."""
    thing: object = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for part in name.split("."):
        thing = getattr(thing, part)
    return bool(inspect.getdoc(thing))


def mistake(text: str | None, is_function: bool) -> str:
    """Say what is wrong with a docstring; the text is empty where nothing is."""
    if not text:
        return "no docstring"
    first = text.split("\n\n")[0].strip()
    if not first[0].isupper() or first[-1] not in ".:?!":
        return f"no sentence: {first}"
    return f"a fragment: {first}" if is_function and first.startswith(FRAGMENTS) else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_have_sentences(path: Path) -> None:
    module = ast.parse(path.read_text())
    mistakes = {"the module": mistake(ast.get_docstring(module), False)}
    for name, node in public(module.body):
        text = ast.get_docstring(node)
        if text or not inherits(path, name):
            mistakes[name] = mistake(text, isinstance(node, ast.FunctionDef))
    assert {name: what for name, what in mistakes.items() if what} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_variables_say_what_they_hold(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [(node.lineno, node.id) for node in nodes if isinstance(node, ast.Name)]
    names += [(node.lineno, node.arg) for node in nodes if isinstance(node, ast.arg)]
    names += [(node.lineno, node.attr) for node in nodes if isinstance(node, ast.Attribute)]
    assert sorted((line, name) for line, name in names if name in VAGUE) == []
