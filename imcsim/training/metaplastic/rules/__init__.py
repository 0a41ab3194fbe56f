"""One file per rule of metaplasticity: a module with a class ``Spec`` is all that a new one takes."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, get_args

from imcsim.training.metaplastic.rules._base import Floats, RuleSpec
from imcsim.util.config import build
from imcsim.util.errors import ImcsimError, did_you_mean

__all__ = ["KINDS", "Floats", "RuleSpec", "load_rule"]


def _discover() -> dict[str, type[RuleSpec]]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    specs = [importlib.import_module(f"{__name__}.{name}").Spec for name in names]
    return {get_args(spec.model_fields["kind"].annotation)[0]: spec for spec in specs}


KINDS = _discover()


def load_rule(kind: str, **fields: Any) -> RuleSpec:
    """A rule by its kind, with its fields checked. Raises ImcsimError for unknown kinds and fields."""
    if kind not in KINDS:
        raise ImcsimError(f"rule '{kind}'", "there is no such rule", did_you_mean(kind, KINDS))
    return build(KINDS[kind], {"kind": kind, **fields}, f"rule '{kind}'")
