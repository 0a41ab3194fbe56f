"""Are functions and files short, parameters few, and does no class name stand for two things?"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from statistics import quantiles

PACKAGE = Path(__file__).parents[2] / "imcsim"
FILES = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
FUNCTIONS = [
    (f"{file}:{node.name}", node)
    for file, text in FILES.items()
    for node in ast.walk(ast.parse(text))
    if isinstance(node, ast.FunctionDef)
]
MOST_LINES, MOST_PARAMETERS = 350, 12  # of a file, of a function


def body_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body and function.end_lineno else 0


def n_parameters(function: ast.FunctionDef) -> int:
    return len([*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs])


def test_functions_are_short() -> None:
    deciles = quantiles([body_lines(function) for _, function in FUNCTIONS], n=10)
    assert (deciles[4] <= 6, deciles[8] <= 16) == (True, True), deciles


def test_files_are_short() -> None:
    assert [file for file, text in FILES.items() if text.count("\n") > MOST_LINES] == []


def test_functions_have_few_parameters() -> None:
    """Commands apart, whose parameters are their options."""
    crowded = [name for name, function in FUNCTIONS if n_parameters(function) > MOST_PARAMETERS]
    assert [name for name in crowded if not name.startswith("cli/")] == []


def test_no_class_name_stands_for_two_things() -> None:
    names = Counter(
        node.name for text in FILES.values() for node in ast.parse(text).body if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
