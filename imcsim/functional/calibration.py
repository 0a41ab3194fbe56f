"""Set the ranges of converters: all column sums that there can be, or by layer those that sample images lead to."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from imcsim.functional.encoding import InputCode
from imcsim.functional.placement import BASIS, ArrayUse, Placements
from imcsim.hardware.hardware import Hardware
from imcsim.util.config import Spec, build
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file
from imcsim.util.progress import Progress, silent
from imcsim.workload.quantised import IntegerLayer, Integers, QuantisedNetwork

MOST_VECTORS = 2048  # of a layer and batch that are looked at, evenly spread
CANDIDATES = 64  # ranges that are compared
HINT = "make one for this model, chip and scheme with imcsim calibrate"


class Range(Spec):
    """Hold column sums from ``low`` to ``high``, in level steps of a cell times input digits; ``seen``: the largest."""

    low: float
    high: float
    seen: float

    @model_validator(mode="after")
    def _a_range(self) -> Range:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class AdcRanges(Spec):
    """Hold the range of each layer on crossbars of a ``geometry``; a layer without one takes all sums there can be."""

    made_on: dict[str, Any]
    geometry: dict[str, Any] = Field(default_factory=dict)
    layers: dict[str, Range] = Field(default_factory=dict)

    def range_of(self, layer: str, least: int, largest: int) -> Range:
        """Return the range of a layer, cut to the sums from ``least`` to ``largest`` that there can be."""
        sums = self.layers.get(layer, Range(low=float(least), high=float(largest), seen=float(largest)))
        return sums.model_copy(update={"low": max(sums.low, float(least)), "high": min(sums.high, float(largest))})

    def write(self, path: str | Path) -> None:
        """Write the ranges as JSON, whole or not at all.

        Parameters
        ----------
        path : Path
            The file, which ``Trial.calibration_file`` takes.

        Raises
        ------
        ImcsimError
            Where it cannot be written.
        """
        with new_file(Path(path)) as partial:
            partial.write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


FULL = AdcRanges(made_on={"kind": "whole range"})


def calibrate(
    network: QuantisedNetwork,
    images: NDArray[Any],
    layout: Placements,
    hardware: Hardware,
    made_on: dict[str, Any],
    at_once: int = 50,
    progress: Progress = silent,
) -> AdcRanges:
    """Find for each layer the range that errs least, in squares, on the column sums of ``images`` (n, ...).

    Sums are those of exact cells, on what the layers before make of the images with such sums; of every layer and batch
    at most ``MOST_VECTORS`` vectors are looked at.
    """
    sums = _SumCounter(layout, hardware)
    for start in range(0, len(images), at_once):
        progress(start, len(images), "images")
        network.run(images[start : start + at_once], sums)
    signed, n_codes = hardware.crossbar.polarity == "paired", 1 << hardware.tile.adc.bits
    ranges = {name: _least_error(counts, n_codes, signed) for name, counts in sums.counts.items()}
    return AdcRanges(made_on=made_on, geometry=geometry(layout, hardware), layers=ranges)


def geometry(layout: Placements, hardware: Hardware) -> dict[str, Any]:
    """Return what column sums depend on beside model and images."""
    bar = hardware.crossbar
    combined = [name for name, placement in layout.placements.items() if placement.parts[0].content == BASIS]
    return {
        "rows": bar.rows,
        "columns": bar.columns,
        "bits_per_cell": bar.bits_per_cell,
        "polarity": bar.polarity,
        "wordlines_active": bar.wordlines_active,
        "dac_bits": bar.dac_bits,
        "adc_bits": hardware.tile.adc.bits,
        "combined": combined,
        "contents": layout.conversions_hash,
    }


def load_calibration(path: str, layout: Placements, hardware: Hardware) -> AdcRanges:
    """Read a file of ``imcsim calibrate``; ImcsimError where it is none, or was made for another chip or network."""
    try:
        ranges = build(AdcRanges, json.loads(Path(path).read_text(encoding="utf-8")), path)
    except FileNotFoundError:
        raise ImcsimError(path, "there is no such file", HINT) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise ImcsimError(path, "is no readable calibration", HINT) from None
    wanted = geometry(layout, hardware)
    different = [key for key, value in wanted.items() if ranges.geometry.get(key) != value]
    if different:
        problem = f"was made for {different[0]} {ranges.geometry.get(different[0])}, here it is {wanted[different[0]]}"
        if different[0] == "contents":
            problem = "was made for other weights, or another basis"
        raise ImcsimError(path, problem, HINT)
    if set(ranges.layers) != set(layout.placements):
        raise ImcsimError(path, "was made for a network with other layers", HINT)
    return ranges


class _SumCounter:
    """Multiply exactly, and count by layer how often a conversion's column sum has each size."""

    def __init__(self, layout: Placements, hardware: Hardware) -> None:
        self.layout, self.hardware = layout, hardware
        self.counts: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(1, np.int64))

    def __call__(self, layer: IntegerLayer, vectors: Integers) -> Integers:
        if layer.name not in self.layout.placements:
            return layer.sums(vectors)
        placement, driven = self.layout.placements[layer.name], InputCode.of(layer).driven(vectors)
        sampled = driven[:: -(-len(driven) // MOST_VECTORS)]
        for part in placement.parts:
            self._count(layer, part, sampled[:, part.rows])
        return placement.exact(layer, vectors, self.layout.contents)

    def _count(self, layer: IntegerLayer, part: ArrayUse, inputs: Integers) -> None:
        content, bar = self.layout.contents[part.content], self.hardware.crossbar
        cells = np.concatenate([content.code.encode(content.blocks[n].weights) for n in part.numbers], axis=1)
        levels = part.connected(content.code.by_column(cells).astype(np.float32), content.code)
        bits = int(layer.input.high - layer.input.low).bit_length()
        for shift in range(0, bits, bar.dac_bits):
            digit = (inputs >> shift & (1 << bar.dac_bits) - 1).astype(np.float32)
            for first in range(0, inputs.shape[1], bar.wordlines_active):
                rows = slice(first, min(first + bar.wordlines_active, inputs.shape[1]))
                counts = np.bincount(np.abs(digit[:, rows] @ levels[rows]).astype(np.int64).ravel())
                shorter, longer = sorted((counts, self.counts[layer.name]), key=len)
                self.counts[layer.name] = longer + np.pad(shorter, (0, len(longer) - len(shorter)))


def _least_error(counts: NDArray[np.int64], n_codes: int, signed: bool) -> Range:
    """Return the range, from 0 or symmetric, where rounding and clipping together err least; no finer than a level."""
    sums, largest = np.arange(len(counts)), len(counts) - 1
    most = max(1, n_codes // 2 - 1 if signed else n_codes - 1)  # codes above 0
    highs = sorted({max(1.0, largest * part / CANDIDATES) for part in range(1, CANDIDATES + 1)})

    def error(high: float) -> float:
        step = max(1.0, high / most)
        codes = np.minimum(np.rint(sums / step), most)
        return float(counts @ np.square(codes * step - sums))

    high = min(highs, key=lambda high: (error(high), -high))
    return Range(low=-high * (most + 1) / most if signed else 0.0, high=high, seen=float(largest))
