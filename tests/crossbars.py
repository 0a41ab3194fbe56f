"""Layers on crossbars, written without a plan: each on its own, or all from one basis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imcsim import streams
from imcsim.devices import Cells, DeviceSpec
from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.placement import BASIS, Layout, basis_content, combined, direct, layer_content
from imcsim.functional.reading import Reading
from imcsim.hardware import Hardware
from imcsim.quantised import IntegerLayer
from imcsim.schemes.basis import BasisBroadcast


def arrays_of(
    layers: Sequence[IntegerLayer], hardware: Hardware, device: DeviceSpec, seed: int = 0, basis: bool = False,
    **reading: Any,
) -> AnalogArrays:  # fmt: skip
    """All layers with 8-bit weights, programmed once by the device's own error."""
    places = from_basis(layers, hardware) if basis else on_their_own(layers, hardware)
    cells = programmed(places, device, seed)
    return AnalogArrays(places, cells, Reading(hardware, device, seed, **reading))


def on_their_own(layers: Sequence[IntegerLayer], hardware: Hardware) -> Layout:
    contents = {layer.name: layer_content(layer, hardware, 8) for layer in layers}
    return Layout(contents, {name: direct(name, content) for name, content in contents.items()})


def from_basis(layers: Sequence[IntegerLayer], hardware: Hardware) -> Layout:
    basis = BasisBroadcast(basis="hadamard").declared(hardware.crossbar.rows, 8)
    content = basis_content(basis, hardware, "basis_broadcast")
    return Layout({BASIS: content}, {layer.name: combined(layer, basis, content) for layer in layers})


def programmed(places: Layout, device: DeviceSpec, seed: int) -> dict[tuple[str, int], Cells]:
    step, cells = device.g_max_usiemens - device.g_min_usiemens, {}
    for name, content in places.contents.items():
        for number, block in enumerate(content.blocks):
            levels = content.code.encode(block.weights) / (content.code.levels - 1)
            rng = streams.rng(seed, "program", name, number)
            cells[name, number] = device.program(device.g_min_usiemens + step * levels, rng)
    return cells
