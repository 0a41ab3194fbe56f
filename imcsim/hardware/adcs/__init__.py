"""One file per ADC kind: a module with a class ``Spec`` is all that a new one takes."""

from __future__ import annotations

import importlib
import pkgutil
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field

from imcsim.hardware.adcs._base import AdcSpec, Pooled, Private

__all__ = ["KINDS", "Adc", "AdcSpec", "Pooled", "Private"]


def _discover() -> dict[str, type[AdcSpec]]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    specs = [importlib.import_module(f"{__name__}.{name}").Spec for name in names]
    return {get_args(spec.model_fields["kind"].annotation)[0]: spec for spec in specs}


KINDS = _discover()

if TYPE_CHECKING:
    Adc = AdcSpec
else:
    Adc = Annotated[reduce(or_, KINDS.values()), Field(discriminator="kind")]
