"""Explain a device in tables: its range, how far writes miss, what is left later and how much reads scatter."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imcsim.hardware.devices import Cells, DeviceSpec, Floats
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from imcsim.util.units import age

if TYPE_CHECKING:
    from pandas import DataFrame

AGES_S = {"1 h": 3600.0, "1 d": 86_400.0, "1 y": 365 * 86_400.0}
READ_AGES = ("1 h", "1 d")  # beside the first age of the model
N_CELLS = 4000  # of each target: the standard error of a deviation is 1.1 %


# -- sampling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Hold cells of a device, written once; ``cells`` has the shape (targets, N_CELLS), targets in rising order."""

    device: DeviceSpec
    cells: Cells

    @property
    def targets_usiemens(self) -> Floats:
        """Return (targets,) what each row was aimed at."""
        return self.cells.target_usiemens[:, 0]

    def conductance_usiemens(self, age_s: float) -> Floats:
        """Return (targets, N_CELLS) where the cells are."""
        return self.device.conductance_usiemens(self.cells, age_s)

    def read_sigma_usiemens(self, age_s: float) -> Floats:
        """Return (targets,) standard deviation of a read, its mean over the cells of a target."""
        return np.asarray(self.device.read_sigma_usiemens(self.cells, age_s).mean(axis=1))


def sample(device: DeviceSpec, n_targets: int, seed: int = 0) -> Sample:
    """Write cells at ``n_targets`` targets over the range of a device, or at its levels where it has fewer.

    No cell is stuck: stuck ones would hide what the others do.
    """
    unstuck = device.model_copy(update={"stuck_on_frac": 0.0, "stuck_off_frac": 0.0})
    n = n_targets if device.n_levels == "continuous" else min(n_targets, device.n_levels)
    targets = np.linspace(device.g_min_usiemens, device.g_max_usiemens, n)
    aims = np.repeat(targets[:, None], N_CELLS, axis=1)
    return Sample(unstuck, unstuck.program(aims, random_streams.rng(seed, "explain", device.kind)))


def holds(device: DeviceSpec, age_s: float) -> bool:
    """Say whether the model holds at this age."""
    return any(low <= age_s <= high for low, high in device.ages_s)


def first_age_s(device: DeviceSpec) -> float:
    """Return the age of cells that are fresh."""
    return device.ages_s[0][0]


def closed_form_usiemens(device: DeviceSpec, targets_usiemens: Floats) -> Floats | None:
    """Return the standard deviation of a write by the model's equation; None where it has none."""
    try:
        return device.program_sigma_usiemens(targets_usiemens)
    except ImcsimError:
        return None


# -- tables ------------------------------------------------------------------------------------------------------------


def facts(device: DeviceSpec) -> DataFrame:
    """List what is declared: quantity, value."""
    from pandas import DataFrame

    low, high = device.g_min_usiemens, device.g_max_usiemens
    rows = {
        "range of targets": f"{low:g} to {high:g} uS",
        "on/off ratio": f"{high / low:.4g}" if low else "infinite, the range begins at 0",
        "levels": str(device.n_levels),
        "ages at which the model holds": ", ".join(_span(*ages) for ages in device.ages_s),
        "fields": ", ".join(f"{key}={value}" for key, value in _fields(device).items()),
        "validity": _first_line(type(device).__doc__),
        "source": _first_line(sys.modules[type(device).__module__].__doc__),
    }
    return DataFrame(rows.items(), columns=["quantity", "value"])


def errors(device: DeviceSpec, n_targets: int = 5, seed: int = 0) -> DataFrame:
    """List by target, in uS, standard deviations of a write and of a read; in per cent, the mean conductance left.

    Ages at which the model does not hold have no column. A write without closed form is sampled, as all else is.
    """
    from pandas import DataFrame

    cells, fresh_s = sample(device, n_targets, seed), first_age_s(device)
    known_s = {name: at_s for name, at_s in AGES_S.items() if holds(device, at_s)}
    read_s = {f"fresh ({age(fresh_s)})": fresh_s} | {name: known_s[name] for name in READ_AGES if name in known_s}
    columns = {"target": cells.targets_usiemens} | _write_sigma(cells)
    columns |= {f"read, {name}": cells.read_sigma_usiemens(at_s) for name, at_s in read_s.items()}
    columns |= {f"left, {name}": _left_percent(cells, fresh_s, at_s) for name, at_s in known_s.items()}
    return DataFrame(columns)


def _write_sigma(cells: Sample) -> dict[str, Floats]:
    sigma = closed_form_usiemens(cells.device, cells.targets_usiemens)
    if sigma is not None:
        return {"write": sigma}
    return {"write, sampled": cells.cells.programmed_usiemens.std(axis=1)}


def _left_percent(cells: Sample, fresh_s: float, age_s: float) -> Floats:
    """Return mean conductance against that of fresh cells; NaN where these conduct nothing."""
    start, now = (cells.conductance_usiemens(at_s).mean(axis=1) for at_s in (fresh_s, age_s))
    return np.asarray(100 * np.divide(now, start, out=np.full_like(now, np.nan), where=start > 0))


def _fields(device: DeviceSpec) -> dict[str, object]:
    return {key: value for key, value in dict(device).items() if key not in ("kind", "n_levels")}


def _span(low_s: float, high_s: float) -> str:
    if low_s == high_s:
        return f"{age(low_s)} only" if low_s else "0 only (as programmed)"
    return f"{age(low_s)} or more" if high_s == math.inf else f"{age(low_s)} to {age(high_s)}"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


ERRORS = "Standard deviations (uS), mean conductance left (%)"


def device_tables(device: DeviceSpec) -> tuple[dict[str, DataFrame], dict[str, DataFrame]]:
    """Return what is declared and errors by target, by heading, and of the errors what is printed."""
    frame = errors(device)
    tables = {f"Device {device.kind}": facts(device), ERRORS: frame}
    return tables, {ERRORS: frame.map(lambda value: float(f"{value:.4g}"))}
