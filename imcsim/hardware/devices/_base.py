"""What every device kind has: a range of conductances, stuck cells, and the three questions that it answers.

How far from its target does a cell end up (``program``), where is it some time later (``conductance_usiemens``), and
how much does one read scatter (``read_sigma_usiemens``)? The base answers "not at all": a kind overrides what differs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from imcsim.hardware.pulses import Frac
from imcsim.util.config import Spec
from imcsim.util.errors import ImcsimError

Floats = NDArray[np.floating[Any]]
Ages = float | NDArray[np.float64]  # seconds since the first read of the fit
Faults = Literal["drawn"] | NDArray[np.floating[Any]]  # where each cell is stuck, in uS, or not a number
Levels = Literal["continuous"] | Annotated[int, Field(ge=2)]
ROUNDING = 1e-6  # a target this far beyond the range, relative to its end, is a rounding error and is clipped


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells as they were programmed; all arrays have the shape of the targets, floats also their type.

    ``target_usiemens`` is what was aimed at (a level, if the device has levels), ``programmed_usiemens`` what was
    reached, ``traits`` what is drawn once per cell and kept, ``stuck`` the cells that ignored the write.
    """

    target_usiemens: Floats
    programmed_usiemens: Floats
    traits: Mapping[str, NDArray[Any]]
    stuck: NDArray[np.bool_]


def normals(like: Floats, rng: np.random.Generator) -> Floats:
    """Standard normal numbers of the shape and type of ``like``; both types draw the same numbers."""
    return np.asarray(rng.standard_normal(like.shape)).astype(like.dtype)


def polynomial(x: Floats, coefficients: Sequence[float]) -> Floats:
    """The sum of c_i x^i, in the type of ``x``."""
    result = np.zeros_like(x)
    for coefficient in reversed(coefficients):
        result = result * x + coefficient
    return result


