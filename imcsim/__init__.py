"""A cycle-level simulator of analog crossbar accelerators.

Examples
--------
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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imcsim.util import version

if TYPE_CHECKING:
    from imcsim.experiments.compare import compare
    from imcsim.experiments.run import run
    from imcsim.functional.evaluate import Trial
    from imcsim.hardware.hardware import Hardware, load_hardware
    from imcsim.reporting.comparison import Comparison
    from imcsim.reporting.report import Report
    from imcsim.util.errors import ImcsimError
    from imcsim.workload.workload import Workload, load_workload

__version__ = version.VERSION
_HOMES = {
    "Comparison": "reporting.comparison",
    "Hardware": "hardware.hardware",
    "ImcsimError": "util.errors",
    "Report": "reporting.report",
    "Trial": "functional.evaluate",
    "Workload": "workload.workload",
    "compare": "experiments.compare",
    "load_hardware": "hardware.hardware",
    "load_workload": "workload.workload",
    "run": "experiments.run",
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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import imcsim`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'imcsim' has no attribute '{name}'")
    return getattr(import_module(f"imcsim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
