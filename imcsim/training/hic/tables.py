"""Tabulate what trainings came to: entries of ``runs.execute`` go in, data frames come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

Entries = Sequence[dict[str, Any]]
RUN = ("weights", "variant", "width", "seed")  # what tells runs apart


def _whose(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in RUN}


def runs(entries: Entries) -> pd.DataFrame:
    """Return one row for each training: accuracies from 0 to 1, size, and what happened to its cells."""
    rows = []
    for entry in entries:
        tallies = entry["tallies"].values()
        weights = entry["size"]["weights"]
        rows.append(
            {
                **_whose(entry),
                "rate": entry["rate"],
                "updates": entry["updates"],
                "validation_frac": entry["validation_frac"],
                "accuracy_frac": entry.get("accuracy_frac"),
                "n_weights": weights,
                "bits": entry["size"]["bits"],
                "cells": entry["size"]["cells"],
                "binary_cells": entry["size"]["binary_cells"],
                "carries_per_weight": sum(tally["carries"] for tally in tallies) / weights,
                "lost_carries": sum(tally["lost"] for tally in tallies),
                "refreshed_per_weight": sum(tally["refreshed"] for tally in tallies) / weights,
                "saturated_frac": entry["history"][-1]["saturated_frac"],
            }
        )
    return pd.DataFrame(rows)


def ageing(entries: Entries) -> pd.DataFrame:
    """Return one row for each accuracy of an aged network."""
    return pd.DataFrame([{**_whose(entry), **row} for entry in entries for row in entry.get("ageing", [])])


def wear(entries: Entries) -> pd.DataFrame:
    """Return one row for each part of the cells of a layer."""
    return pd.DataFrame(
        [{**_whose(entry), "updates": entry["updates"], **row} for entry in entries for row in entry["wear"]]
    )


def histograms(entries: Entries) -> pd.DataFrame:
    """Count how many cells of a part saw how many write-erase cycles, in the first run of each width and variant."""
    rows, seen = [], set()
    for entry in entries:
        key = tuple(entry[name] for name in RUN if name != "seed")
        if entry["histograms"] and key not in seen:
            seen.add(key)
            for part, counts in entry["histograms"].items():
                rows += [{**_whose(entry), "part": part, "cycles": int(c), "cells": n} for c, n in counts.items()]
    return pd.DataFrame(rows)


def epochs(entries: Entries) -> pd.DataFrame:
    """Return one row for each epoch."""
    return pd.DataFrame(
        [{**_whose(entry), "epoch": n, **epoch} for entry in entries for n, epoch in enumerate(entry["history"], 1)]
    )


def layers(entries: Entries) -> pd.DataFrame:
    """Return one row for each layer: amounts that price a step, each per weight or per row and update."""
    rows = []
    for entry in entries:
        for name, bits in entry["bits"].items():
            tally = entry["tallies"][name]
            if not tally["updates"]:  # a layer that the network does not use
                continue
            updates, checks = tally["updates"], max(1, tally["checks"])
            rows.append(
                {
                    **_whose(entry),
                    "layer": name,
                    "n_weights": bits["weights"],
                    "rows": bits["rows"],
                    "set_per_update": bits["set"] / updates,
                    "reset_per_update": bits["reset"] / updates,
                    "carries_per_update": tally["carries"] / updates / bits["weights"],
                    "carrying_rows_frac": tally["rows"] / updates / bits["rows"],
                    "longest_carry": tally["longest"] / max(1, tally["rows"]),
                    "refreshed_per_check": tally["refreshed"] / checks / bits["weights"],
                    "pulses_per_refresh": tally["refresh_pulses"] / max(1, tally["refreshed"]),
                }
            )
    return pd.DataFrame(rows)


TABLES: dict[str, Callable[[Entries], pd.DataFrame]] = {
    "runs": runs,
    "ageing": ageing,
    "wear": wear,
    "histograms": histograms,
    "epochs": epochs,
    "layers": layers,
}