class DeviceSpec(Spec):
    """Base of the device kinds, and an ideal device: it reaches its target, stays there and reads without noise.

    A kind adds ``kind``, ``g_max_usiemens`` and ``g_min_usiemens`` (fields or properties) and overrides any of
    ``program_sigma_usiemens``, ``draw_traits``, ``drifted_usiemens`` and ``noise_usiemens``.
    """

    kind: str
    n_levels: Levels = "continuous"  # evenly spaced from g_min to g_max
    stuck_on_frac: Frac = 0.0  # of the cells: always at g_max, whatever is written
    stuck_off_frac: Frac = 0.0  # of the cells: always at g_min

    ages_s: ClassVar[tuple[tuple[float, float], ...]] = ((0.0, math.inf),)  # intervals in which the model holds

    if TYPE_CHECKING:

        @property
        def g_max_usiemens(self) -> float:
            """The largest target."""

        @property
        def g_min_usiemens(self) -> float:
            """The smallest target."""

    @model_validator(mode="after")
    def _fractions_add_up(self) -> DeviceSpec:
        if self.stuck_on_frac + self.stuck_off_frac > 1:
            raise ValueError("stuck_on_frac and stuck_off_frac together are more than all cells")
        return self

    @model_serializer(mode="wrap")
    def _what_was_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Defaults are left out: their source is the device's own file."""
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}

    # -- what a kind may override ----------------------------------------------------------------------------------

    def program_sigma_usiemens(self, target_usiemens: Floats) -> Floats:
        """Return the standard deviation of the error of a write, before conductances below 0 are cut off.

        Parameters
        ----------
        target_usiemens : ndarray of float32 or float64
            Conductances in uS that are aimed at, of any shape.

        Returns
        -------
        ndarray
            Deviations in uS, of the shape of the target.

        Raises
        ------
        ImcsimError
            Where the model has no closed form.
        """
        return np.zeros_like(target_usiemens)

    def draw_traits(self, target_usiemens: Floats, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Draw what a cell keeps from now on; it is drawn once, in ``program``.

        Parameters
        ----------
        target_usiemens : ndarray of float32 or float64
            Conductances in uS that are aimed at, of any shape.
        rng : numpy.random.Generator
            The only source of chance.

        Returns
        -------
        dict of str to ndarray
            Traits by name, each of the shape of the target.
        """
        return {}

    def drifted_usiemens(self, cells: Cells, age_s: Ages) -> Floats:
        """Return where the cells are at an age that was checked.

        Parameters
        ----------
        cells : Cells
            As they were programmed.
        age_s : float or ndarray
            Seconds since the first read of the model's fit, of all cells or of each.

        Returns
        -------
        ndarray
            Conductances in uS, of the shape of the cells; they may be negative or of another float type.
        """
        return cells.programmed_usiemens

    def noise_usiemens(self, cells: Cells, g_usiemens: Floats, age_s: Ages) -> Floats:
        """Return the standard deviation of one read, at an age that was checked.

        Parameters
        ----------
        cells : Cells
            As they were programmed.
        g_usiemens : ndarray
            Where they are now, in uS.
        age_s : float or ndarray
            Seconds since the first read of the model's fit, of all cells or of each.

        Returns
        -------
        ndarray
            Deviations in uS, of the shape of the cells.
        """
        return np.zeros_like(g_usiemens)

    def write(self, aim_usiemens: Floats, rng: np.random.Generator) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Return (programmed conductances, traits) of cells that are not stuck; the base adds a normal error."""
        error = self.program_sigma_usiemens(aim_usiemens) * normals(aim_usiemens, rng)
        return aim_usiemens + error, self.draw_traits(aim_usiemens, rng)

    # -- the three questions ---------------------------------------------------------------------------------------

    def program(self, target_usiemens: ArrayLike, rng: np.random.Generator, faults: Faults = "drawn") -> Cells:
        """Write cells: draw the errors, the traits and, last, which cells are stuck.

        Parameters
        ----------
        target_usiemens : ndarray of float32 or float64
            Conductances in uS that are aimed at, of any shape. Other types become float64.
        rng : numpy.random.Generator
            The only source of chance.
        faults : 'drawn' or ndarray
            Where cells are stuck, in uS, and not a number for cells that work; or they are drawn.

        Returns
        -------
        Cells
            Of the shape of the target.

        Raises
        ------
        ImcsimError
            For targets outside g_min_usiemens to g_max_usiemens.
        """
        aim = self._nearest_level(self._checked_target(target_usiemens))
        programmed, traits = self.write(aim, rng)
        stuck_at = self.draw_faults(aim.shape, rng) if isinstance(faults, str) else faults
        return self._cells(aim, np.maximum(programmed, 0), traits, stuck_at)

    def leave(
        self, target_usiemens: ArrayLike, programmed_usiemens: Floats, rng: np.random.Generator, stuck_at: Floats
    ) -> Cells:
        """Return cells that a write circuit has left at given conductances: only their traits are drawn.

        Parameters
        ----------
        target_usiemens : ndarray of float32 or float64
            Conductances in uS that are aimed at, of any shape.
        programmed_usiemens : ndarray
            Where they were left, in uS.
        rng : numpy.random.Generator
            The only source of chance.
        stuck_at : ndarray
            Where cells are stuck, in uS; not a number for cells that work.

        Returns
        -------
        Cells
            Of the shape of the target.

        Raises
        ------
        ImcsimError
            For targets outside g_min_usiemens to g_max_usiemens.
        """
        aim = self._checked_target(target_usiemens)
        return self._cells(aim, programmed_usiemens, self.draw_traits(aim, rng), stuck_at)

    def draw_faults(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Where each cell is stuck, in uS; not a number for cells that work."""
        if not self.stuck_on_frac + self.stuck_off_frac:
            return np.full(shape, np.nan)
        draw = rng.random(shape)
        off = np.where(draw >= 1 - self.stuck_off_frac, self.g_min_usiemens, np.nan)
        return np.where(draw < self.stuck_on_frac, self.g_max_usiemens, off)

    @staticmethod
    def _cells(aim: Floats, programmed: Floats, traits: dict[str, NDArray[Any]], stuck_at: Floats) -> Cells:
        stuck = ~np.isnan(stuck_at)
        return Cells(aim, np.where(stuck, stuck_at, programmed).astype(aim.dtype), traits, np.asarray(stuck))

    def conductance_usiemens(self, cells: Cells, age_s: ArrayLike) -> Floats:
        """Return conductances at an age, noise of the read apart; nothing is drawn.

        Parameters
        ----------
        cells : Cells
            As they were programmed.
        age_s : float or ndarray
            Seconds since the first read of the model's fit, of all cells or of each.

        Returns
        -------
        ndarray
            Conductances in uS, never below 0, of the shape and type of the cells; stuck cells stay.

        Raises
        ------
        ImcsimError
            For ages outside ``ages_s``.
        """
        drifted = np.maximum(self.drifted_usiemens(cells, self.checked_age(age_s)), 0)
        return self._like(cells, np.where(cells.stuck, cells.programmed_usiemens, drifted))

    def read_sigma_usiemens(self, cells: Cells, age_s: ArrayLike) -> Floats:
        """Return the standard deviation of one read at an age, of each cell.

        Parameters
        ----------
        cells : Cells
            As they were programmed.
        age_s : float or ndarray
            Seconds since the first read of the model's fit, of all cells or of each.

        Returns
        -------
        ndarray
            Deviations in uS, of the shape and type of the cells.

        Raises
        ------
        ImcsimError
            For ages outside ``ages_s``.
        """
        conductance = self.conductance_usiemens(cells, age_s)
        return self._like(cells, self.noise_usiemens(cells, conductance, self.checked_age(age_s)))

    @property
    def earliest_s(self) -> float:
        """The first age at which the model holds: freshly written cells."""
        return min(low for low, _ in self.ages_s)

    # -- checks ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _like(cells: Cells, values: Floats) -> Floats:
        return np.asarray(values).astype(cells.programmed_usiemens.dtype, copy=False)

    def _nearest_level(self, target: Floats) -> Floats:
        if self.n_levels == "continuous":
            return target
        step = (self.g_max_usiemens - self.g_min_usiemens) / (self.n_levels - 1)
        return np.asarray(self.g_min_usiemens + step * np.rint((target - self.g_min_usiemens) / step))

    def _checked_target(self, target_usiemens: ArrayLike) -> Floats:
        target, low, high = np.asarray(target_usiemens), self.g_min_usiemens, self.g_max_usiemens
        target = target if target.dtype == np.float32 else target.astype(np.float64)
        wrong = ~((target >= low - ROUNDING * high) & (target <= high * (1 + ROUNDING)))  # also what is no number
        if wrong.any():
            problem = f"{wrong.sum()} of {target.size} targets lie outside, among them {target[wrong][0]:g} uS"
            raise ImcsimError(f"device '{self.kind}'", problem, f"give targets from {low:g} to {high:g} uS")
        return np.asarray(np.clip(target, low, high))

    def checked_age(self, age_s: ArrayLike) -> Ages:
        """Return ages in which the model holds.

        Parameters
        ----------
        age_s : float or array
            Seconds since the first read of the model's fit.

        Returns
        -------
        float or ndarray
            The same as float64.

        Raises
        ------
        ImcsimError
            For ages outside ``ages_s``.
        """
        ages = np.asarray(age_s, dtype=np.float64)
        known = np.logical_or.reduce([(ages >= low) & (ages <= high) for low, high in self.ages_s])
        if not known.all():
            problem = f"the model does not hold at the age {ages[~known][0]:g} s"
            spans = " or ".join(_span(low, high) for low, high in self.ages_s)
            raise ImcsimError(f"device '{self.kind}'", problem, f"give an age of {spans}")
        return float(ages) if ages.ndim == 0 else ages


def _span(low: float, high: float) -> str:
    if low == high:
        return f"{low:g} s"
    return f"{low:g} s or more" if high == math.inf else f"{low:g} to {high:g} s"
