"""Compute layers on analog crossbars: drive inputs digit by digit, convert column sums, shift and add them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.functional.accuracy import LayerCounts, batches
from imcsim.functional.crossbar import Products
from imcsim.functional.encoding import InputCode
from imcsim.functional.placement import ArrayUse, Placements
from imcsim.functional.reading import Readable, Reading
from imcsim.hardware.devices import Cells
from imcsim.workload.quantised import IntegerLayer, Integers, QuantisedNetwork

OTHER_READS = 1 << 20  # numbers of images whose noise no run meets
OWN_NOISE = 40  # vectors of different parts are numbered so many bits apart, so that none share their noise


class AnalogArrays:
    """Multiply for quantised networks, on the programmed crossbars of a chip.

    ``cells``: by content and number of the crossbar. Layers that have no placement are computed exactly, as on a
    digital unit. ``first_image``: the number of the first image of the next call among those of the whole run, on which
    its noise depends. ``counts``: by layer, of all that was multiplied since they were last taken. ``corrections``:
    what is added to the biases of a layer (``bias_corrections``).
    """

    def __init__(
        self,
        layout: Placements,
        cells: Mapping[tuple[str, int], Cells],
        reading: Reading,
        corrections: Mapping[str, Integers] = MappingProxyType({}),
    ) -> None:
        self.layout, self.cells, self.reading, self.corrections = layout, cells, reading, corrections
        self.counts: dict[str, LayerCounts] = defaultdict(LayerCounts)
        self.first_image = 0
        self._readable: dict[tuple[str, str, int], Readable] = {}

    def __call__(self, layer: IntegerLayer, vectors: Integers) -> Integers:
        """Return sums (images, positions, channels) from vectors (images, positions, groups, rows)."""
        if layer.name not in self.layout.placements:
            return layer.sums(vectors)
        placement, entry = self.layout.placements[layer.name], InputCode.of(layer)
        driven = entry.driven(vectors)
        numbers = self.first_image * vectors.shape[1] + np.arange(len(driven))
        sums = np.zeros((len(driven), layer.channels), np.int64)
        for number, part in enumerate(placement.parts):
            sums[:, part.channels] += self._product(layer, number, part, driven[:, part.rows], numbers)
        bias = layer.bias + placement.bias + self.corrections.get(layer.name, 0)
        products = placement.sums(sums, entry.shift, placement.residual_sums(layer, vectors))
        return (products + bias).reshape(*vectors.shape[:2], -1)

    def take_counts(self) -> dict[str, LayerCounts]:
        """Return what was counted so far, and begin counting anew."""
        taken, self.counts = self.counts, defaultdict(LayerCounts)
        return taken

    def _product(
        self, layer: IntegerLayer, number: int, part: ArrayUse, inputs: Integers, numbers: Integers
    ) -> Integers:
        bits = int(layer.input.high - layer.input.low).bit_length()
        readable = self._of(layer.name, number, part)
        products = readable.products(inputs, bits, numbers + (number << OWN_NOISE))
        self._count(layer.name, readable, inputs, bits, products)
        code = self.layout.contents[part.content].code
        return part.weighed(code.decode(products.results, inputs, readable.unit, part.together))

    def _count(self, layer: str, readable: Readable, inputs: Integers, bits: int, products: Products) -> None:
        hardware, counts = self.reading.hardware, self.counts[layer]
        counts.conversions += products.results.size * hardware.input_phases(bits, inputs.shape[1])
        counts.saturated += float(products.saturated.sum())
        digits, largest = digit_sums(bits, hardware.crossbar.dac_bits)
        by_row = digits[inputs].sum(axis=0).astype(float)
        counts.driven += float(by_row.sum())
        counts.drivable += float(inputs.size * largest)
        counts.charge += float(by_row @ readable.row_levels[: len(by_row)])
        counts.chargeable += float(inputs.size * largest * readable.row_most)

    def _of(self, layer: str, number: int, part: ArrayUse) -> Readable:
        """Return a part as it is read: in the range of its layer, with errors that all layers on it share."""
        key = (layer, part.content, part.number if part.masks is None else number)
        if key not in self._readable:
            code = self.layout.contents[part.content].code
            cells = [self.cells[part.content, crossbar] for crossbar in part.numbers]
            reading = self.reading.when_fresh() if part.content in self.layout.rewritten else self.reading
            self._readable[key] = reading.readable(cells, code, part, layer)
        return self._readable[key]


def bias_corrections(
    network: QuantisedNetwork, images: NDArray[Any], arrays: AnalogArrays, at_once: int
) -> dict[str, Integers]:
    """Return (channels,) of each layer: what its sums lack on average, for exact inputs of images (n, ...)."""
    missing: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))

    def compare(layer: IntegerLayer, vectors: Integers) -> Integers:
        exact = layer.sums(vectors)
        missing[layer.name] = missing[layer.name] + (exact - arrays(layer, vectors)).mean(axis=1).sum(axis=0)
        return exact

    for part in batches(len(images), at_once):
        arrays.first_image = OTHER_READS + part.start
        network.run(images[part], compare)
    arrays.take_counts()
    return {name: np.rint(total / len(images)).astype(np.int64) for name, total in missing.items()}


@lru_cache
def digit_sums(n_bits: int, digit_bits: int) -> tuple[Integers, int]:
    """Return (2^n_bits,) the sum of the digits of every unsigned number, and the largest one."""
    numbers, largest = np.arange(1 << n_bits), (1 << digit_bits) - 1
    digits = range(0, n_bits, digit_bits)
    return sum((numbers >> shift & largest for shift in digits), np.zeros_like(numbers)), largest * len(digits)
