"""An ADC as good as the best of the published ones: a closed-form fit to the ADC performance survey.

Model and coefficients: Andrulis, Chen, Lee, Emer, Sze, "Modeling Analog-Digital-Converter Energy and Area for
Compute-In-Memory Accelerator Design", arXiv 2404.06553, as released in hwcomponents-adc (MIT licence), fitted to
Murmann's "ADC Performance Survey 1997-2023". Published converters lie a factor of 0.3 to 3.5 from the fit.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator

from imcsim.hardware.adcs._base import AdcSpec
from imcsim.hardware.price_row import PriceRow
from imcsim.util import config, units
from imcsim.util.presets import shipped_dir


class SurveyFit(config.Spec):
    """The coefficients, natural logarithms of Hz, nm, pJ and um2; figures of merit in dB. See hwconfigs/fits."""

    source: str
    min_enob_bits: float
    leakage_frac: float
    fom_intercept_db: float
    fom_per_log_rate_db: float
    fom_max_by_enob_db: tuple[float, ...]
    energy_intercept: float
    energy_per_log_node: float
    energy_per_log_enob: float
    energy_residual: float
    area_intercept: float
    area_per_log_node: float
    area_per_log_rate: float
    area_per_log_energy: float


@cache
def fit() -> SurveyFit:
    """The coefficients from ``hwconfigs/fits/adc_survey.yaml``."""
    path = shipped_dir("hwconfigs") / "fits" / "adc_survey.yaml"
    return config.build(SurveyFit, config.read_yaml(path), str(path))


class SurveyAdc(AdcSpec):
    """Energy and area from effective bits, rate and node (arXiv 2404.06553); valid from 4 effective bits on."""

    kind: Literal["survey"]
    enob_bits: Annotated[float, Field(examples=[7])]  # effective number of bits, which is what the fit calls bits
    node_nm: Annotated[PositiveFloat, Field(examples=[32])]

    @field_validator("enob_bits")
    @classmethod
    def _in_range(cls, enob_bits: float) -> float:
        lowest, highest = fit().min_enob_bits, len(fit().fom_max_by_enob_db) - 1
        if not lowest <= enob_bits <= highest:
            raise ValueError(f"the survey fit holds from {lowest:g} to {highest} effective bits, got {enob_bits:g}")
        return enob_bits

    @property
    def rate_hz(self) -> float:
        """Conversions per second of one ADC."""
        return units.NS_PER_S / self.convert_ns

    @property
    def energy_pj(self) -> float:
        """Energy of one conversion at full rate, leakage included."""
        c = fit()
        best_db = c.fom_max_by_enob_db[math.ceil(self.enob_bits)]
        fom_db = min(c.fom_intercept_db + c.fom_per_log_rate_db * math.log(self.rate_hz), best_db)
        sndr_db = self.enob_bits * 20 * math.log10(2) + 10 * math.log10(1.5)
        correction = c.energy_intercept + c.energy_per_log_node * math.log(self.node_nm) + c.energy_residual
        correction += c.energy_per_log_enob * math.log(self.enob_bits)
        return math.exp(correction) / (2 * 10 ** ((fom_db - sndr_db) / 10))

    @property
    def area_um2(self) -> float:
        """Area of one ADC."""
        c = fit()
        logs = c.area_per_log_node * math.log(self.node_nm) + c.area_per_log_rate * math.log(self.rate_hz)
        return math.exp(c.area_intercept + logs + c.area_per_log_energy * math.log(self.energy_pj))

    def part(self) -> PriceRow:
        """The price row ``adc``: a fifth of the energy at full rate is leakage, as the fit was released."""
        n, power_uw = self.mean_per_crossbar, self.energy_pj / self.convert_ns * units.UW_PER_MW  # pJ/ns are mW
        return PriceRow(
            per="crossbar",
            count=n,
            area_um2=n * self.area_um2,
            peak_uw=n * power_uw,
            leakage_uw=n * power_uw * fit().leakage_frac,
            actions_pj={"convert": self.energy_pj * (1 - fit().leakage_frac)},
            source=fit().source,
        )
