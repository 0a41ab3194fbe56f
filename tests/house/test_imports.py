"""Does the command line start without the heavy libraries, and is each of them known in one place only?

Which wing may import which is a contract in ``pyproject.toml``, which ``make lint`` checks.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "imcsim"
FILES = sorted(PACKAGE.rglob("*.py"))
ONLY_HERE = {
    "numba": ("kernels/", "util/compiling.py"),
    "simpy": ("timing/engine/simpy_engine.py",),
    "typer": ("cli/",),
    "torch": ("training/",),
}
HEAVY = ("numba", "pandas", "matplotlib", "onnx", "scipy", "simpy", "pyarrow", "numpy", "pydantic", "torch")


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert not any(node.level for node in nodes if isinstance(node, ast.ImportFrom)), f"{path}: relative import"
    return {
        name.split(".")[0] for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    }


@pytest.mark.parametrize(("library", "places"), ONLY_HERE.items())
def test_a_library_is_imported_in_one_place(library: str, places: tuple[str, ...]) -> None:
    users = [str(path.relative_to(PACKAGE)) for path in FILES if library in imported(path)]
    assert users
    assert [user for user in users if not any(place in user for place in places)] == []


def test_every_kernel_carries_the_stamp_of_all_sources() -> None:
    users = [str(path.relative_to(PACKAGE)) for path in FILES if "njit" in path.read_text()]
    assert users == ["util/compiling.py"]


def test_few_rooms_lie_at_the_top() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.name != "__pycache__" and path.name != "py.typed"]) <= 12


def loaded(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("words", [(), ("run",), ("compare",), ("calibrate",), ("train",), ("basis", "fit")])
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    """So that it answers at once, whatever else the machine does; ``benchmarks/whole_run.py`` takes the time."""
    code = (
        f"import sys; sys.argv = ['imcsim', *{words!r}, '--help']\n"
        "from imcsim import cli\n"
        "try:\n    cli.main()\n"
        f"finally:\n    print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: imcsim")
    assert set(done.stderr.split()) <= {"pydantic"}  # with which typer itself checks options


def test_a_run_loads_no_drawing_and_no_model_reader() -> None:
    statement = "import imcsim; imcsim.load_workload('resnet20_cifar'); imcsim.load_hardware('rram-256')"
    assert loaded(statement).isdisjoint({"numba", "matplotlib", "onnx", "simpy", "torch", "pandas"})
