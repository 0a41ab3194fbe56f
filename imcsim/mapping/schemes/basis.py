"""Combine layers from global basis vectors that are written once (after BasisN, arXiv 2407.03738).

Only the abstract of the paper and digests of it were available. That each kernel is cut into segments of one crossbar's
rows, that a basis column serves one kernel at a time and that columns are summed before the ADC is inferred; the
variants that are not the paper's are options of equal standing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.basis.fitted import LayerCoefficients, load_fitted
from imcsim.mapping.plan import Basis, Phase, Plan
from imcsim.mapping.schemes.base import (
    Scheme,
    crossbars_of,
    program_all,
    resident_mvm,
    side_by_side,
    with_digital_neighbours,
)
from imcsim.mapping.schemes.combination import Combination, with_overlapped_loads
from imcsim.mapping.schemes.masks import Colouring
from imcsim.workload.workload import Workload

BasisSource = Literal["synthetic", "hadamard"] | Annotated[str, Field(pattern=r"\.safetensors$")]


class BasisScheme(Scheme):
    """Combine every layer from M basis vectors of L elements, with q quantised coefficients per segment and kernel.

    ``route``: 'exclusive', a basis column is connected to one output line at a time, so that kernels which share a
    column wait for one another; 'broadcast', every column is converted once and read by all kernels. ``sum``: 'analog',
    the currents of the selected columns are summed before the ADC, bit plane by bit plane of the coefficients;
    'digital', after it. ``lines``: output lines of exclusive routing. ``colouring``: how kernels that share columns
    get their time slots, 'recursive_largest_first' in fewer than 'first_fit'. ``coefficients``: where they are kept;
    'auto' takes the buffers where all of them fit, else DRAM. ``layers``: one after another ('serial') or as a pipeline
    ('stream'). L, M, q and G are short for length, vectors, nonzeros and lines.

    ``basis``: 'synthetic' elements and coefficients, which cost what real ones would and compute no values; 'hadamard',
    whose dense integer coefficients rebuild every weight exactly: M is the next power of two from L on and q = M; or a
    file of ``imcsim basis fit`` (ending in .safetensors), whose resident layers keep crossbars of their own. Sizes and
    bits then follow, so none of them is to be given.
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
    colouring: Colouring = "first_fit"
    coefficients: Literal["auto", "buffer", "dram"] = "auto"
    layers: Literal["serial", "stream"] = "serial"
    basis: BasisSource = "synthetic"

    @model_validator(mode="after")
    def _follows(self) -> BasisScheme:
        sizes = {"vectors", "nonzeros", "coeff_bits", "basis_bits"} | ({"length"} if self.file else set())
        given = self.model_fields_set & sizes
        if self.basis != "synthetic" and given:
            raise ValueError(f"{' and '.join(sorted(given))} follow from the basis '{self.basis}': leave them out")
        return self

    @property
    def file(self) -> str:
        """Return the file of a fitted basis; empty where there is none."""
        return "" if self.basis in ("synthetic", "hadamard") else self.basis

    @property
    def coefficients_of_file(self) -> Mapping[str, LayerCoefficients]:
        """Return the coefficients of a fitted basis by layer; none where there is no file."""
        return load_fitted(self.file).layers if self.file else {}

    def declared(self, rows: int, weight_bits: int) -> Basis:
        """Return the basis on crossbars of so many rows, for weights of so many bits."""
        length = rows if self.length == "rows" else self.length
        sizes = (self.vectors, self.nonzeros, self.coeff_bits, self.basis_bits)
        if self.basis == "hadamard":
            order = 1 << (length - 1).bit_length()
            sizes = (order, order, weight_bits - 1 + (order - 1).bit_length(), 2)
        elif self.file:
            fitted = load_fitted(self.file)
            length, vectors = fitted.elements.shape
            sizes = (vectors, fitted.nonzeros, fitted.coeff_bits, fitted.basis_bits)
        return Basis(length, *sizes, self.route, self.sum, self.lines, self.basis)

    def plan(self, workload: Workload, hardware: Hardware, batch: int, seed: int) -> Plan:
        groups = self.layer_groups(workload, hardware)
        stay = load_fitted(self.file).resident if self.file else ()
        kept = [group for group in groups if group.layer.name in stay]
        shared = hardware.n_crossbars - crossbars_of(kept)
        combined = Combination(self, [g for g in groups if g not in kept], hardware, shared, 0, seed)
        homes = side_by_side(kept, shared)
        operations = [
            with_digital_neighbours(g, [resident_mvm(g, home)], home) if home else combined.operations(g)
            for g in groups
            for home in [homes.get(g.layer.name)]
        ]
        loads = combined.loads(per_image=self.layers == "stream")
        if self.layers == "stream":
            phases: tuple[Phase, ...] = (
                Phase("all layers", (*loads, *(op for of_group in operations for op in of_group))),
            )
        else:
            phases = with_overlapped_loads(
                [Phase(g.layer.name, of_group) for g, of_group in zip(groups, operations, strict=True)], loads
            )
        return Plan(
            self.name,
            phases,
            crossbars_of(groups),
            combined.region.total + crossbars_of(kept),
            (*combined.setup(), *program_all(kept, homes)),
            combined.notes(),
            combined.assumed(),
            combined.facts(),
        )


class BasisInferred(BasisScheme):
    """Read BasisN as its abstract and digests suggest most: exclusive routing, analog sums (inferred)."""

    name: ClassVar[str] = "basisn_inferred"
    route: Literal["exclusive", "broadcast"] = "exclusive"
    sum: Literal["analog", "digital"] = "analog"


class BasisBroadcast(BasisScheme):
    """Convert every basis column once and combine digitally: a variant, most likely not the paper's."""

    name: ClassVar[str] = "basis_broadcast"
    route: Literal["exclusive", "broadcast"] = "broadcast"
    sum: Literal["analog", "digital"] = "digital"
