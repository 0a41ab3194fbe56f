"""One file per rule of metaplasticity: a class derived from ``RuleSpec`` with a kind is all that a new one takes."""

from __future__ import annotations

from typing import Any

from imcsim.training.metaplastic.rules._base import Floats, RuleSpec
from imcsim.util.config import build
from imcsim.util.registry import Registry

__all__ = ["RULES", "Floats", "RuleSpec", "load_rule"]

RULES = Registry(
    "rule",
    RuleSpec,
    folder=__name__,
    group="imcsim.metaplastic_rules",
    remedy="derive a class from imcsim.training.metaplastic.RuleSpec and give it a kind: Literal['its name']",
)


def load_rule(name: str, **fields: Any) -> RuleSpec:
    """Return a rule by its kind, or from a Python file by its path, with its fields checked.

    Raises ImcsimError for unknown kinds and fields.
    """
    cls = RULES.find(name)
    kind = RULES.word_of(cls)
    return build(cls, {"kind": kind, **fields}, f"rule '{kind}'")
