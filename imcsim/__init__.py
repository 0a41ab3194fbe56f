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
from imcsim.util.errors import ImcsimError

if TYPE_CHECKING:
    from imcsim.experiments.calibrate import calibrate
    from imcsim.experiments.compare import compare
    from imcsim.experiments.run import run
    from imcsim.functional.trial import Trial
    from imcsim.hardware.hardware import Hardware, load_hardware
    from imcsim.hardware.preset import Preset
    from imcsim.mapping.basis.fit import fit_basis
    from imcsim.mapping.basis.options import FitOptions
    from imcsim.reporting.comparison import Comparison
    from imcsim.reporting.explain.explanation import explain
    from imcsim.reporting.report import Report
    from imcsim.training.basis.train_basis import train_basis
    from imcsim.training.hic.options import TrainOptions
    from imcsim.training.step.options import StepOptions
    from imcsim.training.step.step import train_step
    from imcsim.training.study.spec import StudySpec
    from imcsim.training.study.study import train
    from imcsim.workload.importers import load_network as load_workload
    from imcsim.workload.quantise import quantise
    from imcsim.workload.workload import Workload

__version__ = version.VERSION
_HOMES = {
    "Comparison": "reporting.comparison",
    "FitOptions": "mapping.basis.options",
    "Hardware": "hardware.hardware",
    "Preset": "hardware.preset",
    "Report": "reporting.report",
    "StepOptions": "training.step.options",
    "StudySpec": "training.study.spec",
    "TrainOptions": "training.hic.options",
    "Trial": "functional.trial",
    "Workload": "workload.workload",
    "calibrate": "experiments.calibrate",
    "compare": "experiments.compare",
    "explain": "reporting.explain.explanation",
    "fit_basis": "mapping.basis.fit",
    "load_hardware": "hardware.hardware",
    "load_workload": "workload.importers:load_network",
    "quantise": "workload.quantise",
    "run": "experiments.run",
    "train": "training.study.study",
    "train_basis": "training.basis.train_basis",
    "train_step": "training.step.step",
}
__all__ = [
    "Comparison",
    "FitOptions",
    "Hardware",
    "ImcsimError",
    "Preset",
    "Report",
    "StepOptions",
    "StudySpec",
    "TrainOptions",
    "Trial",
    "Workload",
    "__version__",
    "calibrate",
    "compare",
    "explain",
    "fit_basis",
    "load_hardware",
    "load_workload",
    "quantise",
    "run",
    "train",
    "train_basis",
    "train_step",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import imcsim`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'imcsim' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    try:
        return getattr(import_module(f"imcsim.{module}"), attribute or name)
    except ModuleNotFoundError as error:
        if not module.startswith("training."):
            raise
        raise ImcsimError(f"imcsim {name}", f"needs {error.name}", "pip install 'imcsim[train]'") from None


def __dir__() -> list[str]:
    return sorted(__all__)
