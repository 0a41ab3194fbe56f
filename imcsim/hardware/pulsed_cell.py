"""How cells answer pulses."""

from __future__ import annotations

from typing import NamedTuple


class PulsedCell(NamedTuple):
    """How a cell answers pulses, and when its write circuit is content; conductances in uS.

    The n-th pulse in the same direction (n = 0, 1, ...) moves a cell by step * (1 + growth_frac * n) * its own factor *
    a normal number of mean 1 and deviation step_sigma_frac: growth 0 is a constant amplitude, growth above 0 an
    incremental one, which begins anew where the direction changes.
    """

    set_step_usiemens: float  # upwards
    reset_step_usiemens: float  # downwards
    growth_frac: float
    step_sigma_frac: float
    read_sigma_usiemens: float  # of one verify read
    band_usiemens: float  # a read within +- band of the target passes
    g_min_usiemens: float
    g_max_usiemens: float
