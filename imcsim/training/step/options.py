"""Describe how a step of training is done."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from imcsim.mapping.update_rates import DIGITAL_BITS
from imcsim.util.config import Spec


class StepOptions(Spec):
    """Hold the choices of a training step.

    ``update``: weights change at the end of the 'batch', or at every 'sample', for which the pipeline drains.
    ``accumulator``: of gradients, in binary 'pcm' devices of ``accumulator_bits`` bits, or 32-bit numbers in 'sram' or
    'dram'. ``outer``: products of inputs and errors are multiplied ('digital'), or 'pulses' of ``pulse_length`` slots
    meet. ``transpose_adc``: converters of the rows are a second 'bank', or those of the columns are 'shared'.
    ``refresh_every``: batches between two checks of the pairs. ``node_nm``: of converters that a preset does not list.
    """

    batch: PositiveInt = 100
    update: Literal["batch", "sample"] = "batch"
    accumulator: Literal["pcm", "sram", "dram"] = "pcm"
    accumulator_bits: PositiveInt = 7
    outer: Literal["digital", "pulses"] = "digital"
    pulse_length: PositiveInt = 16
    transpose_adc: Literal["bank", "shared"] = "bank"
    error_bits: PositiveInt = 8
    refresh_every: PositiveInt = 10
    epoch_images: PositiveInt = 50_000
    circuit: str = "pcm_binary"
    node_nm: PositiveFloat = 14.0

    @property
    def stored_bits(self) -> int:
        """Return the bits of an accumulated gradient, per weight."""
        return self.accumulator_bits if self.accumulator == "pcm" else DIGITAL_BITS
