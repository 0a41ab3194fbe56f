"""Say what a SET pulse, a RESET, a read and time do to a cell: a device model as the numbers that the kernels take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from scipy.special import ndtr

from imcsim.hardware.devices import pcm_accumulative as pcm
from imcsim.training.checks import check_ranges, check_word

LEVEL_USIEMENS = 0.875  # one carry; assumed: the curve's mean step is 0.88 over 8 pulses, and 7/8 adds up exactly


class HybridCell(NamedTuple):
    """Hold a device model in numbers, conductances in uS.

    Means and deviations of a step are linear in the conductance, 1 and the SET history. The drift exponent of a
    programmed cell is normal: mean and deviation are linear in the logarithm of the conductance relative to
    ``exponent_full_usiemens``, each between a least and a most.
    """

    memory_pulses: float
    step_by_g: float
    step_usiemens: float
    step_by_history: float
    sigma_by_g: float
    sigma_usiemens: float
    sigma_by_history: float
    read_by_g: float
    read_usiemens: float
    reset_usiemens: float
    reset_sigma_usiemens: float
    reset_least_usiemens: float
    least_usiemens: float  # after a SET pulse
    full_usiemens: float
    first_read_s: float
    exponent_full_usiemens: float
    exponent_log: float
    exponent_fixed: float
    exponent_least: float
    exponent_most: float
    spread_log: float
    spread_fixed: float
    spread_least: float
    spread_most: float


ALIKE = (1.0, 0.0, pcm.DRIFT_EXPONENT, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
BY_CONDUCTANCE = (25.0, -0.0155, 0.0244, 0.049, 0.1, -0.0125, -0.0059, 0.008, 0.045)  # as in devices/pcm_iterative.py
DRIFTS = {"none": (1.0, *(0.0,) * 8), "alike": ALIKE, "by_conductance": BY_CONDUCTANCE}


@dataclass(frozen=True)
class Physics:
    """Say which effects cells have; each can be switched on alone.

    ``nonlinear``: steps shrink with the conductance and the pulses since RESET, else every step is one level.
    ``write_noise``: of steps and RESETs. ``read_noise``: of every read. ``drift``: 'none', 'alike' (one exponent for
    all cells, as in devices/pcm_accumulative.py), 'by_conductance' (drawn at every pulse, as in pcm_iterative.py).
    ``full_usiemens``: where SET saturates. Raises ImcsimError for what cannot be.
    """

    nonlinear: bool = True
    write_noise: bool = True
    read_noise: bool = True
    drift: Literal["none", "alike", "by_conductance"] = "alike"
    full_usiemens: float = 12.0  # srnn-pcm xbar.py: 12, or 20 for its Fig. 5

    def __post_init__(self) -> None:
        check_word("--option drift", self.drift, DRIFTS)
        check_ranges(self, {"full_usiemens": (2 * LEVEL_USIEMENS, 1000.0)}, {"full_usiemens": "--option full_usiemens"})

    @property
    def cell(self) -> HybridCell:
        """Return the same as numbers. Cells that are neither nonlinear nor noisy count levels from 0 on, exactly."""
        exact = not (self.nonlinear or self.write_noise)
        step = pcm.STEP_MEAN if self.nonlinear else (0.0, LEVEL_USIEMENS, 0.0)
        sigma = pcm.STEP_SIGMA if self.write_noise else (0.0, 0.0, 0.0)
        reads = pcm.READ_SIGMA if self.read_noise else (0.0, 0.0)
        left = 0.0 if exact else pcm.RESET_USIEMENS
        reset = (left, pcm.RESET_SIGMA_USIEMENS * self.write_noise, 0.0 if exact else pcm.RESET_LEAST_USIEMENS)
        exponents = DRIFTS[self.drift]
        first_s = 20.0 if self.drift == "by_conductance" else pcm.FIRST_READ_S  # as pcm_iterative.py
        return HybridCell(
            pcm.MEMORY_PULSES, *step, *sigma, *reads, *reset, left, self.full_usiemens, first_s, *exponents
        )


ON_USIEMENS, CONTRAST = 10.0, 100.0  # of a binary cell; assumed, the on/off ratio as CrossSim's PCMJoshi


def bit_error_frac(on_usiemens: float = ON_USIEMENS, contrast: float = CONTRAST) -> float:
    """Return how probably one read of a binary cell is wrong, in the worse state, threshold at the geometric mean.

    Noise as of multi-level cells (srnn-pcm xbar.py); so small at a contrast of 100 that trainings leave it out.
    """
    by_g, fixed = pcm.READ_SIGMA
    off_usiemens, threshold = on_usiemens / contrast, on_usiemens / contrast**0.5
    return max(float(ndtr(-abs(g - threshold) / (by_g * g + fixed))) for g in (on_usiemens, off_usiemens))
