"""Entries of trainings as tables: one row a run, one an age, one a part of the cells, one a bar of a histogram."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from imcsim.training.hic.tables import TABLES
from imcsim.util.files import new_file

SHOWN_WIDTH = {"mnist": 2.0, "fashion": 2.0, "cifar": 1.0}  # in the figures of time and wear
FOLDER = Path(__file__).resolve().parent / "results"


def write(name: str, stage: str, entries: Iterable[dict[str, Any]], kinds: Iterable[str] = TABLES) -> None:
    """``results/NAME_STAGE_TABLE.csv`` for every kind of table that has rows."""
    entries = list(entries)
    for kind in kinds:
        rows = TABLES[kind](entries)
        if kind == "histograms" and stage == "widths" and len(rows):  # which are long
            rows = rows[rows["width"] == SHOWN_WIDTH[name]]
        if len(rows):
            with new_file(FOLDER / f"{name}_{stage}_{kind}.csv") as partial:
                rows.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def read(name: str, stage: str, kind: str) -> pd.DataFrame:
    """A table again; without rows where there is none."""
    path = FOLDER / f"{name}_{stage}_{kind}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame()
