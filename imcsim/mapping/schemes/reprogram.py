"""Rewrite weights while the network runs: layer by layer (R0) or in packed partitions (R1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Mvm, Operation, Phase, Plan, Program, Region
from imcsim.mapping.schemes.base import LayerGroup, Scheme, crossbars_of, digital_operations
from imcsim.mapping.schemes.estimates import compute_cycles, write_cycles, write_rounds
from imcsim.mapping.tiling import TileGrid
from imcsim.util.errors import ImcsimError
from imcsim.workload.workload import Workload


@dataclass(frozen=True)
class Pass:
    """Hold a group, or one pass of it, in the crossbars of a partition."""

    group: LayerGroup
    grid: TileGrid
    region: Region
    first: bool = True  # no earlier pass of the same layer
    last: bool = True  # no later pass of the same layer


Partition = tuple[Pass, ...]
"""What lies on the chip (or on one of its banks) at the same time."""


class Reprogram(Scheme):
    """Write, compute the batch, write what comes next.

    ``grouping``: 'layer' gives each layer the whole chip (R0); 'packed' puts consecutive layers side by side, with the
    grouping searched that takes fewest cycles by the closed forms (R1). ``replication``: 'fill' copies a layer that
    has the chip to itself as often as it fits. ``differential``: cells whose level does not change are skipped (R2);
    ``unchanged_frac``: how many those are, by default as many as of independent uniform levels.
    ``overlap``: two banks, one is written while the other computes (R3; packed only). ``layers``: the layers of a
    packed partition run as a pipeline ('stream') or one after another ('serial').
    """

    name: ClassVar[str] = "reprogram"
    grouping: Literal["layer", "packed"] = "layer"
    replication: Literal["fill", "none"] = "fill"
    differential: bool = False
    unchanged_frac: Literal["uniform"] | Annotated[float, Field(ge=0, lt=1)] = "uniform"
    overlap: bool = False
    layers: Literal["stream", "serial"] = "stream"

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        self._check()
        groups = self.layer_groups(workload, hardware)
        unchanged, assumed = self._unchanged(hardware)
        partitions = self.partitions(groups, hardware.n_crossbars, hardware, batch)
        phases = self.phases(partitions, unchanged)
        used = max(sum(piece.region.total for piece in partition) for partition in partitions)
        note = f"{len(groups)} layers in {len(partitions)} partitions of at most {hardware.n_crossbars:,} crossbars"
        return Plan(
            self.name,
            phases,
            crossbars_of(groups),
            used * (2 if self.overlap else 1),
            notes=(note,),
            assumed=assumed,
            facts={"partitions": len(partitions)},
        )

    def _unchanged(self, hardware: Hardware) -> tuple[float, tuple[str, ...]]:
        """Return the fraction of the cells that a write skips, and what is assumed about it."""
        if not self.differential:
            return 0.0, ()
        if self.unchanged_frac != "uniform":
            return self.unchanged_frac, (f"scheme.unchanged_frac = {self.unchanged_frac}: given",)
        unchanged, why = 1 / 2**hardware.crossbar.bits_per_cell, "levels of old and new weights independent and uniform"
        return unchanged, (f"scheme.unchanged_frac = {unchanged}: {why}",)

    def _check(self) -> None:
        if self.unchanged_frac != "uniform" and not self.differential:
            raise ImcsimError(
                "scheme 'reprogram', option unchanged_frac",
                "every cell is written",
                "add --option differential=true",
            )
        if self.overlap and self.grouping != "packed":
            raise ImcsimError(
                "scheme 'reprogram', option overlap",
                "double buffering works on packed partitions",
                "add --option grouping=packed",
            )
        if self.overlap and self.layers == "serial":
            raise ImcsimError(
                "scheme 'reprogram', option overlap",
                "a bank is written beside one phase, not beside several",
                "use layers=stream",
            )

    def partitions(
        self, groups: Sequence[LayerGroup], crossbars: int, hardware: Hardware, batch: int, offset: int = 0
    ) -> list[Partition]:
        """Cut the network into what lies on ``crossbars`` crossbars, from ``offset`` on, at the same time."""
        size = crossbars // 2 if self.overlap else crossbars
        stretches = (
            self._stretches(groups, size, hardware, batch)
            if self.grouping == "packed"
            else [[group] for group in groups]
        )
        result: list[Partition] = []
        for stretch in stretches:
            for partition in (
                [_packed(stretch)] if len(stretch) > 1 else _passes(stretch[0], size, batch if self._fills else 0)
            ):
                bank = size * (len(result) % 2) if self.overlap else 0
                result.append(tuple(_shifted(piece, offset + bank) for piece in partition))
        return result

    @property
    def _fills(self) -> bool:
        return self.replication == "fill" and self.grouping == "layer"

    def _stretches(
        self, groups: Sequence[LayerGroup], size: int, hardware: Hardware, batch: int
    ) -> list[list[LayerGroup]]:
        """Return the cheapest cut of the network into stretches of consecutive layers, by dynamic programming."""
        writes = [write_cycles(group.grid, hardware, 0.0) for group in groups]
        runs = [compute_cycles(group, hardware, 1) for group in groups]
        best, cut_at = [0.0], [0]
        for stop in range(1, len(groups) + 1):
            options = [
                (
                    best[start]
                    + self._stretch_cycles(groups[start:stop], writes[start:stop], runs[start:stop], hardware, batch),
                    start,
                )
                for start in range(stop - 1, -1, -1)
                if stop - start == 1 or crossbars_of(groups[start:stop]) <= size
            ]
            cost, start = min(options)
            best.append(cost)
            cut_at.append(start)
        bounds = [len(groups)]
        while bounds[-1]:
            bounds.append(cut_at[bounds[-1]])
        bounds.reverse()
        return [list(groups[a:b]) for a, b in pairwise(bounds)]

    def _stretch_cycles(
        self, stretch: Sequence[LayerGroup], writes: list[int], runs: list[int], hardware: Hardware, batch: int
    ) -> float:
        """Return the cycles of writing and computing one partition; with two banks the longer of the two counts."""
        write = max(writes) * write_rounds(crossbars_of(stretch), hardware)
        compute = (batch - 1) * max(runs) + sum(runs) if self.layers == "stream" else batch * sum(runs)
        return max(write, compute) if self.overlap else write + compute

    def phases(self, partitions: Sequence[Partition], unchanged: float) -> tuple[Phase, ...]:
        """Write and compute in turn, or side by side on two banks."""
        writes = [_programs(partition, unchanged) for partition in partitions]
        runs = [self._compute_phases(partition) for partition in partitions]
        if not self.overlap:
            return tuple(
                phase
                for write, run in zip(writes, runs, strict=True)
                for phase in (Phase(f"write {run[0].name}", write), *run)
            )
        first = Phase(f"write {runs[0][0].name}", writes[0])
        beside = [*writes[1:], ()]
        return (
            first,
            *(Phase(run[0].name, (*run[0].operations, *write)) for run, write in zip(runs, beside, strict=True)),
        )

    def _compute_phases(self, partition: Partition) -> list[Phase]:
        phases = [Phase(_title((piece,)), _compute(piece)) for piece in partition]
        if self.layers == "serial":
            return phases
        return [Phase(_title(partition), tuple(op for phase in phases for op in phase.operations))]


def _packed(stretch: Sequence[LayerGroup]) -> Partition:
    """Return one partition with one copy of each group, side by side."""
    pieces, first = [], 0
    for group in stretch:
        pieces.append(Pass(group, group.grid, Region(first, group.grid.crossbars)))
        first += group.grid.crossbars
    return tuple(pieces)


def _passes(group: LayerGroup, size: int, fill_for: int) -> list[Partition]:
    """Return one partition, or several where the layer is larger than the chip.

    ``fill_for``: as many copies as fit and the vectors of so many images can use; 0 for one copy.
    """
    total = group.grid.crossbars
    if total <= size:
        copies = max(1, min(size // total, group.layer.positions * fill_for))
        return [(Pass(group, group.grid, Region(0, total, copies)),)]
    starts = range(0, total, size)
    return [
        (Pass(group, part, Region(0, part.crossbars), start == 0, start + size >= total),)
        for start in starts
        for part in [group.grid.part(start, start + size)]
    ]


def _shifted(piece: Pass, offset: int) -> Pass:
    region = Region(piece.region.first + offset, piece.region.crossbars, piece.region.copies)
    return Pass(piece.group, piece.grid, region, piece.first, piece.last)


def _title(partition: Partition) -> str:
    names = [piece.group.layer.name for piece in partition]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _programs(partition: Partition, unchanged: float) -> tuple[Operation, ...]:
    return tuple(
        Program(
            f"write {piece.group.layer.name}",
            piece.group.layer.name,
            piece.grid,
            piece.region,
            piece.group.layer.weight_quant.bits,
            unchanged,
        )
        for piece in partition
    )


def _compute(piece: Pass) -> tuple[Operation, ...]:
    group, region = piece.group, piece.region
    core = Mvm(group.layer.name, group.layer, piece.grid, region, group.absorbed, not piece.last)
    head = digital_operations(group.head, region) if piece.first else ()
    tail = digital_operations(group.tail, region) if piece.last else ()
    return (*head, core, *tail)
