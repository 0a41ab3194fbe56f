"""Define what a scheme decides: phases of operations over crossbars, and nothing about time or energy.

A plan is a list of *phases* that follow one another strictly: a phase starts when the one before has ended.
Inside a phase all operations run together, each as soon as its inputs, its output buffer and its resources allow.
Schemes are open, one file each, and so are the operations: what a kind costs and how its vectors follow one another is
told by one file for each kind in ``timing/recipes``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from imcsim.hardware.hardware import Hardware
from imcsim.hardware.update_circuit import UpdateCircuit
from imcsim.mapping.tiling import TileGrid, Tiling
from imcsim.mapping.update_rates import UpdateRates
from imcsim.workload.workload import Layer, WeightedLayer


@dataclass(frozen=True)
class Region:
    """Name the crossbars of an operation: ``copies`` copies of ``crossbars`` crossbars from ``first`` on."""

    first: int
    crossbars: int  # of one copy
    copies: int = 1

    @property
    def total(self) -> int:
        """Return the crossbars of all copies."""
        return self.crossbars * self.copies


class Operation:
    """Describe what a phase asks of the chip; every kind is a frozen dataclass with at least these fields.

    ``layer``: the layer on whose row of a report it is booked. ``region``: the crossbars that it uses, or whose tiles
    do its digital work.
    """

    name: str
    layer: str | Layer
    region: Region

    @property
    def layer_name(self) -> str:
        """Return the name of the layer."""
        return self.layer if isinstance(self.layer, str) else self.layer.name


class Compute(Operation):
    """Read the inputs of a layer and deliver its output to others.

    ``absorbed``: element-wise layers that are done together with it, in their order.
    """

    layer: Layer
    absorbed: tuple[Layer, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names under which it delivers its output; others read the last of them."""
        return tuple(layer.name for layer in (self.layer, *self.absorbed))

    @property
    def stored(self) -> TileGrid | None:
        """Return how its layer's weights lie on crossbars, where they have such crossbars to themselves."""
        return None


@dataclass(frozen=True)
class Program(Operation):
    """Write a layer's weights into crossbars; one vector is one crossbar of one copy."""

    name: str
    layer: str
    grid: TileGrid
    region: Region
    weight_bits: int
    unchanged_frac: float = 0.0  # cells that already hold their level and are skipped (differential writing)


@dataclass(frozen=True)
class Mvm(Compute):
    """Compute a layer, or one pass of it, on weights that are there; one vector is one output position."""

    name: str
    layer: WeightedLayer
    grid: TileGrid
    region: Region
    absorbed: tuple[Layer, ...] = ()  # element-wise layers done in the same digital stage
    partial: bool = False  # an earlier pass: its results wait in the buffer for the next one

    @property
    def partial_sums(self) -> str:
        """Return the name of what waits between two passes of its layer."""
        return f"{self.layer.name} (partial sums)"

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.partial_sums,) if self.partial else super().outputs

    @property
    def stored(self) -> TileGrid:
        return self.grid


@dataclass(frozen=True)
class Basis:
    """Describe a global basis and how its column results become kernels.

    ``elements``: 'synthetic', of which nothing is known; 'hadamard', +-1 in orthogonal rows, from which dense
    integer coefficients rebuild every kernel exactly; or the file of a fitted one.
    """

    length: int  # L: rows of one segment
    vectors: int  # M
    nonzeros: int  # q: coefficients of one (segment, kernel)
    coeff_bits: int  # b_k: magnitude bits
    basis_bits: int  # bits of one basis element
    route: Literal["exclusive", "broadcast"]
    sum: Literal["analog", "digital"]
    lines: int  # G: output lines of exclusive routing
    elements: str = "synthetic"

    @property
    def coefficient_bits(self) -> int:
        """Return the bits of a coefficient: magnitude, sign and, unless all are there, the index of its vector."""
        index = 0 if self.nonzeros == self.vectors else (self.vectors - 1).bit_length()
        return self.coeff_bits + 1 + index

    def tiling(self, hardware: Hardware) -> Tiling:
        """Return how its vectors lie on the crossbars of a copy, as the weights of ``vectors`` channels would."""
        vectors_per_crossbar = hardware.crossbar.columns // hardware.weight_columns(self.basis_bits)
        return Tiling(1, self.length, self.vectors, hardware.crossbar.rows, vectors_per_crossbar)


@dataclass(frozen=True)
class Segments:
    """Describe how a layer is cut for the basis: ``count`` segments per position, ``kernels`` combined in each.

    ``rows``: inputs of the longest segment. ``terms``: segments that add up to one output. ``nonzeros``: coefficients
    of one (segment, kernel), ``masks``: bit planes of them that are converted where sums are analog; both on average.
    ``slots``: time slots chi of each segment under exclusive routing; empty where columns are broadcast.
    ``corrections``: weights of one (segment, kernel) that a residual corrects, on average, of ``correction_bits`` each.
    """

    count: int
    kernels: int
    rows: int
    terms: int
    nonzeros: float
    masks: float
    slots: tuple[int, ...] = ()
    selected: float = 0.0  # basis columns that the masks of one segment switch on, added up
    corrections: float = 0.0
    correction_bits: int = 0


