"""Layers as combinations of global basis vectors that are written once (after BasisN, arXiv 2407.03738).

Only the abstract of the paper and digests of it were available. That each kernel is cut into segments of one crossbar's
rows, that a basis column serves one kernel at a time and that columns are summed before the ADC is inferred; the
variants that are not the paper's are options of equal standing.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from imcsim.hardware import Hardware
from imcsim.plan import Basis, Phase, Plan
from imcsim.schemes.base import Scheme, crossbars_of
from imcsim.schemes.combination import Combination, beside
from imcsim.workload import Workload


class BasisScheme(Scheme):
    """Every layer is combined from M basis vectors of L elements, with q quantised coefficients per segment and kernel.

    ``route``: 'exclusive', a basis column is connected to one output line at a time, so that kernels which share a
    column wait for one another; 'broadcast', every column is converted once and read by all kernels. ``sum``: 'analog',
    the currents of the selected columns are summed before the ADC, bit plane by bit plane of the coefficients;
    'digital', after it. ``lines``: output lines of exclusive routing. ``coefficients``: where they are kept; 'auto'
    takes the buffers where all of them fit, else DRAM. ``layers``: one after another ('serial') or as a pipeline
    ('stream'). L, M, q and G are short for length, vectors, nonzeros and lines.

    ``basis``: 'synthetic' elements and coefficients, which cost what real ones would and compute no values; 'hadamard',
    whose dense integer coefficients rebuild every weight exactly: M is the next power of two from L on, q = M, and the
    bits follow, so none of them is to be given.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    route: Literal["exclusive", "broadcast"]
    sum: Literal["analog", "digital"]
    length: PositiveInt | Literal["rows"] = Field(default="rows", alias="L")
    vectors: PositiveInt = Field(default=128, alias="M")
    nonzeros: PositiveInt = Field(default=8, alias="q")
    coeff_bits: PositiveInt = 4
    basis_bits: PositiveInt = 8
    lines: PositiveInt = Field(default=16, alias="G")
    coefficients: Literal["auto", "buffer", "dram"] = "auto"
    layers: Literal["serial", "stream"] = "serial"
    basis: Literal["synthetic", "hadamard"] = "synthetic"

    @model_validator(mode="after")
    def _follows(self) -> BasisScheme:
        given = self.model_fields_set & {"vectors", "nonzeros", "coeff_bits", "basis_bits"}
        if self.basis == "hadamard" and given:
            raise ValueError(f"{' and '.join(sorted(given))} follow from a hadamard basis: leave them out")
        return self

    def declared(self, rows: int, weight_bits: int) -> Basis:
        """The basis on crossbars of so many rows, for weights of so many bits."""
        length = rows if self.length == "rows" else self.length
        sizes = (self.vectors, self.nonzeros, self.coeff_bits, self.basis_bits)
        if self.basis == "hadamard":
            order = 1 << (length - 1).bit_length()
            sizes = (order, order, weight_bits - 1 + (order - 1).bit_length(), 2)
        return Basis(length, *sizes, self.route, self.sum, self.lines, self.basis)

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        parts = self.blocks(workload, hardware)
        combined = Combination(self, parts, hardware, hardware.n_crossbars, 0, seed)
        groups = [combined.operations(block) for block in parts]
        loads = combined.loads(per_image=self.layers == "stream")
        if self.layers == "stream":
            phases: tuple[Phase, ...] = (Phase("all layers", (*loads, *(op for group in groups for op in group))),)
        else:
            phases = beside([Phase(b.layer.name, group) for b, group in zip(parts, groups, strict=True)], loads)
        return Plan(
            self.name,
            phases,
            crossbars_of(parts),
            combined.region.total,
            combined.setup(),
            combined.notes(),
            combined.assumed(),
            combined.facts(),
        )


class BasisInferred(BasisScheme):
    """The reading of BasisN that its abstract and digests suggest most: exclusive routing, analog sums (inferred)."""

    name: ClassVar[str] = "basisn_inferred"
    route: Literal["exclusive", "broadcast"] = "exclusive"
    sum: Literal["analog", "digital"] = "analog"


class BasisBroadcast(BasisScheme):
    """Every basis column is converted once and combined digitally: a variant, most likely not the paper's."""

    name: ClassVar[str] = "basis_broadcast"
    route: Literal["exclusive", "broadcast"] = "broadcast"
    sum: Literal["analog", "digital"] = "digital"
