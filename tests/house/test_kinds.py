"""Are kinds of resources and actions of components named in one place, and plain strings in all that is written?"""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path

import pytest

import imcsim
from imcsim.hardware import actions
from imcsim.hardware.actions import Action, Component
from imcsim.reporting import tables
from imcsim.timing.engine.resource_kind import ResourceKind

PACKAGE = Path(__file__).parents[2] / "imcsim"
FILES = sorted(PACKAGE.rglob("*.py"))
ACTIONS = {value for value in vars(actions).values() if isinstance(value, Action)}


def typed_by_hand(tree: ast.AST) -> list[tuple[int, str]]:
    """Lines with a pair of strings that is a known action, or a resource whose kind is a string."""
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and all(isinstance(part, ast.Constant) for part in node.elts):
            pair = tuple(part.value for part in node.elts if isinstance(part, ast.Constant))
            places += [(node.lineno, str(pair))] * (pair in ACTIONS)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Resource":
            places += [(node.lineno, ast.unparse(node))] * isinstance(node.args[1], ast.Constant)
    return places


def test_hand_typed_kinds_are_seen() -> None:
    code = 'step(Resource("dram", "dram", 2), {("dram", "byte"): 1, ("a", "b"): 2})'
    assert [what for _, what in typed_by_hand(ast.parse(code))] == ["Resource('dram', 'dram', 2)", "('dram', 'byte')"]


def test_no_file_types_a_kind_by_hand() -> None:
    assert {path.name: places for path in FILES if (places := typed_by_hand(ast.parse(path.read_text())))} == {}


def test_every_action_belongs_to_a_component_and_has_a_name_of_its_own() -> None:
    assert {action.component for action in ACTIONS} <= set(Component)
    assert set(actions.PRICED) <= ACTIONS
    assert len(ACTIONS) == sum(isinstance(value, Action) for value in vars(actions).values())


@pytest.mark.parametrize("member", [*ResourceKind, *Component])
def test_members_are_written_as_plain_strings(member: ResourceKind | Component) -> None:
    assert json.dumps({member: member}) == f'{{"{member.value}": "{member.value}"}}'
    assert f"{member}" == str(member) == member.value
    assert type(str(member)) is str
    assert pickle.loads(pickle.dumps(member)) is member


def test_tables_and_pickled_jobs_of_a_run() -> None:
    report = imcsim.run("resnet20_cifar", "rram-256", "reprogram")
    for table in (
        tables.stages(report.execution),
        tables.operations(report.execution),
        report.resources,
        report.critical_path,
    ):
        assert {type(kind) for kind in table["kind"]} == {str}
    assert {type(name) for name in report.energy["component"]} == {str}
    resources = [job.resources for job in report.execution.jobs]
    assert pickle.loads(pickle.dumps(resources)) == resources
