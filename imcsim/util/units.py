"""Convert units and print with SI prefixes: this is the only file with powers of ten."""

from __future__ import annotations

import math
from fractions import Fraction

PS_PER_NS = 1000
NS_PER_S = 1e9
PJ_PER_J = 1e12
PJ_PER_NJ = 1e3
UM2_PER_MM2 = 1e6
UW_PER_MW = 1e3
UW_PER_W = 1e6
GIGA = 1e9
TERA = 1e12
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}


def pj(power_uw: float, time_ps: float) -> float:
    """Return the energy in pJ of a power in uW over a time in ps."""
    return power_uw * time_ps * 1e-6


def cycles(time_ns: float | Fraction, clock_mhz: float) -> int:
    """Return the clock cycles that cover a time, rounded up once; exact for decimal inputs such as 0.78125 ns.

    A part in 10^12 is forgiven, for a time that was computed as a float: 1000 / 1200 ns at 1200 MHz is one cycle.
    """
    return math.ceil(Fraction(str(time_ns)) * Fraction(str(clock_mhz)) / 1000 * (1 - Fraction(1, 10**12)))


def period_ps(clock_mhz: float) -> int:
    """Return the clock period in whole picoseconds."""
    return round(1e6 / clock_mhz)


def si(value: float, unit: str, digits: int = 4) -> str:
    """Write a value with an SI prefix, such as ``si(2.5e-8, 's') == '25 ns'``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    power = min(15, max(-15, 3 * math.floor(math.log10(abs(value)) / 3)))
    return f"{value / 10**power:.{digits}g} {_PREFIXES[power]}{unit}"


TIMES_S = {"y": 365 * 86_400, "d": 86_400, "h": 3600, "min": 60, "s": 1}


def age(seconds: float) -> str:
    """Write an age in the largest unit that divides it, such as 1 d."""
    dividing = (unit for unit, size_s in TIMES_S.items() if seconds >= size_s and seconds % size_s == 0)
    unit = next(dividing, "s")
    return f"{seconds / TIMES_S[unit]:g} {unit}"
