"""Integer layers on analog crossbars: cells programmed, drifted and read, column sums converted, shifted and added."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imcsim import streams
from imcsim.crossbar import Adc, Crossbar, ReadNoise, fixed_point, multiply
from imcsim.devices import DeviceSpec, Floats, global_factor
from imcsim.functional.coding import Block, InputCode, WeightCode, blocks
from imcsim.hardware import Hardware
from imcsim.quantised import IntegerLayer, Integers

FRACTION_BITS = 8  # of conductances, in steps of the converter
UNIT = 1 << FRACTION_BITS


@dataclass
class AnalogArrays:
    """A multiplication for quantised networks, on the crossbars of a chip with cells of a device.

    A layer is programmed when it is first used, by its own random streams, so that the order of layers does not
    matter; the same ``seed`` is the same chip. ``age_s``: since programming, as the device counts it. The least
    conductance of a cell is taken off by a reference column that has no error of its own.
    """

    hardware: Hardware
    device: DeviceSpec
    seed: int = 0
    age_s: float = 0.0
    weight_bits: int = 8
    compensation: Literal["none", "global"] = "none"  # of drift: one factor for each crossbar
    conversions: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by layer
    saturated: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _programmed: dict[str, list[_Programmed]] = field(default_factory=dict)
    _vectors: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # converted so far, which numbers noise

    @property
    def code(self) -> WeightCode:
        return WeightCode.of(self.weight_bits, self.hardware)

    def __call__(self, layer: IntegerLayer, vectors: Integers) -> Integers:
        """Sums (images, positions, channels) from vectors (images, positions, groups, rows)."""
        entry = InputCode.of(layer)
        driven = entry.driven(vectors)
        sums = np.zeros((len(driven), layer.channels), np.int64) + entry.correction(layer)
        numbers = self._vectors[layer.name] + np.arange(len(driven))
        for part in self._of(layer):
            sums[:, part.block.channels] += self._product(layer, part, driven[:, part.block.rows], numbers)
        self._vectors[layer.name] += len(driven)
        return sums.reshape(*vectors.shape[:2], -1)

    def _product(self, layer: IntegerLayer, part: _Programmed, inputs: Integers, numbers: Integers) -> Integers:
        bits = int(layer.input.high - layer.input.low).bit_length()
        found = multiply(part.crossbar, inputs, bits, part.adc, noise=part.noise, numbers=numbers)
        self.saturated[layer.name] += int(found.saturated.sum())
        self.conversions[layer.name] += found.results.size * self.hardware.input_phases(bits, len(part.block.rows))
        return self.code.decode(found.results, inputs, part.factor * part.step_levels)

    def _of(self, layer: IntegerLayer) -> list[_Programmed]:
        if layer.name not in self._programmed:
            parts = enumerate(blocks(layer, self.hardware, self.code))
            self._programmed[layer.name] = [self._program(layer.name, number, block) for number, block in parts]
        return self._programmed[layer.name]

    def _program(self, layer: str, number: int, block: Block) -> _Programmed:
        """Write a crossbar and read where its cells are at the age, in steps of its converter."""
        device, bar = self.device, self.hardware.crossbar
        adc, step_levels = self._adc(len(block.rows))
        step_usiemens = (device.g_max_usiemens - device.g_min_usiemens) / (self.code.levels - 1)
        targets = device.g_min_usiemens + step_usiemens * self.code.encode(block.weights)
        cells = device.program(targets, streams.rng(self.seed, "program", layer, number))
        levels = (device.conductance_usiemens(cells, self.age_s) - device.g_min_usiemens) / step_usiemens
        sigma = device.read_sigma_usiemens(cells, self.age_s) / (step_usiemens * step_levels)
        conductances = fixed_point(levels / step_levels, FRACTION_BITS)
        crossbar = Crossbar(conductances, bar.wordlines_active, bar.dac_bits, _variances(sigma))
        noise = None
        if sigma.any():
            noise = ReadNoise(int(streams.rng(self.seed, "read", layer, number).integers(1 << 63)))
        fresh = (cells.programmed_usiemens - device.g_min_usiemens) / step_usiemens
        factor = global_factor(fresh, levels) if self.compensation == "global" else 1.0
        return _Programmed(block, crossbar, adc, step_levels, noise, factor)

    def _adc(self, rows: int) -> tuple[Adc, float]:
        """The converter and its step in levels: codes up to the largest sum of a wordline group, no finer than a level.

        Thresholds lie halfway between the values of the codes; an ideal converter has one for every whole sum, also
        below 0.
        """
        bar, adc = self.hardware.crossbar, self.hardware.tile.adc
        largest = min(rows, bar.wordlines_active) * (self.code.levels - 1) * ((1 << bar.dac_bits) - 1)
        if adc.kind == "ideal":
            lowest, n_codes, step_levels = -largest, 3 * largest + 1, 1.0
        else:
            lowest, n_codes, step_levels = 0, 1 << adc.bits, max(1.0, largest / ((1 << adc.bits) - 1))
        return Adc.uniform(n_codes, FRACTION_BITS, lowest * UNIT - UNIT // 2, lowest), step_levels


@dataclass(frozen=True)
class _Programmed:
    """One crossbar of a layer."""

    block: Block
    crossbar: Crossbar
    adc: Adc
    step_levels: float  # of the converter
    noise: ReadNoise | None
    factor: float  # on what was read, against drift


def _variances(sigma: Floats) -> NDArray[np.float64] | None:
    """Variances of the cells' reads in squared fixed-point units; None where reads have no noise."""
    return np.square(sigma.astype(np.float64) * UNIT) if sigma.any() else None
