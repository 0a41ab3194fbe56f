"""A cycle-level simulator of analog crossbar accelerators.

>>> import imcsim
>>> network = imcsim.load_workload("resnet50")
>>> network.n_weights
25502912
>>> chip = imcsim.load_hardware("rram-256", write="ember2b_word")
>>> report = imcsim.run(network, chip, "reprogram")
>>> report.summary["crossbars_needed"]
12504
>>> report.energy.columns[:2].to_list()
['component', 'action']
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imcsim.compare import Comparison, compare
    from imcsim.errors import ImcsimError
    from imcsim.hardware import Hardware, load_hardware
    from imcsim.report import Report
    from imcsim.run import run
    from imcsim.values import Trial
    from imcsim.workload import Workload, load_workload

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "compare",
    "Hardware": "hardware",
    "ImcsimError": "errors",
    "Report": "report",
    "Trial": "values",
    "Workload": "workload",
    "compare": "compare",
    "load_hardware": "hardware",
    "load_workload": "workload",
    "run": "run",
}
__all__ = [
    "Comparison",
    "Hardware",
    "ImcsimError",
    "Report",
    "Trial",
    "Workload",
    "__version__",
    "compare",
    "load_hardware",
    "load_workload",
    "run",
]


class _Package(ModuleType):
    """Keeps the functions ``run`` and ``compare`` from being replaced by the modules of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import imcsim`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'imcsim' has no attribute '{name}'")
    return getattr(import_module(f"imcsim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
