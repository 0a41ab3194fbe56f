"""Draw the ten wings of the package as wings.svg, floor by floor, in the order that ``pyproject.toml`` has them.

Run it from anywhere; the tests compare its figure with the contract.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
WIDTH, LEFT, FLOOR, BOX, GAP = 960, 92, 84, 68, 16
QUESTIONS, PASSES, DECISIONS, NOUNS, REST = "#dbe7f3", "#fbe3cf", "#dcefdc", "#e9e1f2", "#ececec"


class Wing(NamedTuple):
    """What a box says: the question that the wing answers, what it gives to those above, its colour."""

    question: str
    gives: str
    colour: str


WINGS = {
    "cli": Wing(
        "What did the user type? Heavy imports wait for a command.", "imcsim run, compare, train, ...", QUESTIONS
    ),
    "experiments": Wing("What can be asked of the simulator?", "run, compare, lifetime", QUESTIONS),
    "training": Wing("How do networks learn on cells? (PyTorch lives here.)", "train, a priced step", QUESTIONS),
    "reporting": Wing("What does anybody get to see? Tables, figures, traces, texts.", "Report, Comparison", QUESTIONS),
    "timing": Wing("When does everything happen?", "Recipe, Execution", PASSES),
    "functional": Wing("What does the network answer?", "answers, accuracies", PASSES),
    "mapping": Wing(
        "Where do weights lie, and what follows what? Schemes decide, and do not count.", "Plan", DECISIONS
    ),
    "hardware": Wing("What is there, and what does it cost?", "Hardware, CostTable", NOUNS),
    "workload": Wing("What is to be computed?", "Workload", NOUNS),
    "util": Wing("What knows nothing of accelerators?", "errors, units, files, compiled code", REST),
}
STYLE = """\
text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #222; }
.name { font: bold 16px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.question { font-size: 13px; }
.gives { font-size: 13px; fill: #7a3b00; text-anchor: end; }
.side { font-size: 13px; fill: #555; text-anchor: middle; }
rect { stroke: #8a8a8a; }
path { stroke: #555; stroke-width: 1.5; fill: none; marker-end: url(#head); }"""


def floors(pyproject: Path = HERE.parents[1] / "pyproject.toml") -> list[list[str]]:
    """Return the wings of each floor, topmost first, as the contract of import-linter lists them."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [[wing.strip() for wing in floor.split("|")] for floor in layers]


def box(name: str, left: int, top: int, width: int) -> str:
    """Return one wing as SVG."""
    wing = WINGS[name]
    return f"""\
<rect x="{left}" y="{top}" width="{width}" height="{BOX}" rx="6" fill="{wing.colour}"/>
<text class="name" x="{left + 16}" y="{top + 28}">{name}</text>
<text class="gives" x="{left + width - 16}" y="{top + 28}">{wing.gives}</text>
<text class="question" x="{left + 16}" y="{top + 51}">{wing.question}</text>"""


def floor_boxes(names: list[str], top: int) -> list[str]:
    """Return the wings of a floor, side by side."""
    width = (WIDTH - LEFT - GAP - GAP * (len(names) - 1)) // len(names)
    return [box(name, LEFT + place * (width + GAP), top, width) for place, name in enumerate(names)]


def svg() -> str:
    """Return the figure."""
    storeys = floors()
    height = GAP + FLOOR * len(storeys)
    boxes = [part for place, names in enumerate(storeys) for part in floor_boxes(names, GAP + FLOOR * place)]
    middle, size = height // 2, f'width="{WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {size}>',
            "<title>The ten wings of imcsim: imports go down only, never up and never sideways</title>",
            f"<style>\n{STYLE}\n</style>",
            '<defs><marker id="head" markerWidth="10" markerHeight="10" refX="8" refY="5" orient="auto">'
            '<path d="M0 0 L10 5 L0 10 Z" style="fill:#555;stroke:none;marker-end:none"/></marker></defs>',
            f'<rect {size} fill="#fff" stroke="none" style="stroke:none"/>',
            f'<path d="M66 {GAP} V{height - GAP}"/>',
            f'<text class="side" transform="translate(26 {middle}) rotate(-90)">imports go down only,</text>',
            f'<text class="side" transform="translate(48 {middle}) rotate(-90)">never up, never sideways</text>',
            *boxes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    (HERE / "wings.svg").write_text(svg())
