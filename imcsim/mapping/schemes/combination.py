"""Place the copies of a basis on some crossbars, and combine layers from it."""

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
from imcsim.mapping.tiling import TileGrid, Tiling
from imcsim.util.errors import ImcsimError
from imcsim.workload.workload import WeightedLayer

if TYPE_CHECKING:
    from imcsim.mapping.basis.fitted import LayerCoefficients


class BasisChoice(Protocol):
    """Describe what a scheme says of its basis."""

    @property
    def name(self) -> str:
        """Return what the scheme is called."""
        ...

    @property
    def route(self) -> Literal["exclusive", "broadcast"]:
        """Return how columns reach kernels."""
        ...

    @property
    def colouring(self) -> Colouring:
        """Return how time slots are found."""
        ...

    @property
    def coefficients(self) -> Literal["auto", "buffer", "dram"]:
        """Return where coefficients are kept."""
        ...

    @property
    def coefficients_of_file(self) -> Mapping[str, LayerCoefficients]:
        """Return the coefficients of a fitted basis by layer."""
        ...

    def declared(self, rows: int, weight_bits: int) -> Basis:
        """Return the basis on crossbars of so many rows."""
        ...


class Combination:
    """Hold the copies of a basis on some crossbars, and the layers that are combined from it."""

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
        segments = self.segments(block)  # which also checks a file against the layer
        if self.fitted:
            return schedule(self.fitted[block.layer.name].values, self.basis, self.scheme.colouring)
        return schedule(synthetic(block.layer, self.basis, segments, seed), self.basis, self.scheme.colouring)

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
        if self.columns_per_vector > self.hardware.crossbar.columns:
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
        """Return c_b, the columns of one basis vector."""
        return self.hardware.weight_columns(self.basis.basis_bits)

    @property
    def crossbars_per_copy(self) -> int:
        """Return m_B = ceil(M / floor(C / c_b)): no vector lies on two crossbars."""
        return self.basis.tiling(self.hardware).n_blocks

    def segments(self, block: LayerGroup) -> Segments:
        """Return how a layer is cut; small groups share a segment, as many as its length takes.

        Raises ImcsimError where the file of a basis is of another network.
        """
        basis, tiling = self.basis, Tiling.of(block.layer, self.basis.length)
        segments = Segments(
            tiling.n_blocks, tiling.channels_per_block, tiling.rows_per_block, tiling.row_tiles, float(basis.nonzeros),
            basis.coeff_bits,
        )  # fmt: skip
        return self._as_fitted(segments, block.layer) if self.fitted else segments

    def _as_fitted(self, segments: Segments, layer: WeightedLayer) -> Segments:
        """Return segments with the coefficients and corrections of a file."""
        stored, n_kernels = self.fitted.get(layer.name), segments.terms * layer.channels
        if stored is None or not _is_of(stored, segments, layer):
            where = f"scheme '{self.scheme.name}', option basis"
            raise ImcsimError(where, f"the file has no layer like '{layer.name}'", "fit a basis to this network")
        return replace(
            segments,
            nonzeros=float(np.count_nonzero(stored.values)) / n_kernels,
            corrections=len(stored.residual) / n_kernels,
            correction_bits=stored.residual.bits(segments.rows),
        )

    def operations(self, block: LayerGroup) -> tuple[Operation, ...]:
        """Return the operations of a block that is combined from the basis."""
        segments, slots = self.segments(block), self.slots.get(block.layer.name)
        if slots:
            segments = replace(segments, slots=slots.needed, selected=slots.selected)
        if slots and self.fitted and self.basis.sum == "analog":
            kernels = block.layer.channels * segments.terms / segments.count
            segments = replace(segments, masks=slots.masks / kernels)
        core = BasisMvm(block.layer.name, block.layer, self.region, self.basis, segments, block.absorbed)
        return with_digital_neighbours(block, [core], self.region)

    def cycles(self, block: LayerGroup, copies: int, batch: int) -> float:
        """Return closed-form cycles of a batch: the longer of analog, ceil(Bt P S / D) T_in tau, and digital part."""
        hw, layer = self.hardware, block.layer
        segments = self.segments(block)
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
        """Return the bytes of a layer's coefficients, S N q on average, with sign and index, and of its corrections."""
        segments = self.segments(block)
        bits = segments.nonzeros * self.basis.coefficient_bits + segments.corrections * segments.correction_bits
        return math.ceil(segments.terms * block.layer.channels * bits / 8)

    def loads(self, per_image: bool) -> tuple[Load, ...]:
        """Return loads of coefficients from DRAM, layer by layer; none where the buffers keep them."""
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
        """Return the writes of the basis into every copy, once."""
        grid = TileGrid.of(self.basis.tiling(self.hardware), self.columns_per_vector)
        return (Program("write basis", "basis", grid, self.region, self.basis.basis_bits),)

    def notes(self) -> tuple[str, ...]:
        """Return sentences for the report: the copies, their coefficients and the time slots."""
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
        """Return what was taken for granted: the coefficients of a synthetic basis."""
        if self.basis.elements != "synthetic":
            return ()
        drawn = f"seeded random supports of {self.basis.nonzeros} basis vectors with uniform magnitudes"
        return (f"scheme.coefficients: {drawn}",)

    def facts(self) -> dict[str, object]:
        """Return figures for the report: copies, coefficient bytes, and slots with their bound."""
        needed, bound = self._slot_sums()
        slots = {f"slots_{self.scheme.colouring}": needed, "slots_lower_bound": bound} if self.slots else {}
        return {
            "basis_copies": self.region.copies,
            "coefficient_bytes": sum(map(self.coefficient_bytes, self.parts)),
            **slots,
        }


def _is_of(stored: LayerCoefficients, segments: Segments, layer: WeightedLayer) -> bool:
    sizes = len(stored.values) == segments.count and len(stored.scale) == layer.channels
    return sizes and stored.residual.fits(layer.channels * layer.rows)


def with_overlapped_loads(phases: Sequence[Phase], loads: Sequence[Load]) -> tuple[Phase, ...]:
    """Return phases in a row, each with the load for the next one beside it; that of the first is its own phase."""
    by_layer = {load.layer: load for load in loads}
    wanted = [(by_layer[phase.name],) if phase.name in by_layer else () for phase in phases]
    first = tuple(Phase(load.name, (load,)) for load in wanted[0])
    return (
        *first,
        *(Phase(phase.name, (*phase.operations, *load)) for phase, load in zip(phases, [*wanted[1:], ()], strict=True)),
    )
