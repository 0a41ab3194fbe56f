"""Layers on crossbars: written by a plan, or without one, each on its own or all from one basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.chip import WrittenChip, write_chip
from imcsim.functional.layout import basis_content, combined, direct, layer_content, layout
from imcsim.functional.placement import BASIS, Placements
from imcsim.functional.reading import Reading
from imcsim.hardware.devices import Cells, DeviceSpec
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.hardware.write_circuits import Write
from imcsim.mapping.plan import Plan, Program
from imcsim.mapping.schemes import load_scheme
from imcsim.mapping.schemes.basis import BasisBroadcast
from imcsim.util import random_streams
from imcsim.workload.quantised import IntegerLayer
from imcsim.workload.quantised.layers import Format
from imcsim.workload.workload import Workload
from tests.support.networks import conv, image, network

# -- by a plan ---------------------------------------------------------------------------------------------------------


def small_network(*more: str) -> Workload:
    """On crossbars of 16 x 32 cells 4, 10, 2 (two groups to each) and 2 crossbars; ``more``: layers like the last."""
    names = ["d", *more]
    tail = [conv(name, source, (8, 6) if name == "d" else (6, 6), 6, 1)
            for source, name in zip(["c", *names], names, strict=False)]  # fmt: skip
    return network(
        image(3, 6), conv("a", "image", (3, 8), 6), conv("b", "a", (8, 8), 6), conv("c", "b", (8, 8), 6, 1, 4), *tail
    )


def small_chip(n_tiles: int = 1, write: Write | str = "ideal_single", **overrides: object) -> Hardware:
    """Tiles of 8 crossbars of 16 x 32 cells, four 8-bit weights side by side."""
    size = {"chip.n_tiles": n_tiles, "crossbar.rows": 16, "crossbar.wordlines_active": 16, "crossbar.columns": 32}
    more = {key.replace("__", "."): value for key, value in overrides.items()}
    if isinstance(write, str):
        return load_hardware("rram-256", size | more, write)
    hardware = load_hardware("rram-256", size | more)
    return hardware.model_copy(update={"cell": hardware.cell.model_copy(update={"write": write})})


@dataclass(frozen=True)
class Placed:
    """A network of random weights under a plan."""

    hardware: Hardware
    plan: Plan
    layers: Sequence[IntegerLayer]
    layout: Placements

    @property
    def batch(self) -> list[Program]:
        return [operation for operation in self.plan.operations() if isinstance(operation, Program)]

    def written(self, device: DeviceSpec, seed: int = 0) -> WrittenChip:
        return write_chip(self.plan, self.layout.contents, self.hardware, device, seed)


def placed(
    hardware: Hardware, scheme: str = "reprogram", batch: int = 1, workload: Workload | None = None, **options: Any
) -> Placed:
    loaded = workload or small_network()
    plan = load_scheme(scheme, options).plan(loaded, hardware, batch, 0)
    layers = [random_weights(layer.name, layer.channels, layer.rows, layer.groups) for layer in loaded.weighted]
    return Placed(hardware, plan, layers, layout(plan, layers, hardware))


def random_weights(name: str, channels: int, rows: int, groups: int = 1) -> IntegerLayer:
    """The same for the same name."""
    rng = random_streams.rng(0, "weights", name)
    entry = Format(0.1, int(rng.integers(-128, 128)), np.dtype(np.int8))
    weights, bias = rng.integers(-128, 128, (channels, rows)), rng.integers(-999, 999, channels)
    return IntegerLayer(name, weights, bias, groups, entry, np.ones(channels, np.float32), None)


# -- without one -------------------------------------------------------------------------------------------------------


def arrays_of(
    layers: Sequence[IntegerLayer], hardware: Hardware, device: DeviceSpec, seed: int = 0, basis: bool = False,
    **reading: Any,
) -> AnalogArrays:  # fmt: skip
    """All layers with 8-bit weights, programmed once by the device's own error."""
    places = from_basis(layers, hardware) if basis else on_their_own(layers, hardware)
    cells = programmed(places, device, seed)
    return AnalogArrays(places, cells, Reading(hardware, device, seed, **reading))


def on_their_own(layers: Sequence[IntegerLayer], hardware: Hardware) -> Placements:
    contents = {layer.name: layer_content(layer, hardware, 8) for layer in layers}
    return Placements(contents, {layer.name: direct(layer, contents[layer.name]) for layer in layers})


def from_basis(layers: Sequence[IntegerLayer], hardware: Hardware) -> Placements:
    basis = BasisBroadcast(basis="hadamard").declared(hardware.crossbar.rows, 8)
    content = basis_content(basis, hardware, "basis_broadcast")
    return Placements({BASIS: content}, {layer.name: combined(layer, basis, content) for layer in layers})


def programmed(places: Placements, device: DeviceSpec, seed: int) -> dict[tuple[str, int], Cells]:
    step, cells = device.g_max_usiemens - device.g_min_usiemens, {}
    for name, content in places.contents.items():
        for number, block in enumerate(content.blocks):
            levels = content.code.encode(block.weights) / (content.code.levels - 1)
            rng = random_streams.rng(seed, "program", name, number)
            cells[name, number] = device.program(device.g_min_usiemens + step * levels, rng)
    return cells
