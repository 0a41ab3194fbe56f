"""One file per device kind: a module with a class ``Spec`` is all that a new one takes."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, get_args, get_origin

from pydantic import Field

from imcsim.hardware.devices._base import Cells, DeviceSpec, Floats
from imcsim.hardware.devices._compensation import column_factors, global_factor
from imcsim.util.config import build
from imcsim.util.errors import ImcsimError, did_you_mean

__all__ = ["KINDS", "Cells", "Device", "DeviceSpec", "Floats", "column_factors", "global_factor", "load_device"]


def _kind(spec: type[DeviceSpec]) -> str:
    return str(get_args(spec.model_fields["kind"].annotation)[0])


def _is_device(found: object) -> TypeGuard[type[DeviceSpec]]:
    """A class that derives from the base and says its kind."""
    return (
        isinstance(found, type)
        and issubclass(found, DeviceSpec)
        and get_origin(found.model_fields["kind"].annotation) is Literal
    )


def _discover() -> dict[str, type[DeviceSpec]]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    specs = [importlib.import_module(f"{__name__}.{name}").Spec for name in names]
    return {_kind(spec): spec for spec in specs}


KINDS = _discover()

if TYPE_CHECKING:
    Device = DeviceSpec
else:
    Device = Annotated[reduce(or_, KINDS.values()), Field(discriminator="kind")]


def load_device(name: str, **fields: Any) -> DeviceSpec:
    """A device by its kind, or from a Python file by its path (ending in .py), with its fields checked.

    Raises ImcsimError for unknown kinds and fields, with the nearest known word.
    """
    spec = _from_file(Path(name)) if name.endswith(".py") else KINDS.get(name)
    if spec is None:
        raise ImcsimError(f"device '{name}'", "there is no such device", did_you_mean(name, KINDS))
    return build(spec, {"kind": _kind(spec), **fields}, f"device '{_kind(spec)}'")


def _from_file(path: Path) -> type[DeviceSpec]:
    found = getattr(_module(path), "Spec", None)
    if not _is_device(found):
        hint = "derive a class Spec from imcsim.hardware.devices.DeviceSpec and give it a kind: Literal['its name']"
        raise ImcsimError(str(path), "it defines no device", hint)
    return found


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"imcsim_device_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImcsimError(str(path), "there is no such file", "give the path of a Python file with a class Spec")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where annotations kept as text are looked up
    spec.loader.exec_module(module)
    return module
