"""Hold what a study of training found."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from imcsim.training.hic.claims import Claim
from imcsim.training.step.report import StepReport
from imcsim.training.study.cost import Repair
from imcsim.training.study.spec import StudySpec


@dataclass(frozen=True)
class Study:
    """Hold what a study found.

    ``rates`` were taken for each kind of weights; ``tried`` holds the validation accuracies of all rates, where several
    were tried. ``tables``: DataFrames by name, such as 'runs', 'ageing' and 'wear'. ``step`` and ``repairs`` are of the
    widest network.
    """

    spec: StudySpec
    data_name: str
    test_name: str
    rates: dict[str, float]
    tried: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    claims: list[Claim]
    step: StepReport
    repairs: list[Repair]
    warnings: list[str]
