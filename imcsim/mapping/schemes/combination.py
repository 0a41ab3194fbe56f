"""The copies of a basis on some crossbars, and the layers that are combined from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from imcsim.hardware.hardware import Hardware, SramBuffer, VectorUnit
from imcsim.mapping.plan import Basis, BasisMvm, Load, Operation, Phase, Program, Region, Segments
from imcsim.mapping.schemes.base import LayerGroup, with_digital_neighbours
from imcsim.mapping.schemes.masks import Colouring, Slots, schedule, synthetic
from imcsim.mapping.tiling import TileGrid
from imcsim.util.errors import ImcsimError
from imcsim.workload.workload import WeightedLayer

if TYPE_CHECKING:
    from imcsim.mapping.basis.fitted import LayerCoefficients


class BasisChoice(Protocol):
    """What a scheme says of its basis."""

    @property
    def name(self) -> str: ...
    @property
    def route(self) -> Literal["exclusive", "broadcast"]: ...
    @property
    def colouring(self) -> Colouring: ...
    @property
    def coefficients(self) -> Literal["auto", "buffer", "dram"]: ...
    @property
    def coefficients_of_file(self) -> Mapping[str, LayerCoefficients]: ...
    def declared(self, rows: int, weight_bits: int) -> Basis: ...


class Combination:
    """The copies of a basis on some crossbars, and the layers that are combined from it."""

    def __init__(
        self,
        scheme: BasisChoice,
        parts: Sequence[LayerGroup],
        hardware: Hardware,
        crossbars: int,
        first: int,
        seed: int,
    ) -> None:
        if not parts:
            raise ImcsimError(f"scheme '{scheme.name}'", "no layer is left for the basis", "take --scheme static")
        self.scheme, self.parts, self.hardware = scheme, parts, hardware
        weight_bits = max(block.layer.weight_quant.bits for block in parts)
        self.basis = scheme.declared(hardware.crossbar.rows, weight_bits)
        self.fitted = scheme.coefficients_of_file
        self._check(crossbars)
        self.region = Region(first, self.crossbars_per_copy, crossbars // self.crossbars_per_copy)
        self.slots: dict[str, Slots] = {}
        if scheme.route == "exclusive":
            self.slots = {b.layer.name: self._schedule(b, seed) for b in parts}

    def _schedule(self, block: LayerGroup, seed: int) -> Slots:
        cut = self.cut(block)  # which also checks a file against the layer
        if self.fitted:
            return schedule(self.fitted[block.layer.name].values, self.basis, self.scheme.colouring)
        return schedule(synthetic(block.layer, self.basis, cut, seed), self.basis, self.scheme.colouring)

    def _check(self, crossbars: int) -> None:
        where, basis = f"scheme '{self.scheme.name}', option", self.basis
        if basis.route == "broadcast" and basis.sum == "analog":
            raise ImcsimError(
                f"{where} sum",
                "a broadcast column is converted once, so there are no currents left to sum",
                "use sum=digital or route=exclusive",
            )
        if basis.elements == "hadamard" and basis.sum == "analog":
            raise ImcsimError(
                f"{where} basis",
                "the dense coefficients of a hadamard basis are combined digitally",
                "use sum=digital, or the scheme basis_broadcast",
            )
        if basis.length > self.hardware.crossbar.rows:
            raise ImcsimError(
                f"{where} length",
                f"{basis.length} elements do not fit {self.hardware.crossbar.rows} rows",
                "use a shorter basis",
            )
        if basis.nonzeros > basis.vectors:
            raise ImcsimError(
                f"{where} nonzeros",
                f"{basis.nonzeros} coefficients of {basis.vectors} basis vectors",
                "use at most as many as there are vectors",
            )
        if not self.vectors_per_crossbar:
            raise ImcsimError(
                f"{where} basis_bits",
                f"a vector takes {self.columns_per_vector} columns, a crossbar has {self.hardware.crossbar.columns}",
                "use fewer bits",
            )
        if self.crossbars_per_copy > crossbars:
            raise ImcsimError(
                f"{where} vectors",
                f"one basis takes {self.crossbars_per_copy} crossbars, there are {crossbars}",
                "use fewer vectors or more crossbars",
            )

    @property
    def columns_per_vector(self) -> int:
        return self.hardware.weight_columns(self.basis.basis_bits)

    @property
    def crossbars_per_copy(self) -> int:
        """m_B = ceil(M / floor(C / c_b)): no vector lies on two crossbars."""
        return -(-self.basis.vectors // max(1, self.vectors_per_crossbar))

    @property
    def vectors_per_crossbar(self) -> int:
        return self.hardware.crossbar.columns // self.columns_per_vector

    def cut(self, block: LayerGroup) -> Segments:
        """How a layer is cut; small groups share a segment, as many as its length takes."""
        layer, length = block.layer, self.basis.length
        together = min(layer.groups, max(1, length // layer.rows)) if layer.groups > 1 else 1
        terms = -(-layer.rows * together // length)
        count = terms * -(-layer.groups // together)
        kernels, rows = layer.channels // layer.groups * together, min(layer.rows * together, length)
        segments = Segments(count, kernels, rows, terms, float(self.basis.nonzeros), self.basis.coeff_bits)
        return self._as_fitted(segments, layer) if self.fitted else segments

    def _as_fitted(self, cut: Segments, layer: WeightedLayer) -> Segments:
        """With the coefficients and corrections of a file; ImcsimError where the file is of another network."""
        own, n_kernels = self.fitted.get(layer.name), cut.terms * layer.channels
        if own is None or not _is_of(own, cut, layer):
            where = f"scheme '{self.scheme.name}', option basis"
            raise ImcsimError(where, f"the file has no layer like '{layer.name}'", "fit a basis to this network")
        return replace(
            cut,
            nonzeros=float(np.count_nonzero(own.values)) / n_kernels,
            corrections=len(own.residual) / n_kernels,
            correction_bits=own.residual.bits(cut.rows),
        )

    def operations(self, block: LayerGroup) -> tuple[Operation, ...]:
        """The operations of a block that is combined from the basis."""
        segments, slots = self.cut(block), self.slots.get(block.layer.name)
        if slots:
            segments = replace(segments, slots=slots.needed, selected=slots.selected)
        if slots and self.fitted and self.basis.sum == "analog":
            kernels = block.layer.channels * segments.terms / segments.count
            segments = replace(segments, masks=slots.masks / kernels)
        core = BasisMvm(block.layer.name, block.layer, self.region, self.basis, segments, block.absorbed)
        return with_digital_neighbours(block, [core], self.region)

    def cycles(self, block: LayerGroup, copies: int, batch: int) -> float:
        """Closed-form cycles of a batch: the longer of the analog and the digital part, ceil(Bt P S / D) T_in tau."""
        hw, layer = self.hardware, block.layer
        segments = self.cut(block)
        vectors = -(-batch * layer.positions * segments.count // copies)
        phases = hw.input_phases(layer.input_quant.bits, segments.rows)
        columns = (
            segments.kernels * segments.masks if self.basis.sum == "analog" else self.basis.vectors
        ) * self.columns_per_vector
        tau: float = hw.phase_cycles(math.ceil(columns / self.crossbars_per_copy))
        slots = self.slots.get(layer.name)
        if slots and self.basis.sum == "analog":
            tau = max(tau, sum(slots.needed) / segments.count * hw.cycles(hw.crossbar.evaluate_ns))
        unit = hw.tile.digital
        macs = segments.kernels * (segments.nonzeros * (self.basis.sum == "digital") + segments.corrections)
        combine = -(-macs // unit.mac_lanes) if isinstance(unit, VectorUnit) else 0
        return vectors * max(phases * tau, combine)

    def coefficient_bytes(self, block: LayerGroup) -> int:
        """Stored coefficients of a layer, S N q of them on average, each with sign and index, and its corrections."""
        cut = self.cut(block)
        bits = cut.nonzeros * self.basis.coefficient_bits + cut.corrections * cut.correction_bits
        return math.ceil(cut.terms * block.layer.channels * bits / 8)

    def loads(self, per_image: bool) -> tuple[Load, ...]:
        """Coefficients that come from DRAM, layer by layer; none where the buffers keep them."""
        if self._kept_in_buffers():
            return ()
        return tuple(
            Load(f"coefficients {b.layer.name}", b.layer.name, self.coefficient_bytes(b), self.region, per_image)
            for b in self.parts
        )

    def _kept_in_buffers(self) -> bool:
        buffer = self.hardware.tile.buffer
        if self.scheme.coefficients != "auto":
            return self.scheme.coefficients == "buffer"
        if not isinstance(buffer, SramBuffer):
            return True
        return sum(map(self.coefficient_bytes, self.parts)) <= buffer.capacity_bytes * self.hardware.chip.n_tiles

    def setup(self) -> tuple[Program, ...]:
        """Write the basis into every copy, once."""
        each, vectors = self.vectors_per_crossbar, self.basis.vectors
        widths = [min(each, vectors - first) * self.columns_per_vector for first in range(0, vectors, each)]
        rows = (self.basis.length,) * len(widths)
        grid = TileGrid(rows, tuple(widths), tuple(self.basis.length * w for w in widths), 1, len(widths))
        return (Program("write basis", "basis", grid, self.region, self.basis.basis_bits),)

    def notes(self) -> tuple[str, ...]:
        where = "the buffers" if self._kept_in_buffers() else "DRAM"
        total = sum(map(self.coefficient_bytes, self.parts))
        notes = [*(["synthetic coefficients: no accuracy"] if self.basis.elements == "synthetic" else [])]
        notes += [
            f"{self.region.copies} copies of a basis of {self.basis.vectors} vectors; "
            f"{total:,} bytes of coefficients in {where}",
        ]
        if self.slots:
            needed, bound = self._slot_sums()
            how = self.scheme.colouring.replace("_", "-")
            notes.append(f"{needed:,} time slots by {how} for one position of every layer, lower bound {bound:,}")
        return tuple(notes)

    def _slot_sums(self) -> tuple[int, int]:
        return sum(sum(s.needed) for s in self.slots.values()), sum(sum(s.bound) for s in self.slots.values())

    def assumed(self) -> tuple[str, ...]:
        if self.basis.elements != "synthetic":
            return ()
        drawn = f"seeded random supports of {self.basis.nonzeros} basis vectors with uniform magnitudes"
        return (f"scheme.coefficients: {drawn}",)

    def facts(self) -> dict[str, object]:
        needed, bound = self._slot_sums()
        slots = {f"slots_{self.scheme.colouring}": needed, "slots_lower_bound": bound} if self.slots else {}
        return {
            "basis_copies": self.region.copies,
            "coefficient_bytes": sum(map(self.coefficient_bytes, self.parts)),
            **slots,
        }


def _is_of(own: LayerCoefficients, cut: Segments, layer: WeightedLayer) -> bool:
    sizes = len(own.values) == cut.count and len(own.scale) == layer.channels
    return sizes and own.residual.fits(layer.channels * layer.rows)


def with_overlapped_loads(phases: Sequence[Phase], loads: Sequence[Load]) -> tuple[Phase, ...]:
    """Phases in a row, each with the load for the next one beside it; that of the first one is a phase of its own."""
    by_layer = {load.layer: load for load in loads}
    wanted = [(by_layer[phase.name],) if phase.name in by_layer else () for phase in phases]
    first = tuple(Phase(load.name, (load,)) for load in wanted[0])
    return (
        *first,
        *(Phase(phase.name, (*phase.operations, *load)) for phase, load in zip(phases, [*wanted[1:], ()], strict=True)),
    )