@dataclass(frozen=True)
class BasisMvm(Compute):
    """Compute a layer as combinations of the global basis; one vector is one segment of one output position."""

    name: str
    layer: WeightedLayer
    region: Region  # the copies of the basis, shared by all layers
    basis: Basis
    segments: Segments
    absorbed: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Digital(Compute):
    """Compute a layer on the digital units; one vector is one position (of the input, for a global pooling)."""

    name: str
    layer: Layer
    region: Region
    absorbed: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Load(Operation):
    """Load bytes from DRAM that a layer needs: its coefficients, or the weights of a digital layer."""

    name: str
    layer: str
    n_bytes: int
    region: Region
    per_image: bool  # once per image, before the layer starts; else once per phase, beside what runs there


@dataclass(frozen=True)
class Source(Compute):
    """Fetch a tensor from outside, out of DRAM; one vector is one row of an image, or one token."""

    name: str
    layer: Layer
    region: Region


@dataclass(frozen=True)
class TransposeMvm(Compute):
    """Compute errors of a layer's inputs from those of its outputs; one vector is one output position of the layer.

    The crossbars are those of ``forward``, read the other way: N errors on the bitlines, K results on the wordlines,
    which are added into the errors of the inputs. ``layer``: these errors, as others read them.
    """

    name: str
    layer: Layer
    forward: WeightedLayer
    grid: TileGrid
    region: Region
    absorbed: tuple[Layer, ...] = ()
    rows_adc: Literal["bank", "shared"] = "bank"  # converters of the rows: their own, or those of the columns


@dataclass(frozen=True)
class OuterProduct(Compute):
    """Add up inputs times errors of a layer; one vector is one output position of the layer.

    ``layer`` reads the inputs of ``forward`` and the errors of its outputs. ``method``: 'digital' multiplies, a number
    is the slots of pulse trains that meet. ``adds``: to the sum of the images before.
    """

    name: str
    layer: Layer
    forward: WeightedLayer
    grid: TileGrid
    region: Region
    method: Literal["digital"] | int
    adds: bool


@dataclass(frozen=True, kw_only=True)
class Update(Operation):
    """Do a part of changing a layer's weights, row by row; one vector is one crossbar.

    ``after``: the operation of this phase behind which it comes, crossbar by crossbar. ``per_image``: it happens for
    every image, or else once per phase.
    """

    name: str
    layer: str
    grid: TileGrid
    region: Region
    weight_bits: int
    rates: UpdateRates
    circuit: UpdateCircuit
    after: str | None
    per_image: bool


@dataclass(frozen=True, kw_only=True)
class AccumulatorUpdate(Update):
    """Add the gradient to what was accumulated, in binary cells ('pcm') or in a digital memory; one vector there."""

    store: Literal["pcm", "sram", "dram"]
    bits: int


@dataclass(frozen=True, kw_only=True)
class Carry(Update):
    """Give SET pulses to the pairs whose accumulator overflows."""


@dataclass(frozen=True, kw_only=True)
class RefreshPairs(Update):
    """Take a share of checking all pairs every so many ``updates``, and of rewriting those that are selected."""

    updates: int


@dataclass(frozen=True)
class Phase:
    """Hold operations that run together; the next phase starts when all of them have ended."""

    name: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Plan:
    """Hold a scheme's decision for one workload on one chip.

    ``setup`` holds the writes that happen once in the device's life (resident weights, the basis): reported, and not
    charged to inferences.
    """

    scheme: str
    phases: tuple[Phase, ...]
    crossbars_needed: int  # to hold all weights at once
    crossbars_used: int
    setup: tuple[Program, ...] = ()
    notes: tuple[str, ...] = ()  # sentences for the report, such as which grouping was chosen
    assumed: tuple[str, ...] = ()  # what the scheme took for granted
    facts: dict[str, object] = field(default_factory=dict)  # figures for the report, such as slots and their bound
    in_flight: int | Literal["all"] = "all"  # images that enter a phase together; the next ones when it is empty again

    @property
    def writes_by_crossbar(self) -> dict[int, int]:
        """Return how often each crossbar is written for one batch, without those that are not."""
        writes: dict[int, int] = {}
        for operation in self.operations():
            if isinstance(operation, Program):
                for crossbar in range(operation.region.first, operation.region.first + operation.region.total):
                    writes[crossbar] = writes.get(crossbar, 0) + 1
        return writes

    def operations(self) -> Iterator[Operation]:
        """Yield all operations of one batch, phase by phase."""
        for phase in self.phases:
            yield from phase.operations

    def programs(self) -> Iterator[Program]:
        """Yield all writes: those of the setup, then those of one batch, in order."""
        yield from self.setup
        yield from (operation for operation in self.operations() if isinstance(operation, Program))
