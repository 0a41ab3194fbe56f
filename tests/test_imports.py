"""Is the order of the modules kept, and does the command line start without the heavy ones?"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "imcsim"
LAYERS = """
    errors units streams kernels progress
    memory
    shipped files mistakes engine crossbar basis.residual
    config basis.fitted datasets private_links tracks journal float_network
    layers parts pulses provenance training_step.rates training_step.options
    workload converters devices write training_step.circuit
    cell_writing wires closed_loop metaplastic
    chip dataflow importers
    hardware
    plan costs
    write_work
    explain floorplan ledger schemes
    steps frames device_explained
    timing figures tables
    spills perfetto quantised device_figure
    functional quantising training
    basis
    value_entries
    jobs values
    cell_figures
    value_figures
    report
    run calibrating exporting
    comparison training_step
    compare listing train_study
    cli
    __main__
""".strip().split("\n")
ORDER = {name: level for level, line in enumerate(LAYERS) for name in line.split()}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
ONLY_HERE: dict[str, str | tuple[str, ...]] = {
    "numba": "kernels", "simpy": "engine/simpy_engine.py", "typer": "cli/",
    "torch": ("basis/training/", "training/"),
}  # fmt: skip
HEAVY = ("numba", "pandas", "matplotlib", "onnx", "scipy", "simpy", "pyarrow", "numpy", "pydantic", "torch")


def imports(path: Path) -> list[str]:
    """Absolute dotted names that a file imports, anywhere in it, except for type checking."""
    tree = ast.parse(path.read_text())
    typing = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in typing:
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and id(node) not in typing:
            assert node.level == 0, f"{path}: relative import"
            names += [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def part(path: Path) -> str:
    """The module of the order that a file belongs to."""
    return known(path.relative_to(PACKAGE).with_suffix("").parts)


def known(parts: tuple[str, ...]) -> str:
    """The module of the order that a dotted name lies in: one of a package alone, or the whole package."""
    return next((name for name in (".".join(parts[:2]), parts[0]) if name in ORDER), parts[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_upward_only(path: Path) -> None:
    own = part(path)
    assert own in ORDER, f"give {own} a place in LAYERS"
    for name in imports(path):
        package, _, rest = name.partition(".")
        other = known(tuple(rest.split(".")))
        if package == "imcsim" and other in ORDER and other != own:
            assert ORDER[other] < ORDER[own], f"{own} imports {other}, which is not above it"


@pytest.mark.parametrize(("library", "place"), ONLY_HERE.items())
def test_a_library_is_imported_in_one_place(library: str, place: str | tuple[str, ...]) -> None:
    users = [path for path in FILES if any(name.split(".")[0] == library for name in imports(path))]
    assert users
    assert all(str(path.relative_to(PACKAGE)).startswith(place) for path in users), users


def loaded(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_help_loads_nothing_heavy() -> None:
    assert loaded("import imcsim, imcsim.cli") == set()


def test_a_run_loads_no_drawing_and_no_model_reader() -> None:
    statement = "import imcsim; imcsim.load_workload('resnet20_cifar'); imcsim.load_hardware('rram-256')"
    assert loaded(statement).isdisjoint({"numba", "matplotlib", "onnx", "simpy", "torch", "pandas"})
