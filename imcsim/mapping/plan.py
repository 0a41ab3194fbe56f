"""What a scheme decides: phases of operations over crossbars, and nothing about time or energy.

A plan is a list of *phases* that follow one another strictly: a phase starts when the one before has ended.
Inside a phase all operations run together, each as soon as its inputs, its output buffer and its resources allow.
Schemes are open (one file each); the operations are a closed set, and `timing.py` knows what each one costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from imcsim.hardware.update_circuit import UpdateCircuit
from imcsim.mapping.tiling import TileGrid
from imcsim.mapping.update_rates import UpdateRates
from imcsim.workload.workload import Layer, WeightedLayer


@dataclass(frozen=True)
class Region:
    """Crossbars that an operation uses: ``copies`` copies of ``crossbars`` crossbars from ``first`` on."""

    first: int
    crossbars: int  # of one copy
    copies: int = 1

    @property
    def total(self) -> int:
        return self.crossbars * self.copies


@dataclass(frozen=True)
class Program:
    """Write a layer's weights into crossbars; one vector is one crossbar of one copy."""

    name: str
    layer: str
    grid: TileGrid
    region: Region
    weight_bits: int
    unchanged_frac: float = 0.0  # cells that already hold their level and are skipped (differential writing)


@dataclass(frozen=True)
class Mvm:
    """A layer, or one pass of it, on weights that are there; one vector is one output position."""

    name: str
    layer: WeightedLayer
    grid: TileGrid
    region: Region
    absorbed: tuple[Layer, ...] = ()  # element-wise layers done in the same digital stage
    partial: bool = False  # an earlier pass: its results wait in the buffer for the next one


@dataclass(frozen=True)
class Basis:
    """A global basis and how its column results become kernels.

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
        """Bits stored for one coefficient: magnitude, sign and, unless all are there, the index of its basis vector."""
        index = 0 if self.nonzeros == self.vectors else (self.vectors - 1).bit_length()
        return self.coeff_bits + 1 + index


@dataclass(frozen=True)
class Segments:
    """How a layer is cut for the basis: ``count`` segments per position, ``kernels`` combined in each.

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
class BasisMvm:
    """A layer as combinations of the global basis; one vector is one segment of one output position."""

    name: str
    layer: WeightedLayer
    region: Region  # the copies of the basis, shared by all layers
    basis: Basis
    segments: Segments
    absorbed: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Digital:
    """A layer on the digital units; one vector is one position (of the input, for a global pooling)."""

    name: str
    layer: Layer
    region: Region
    absorbed: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Load:
    """Bytes from DRAM that a layer needs: its coefficients, or the weights of a digital layer."""

    name: str
    layer: str
    n_bytes: int
    region: Region
    per_image: bool  # once per image, before the layer starts; else once per phase, beside what runs there


@dataclass(frozen=True)
class Source:
    """A tensor from outside, fetched from DRAM; one vector is one row of an image, or one token."""

    name: str
    layer: Layer
    region: Region


@dataclass(frozen=True)
class TransposeMvm:
    """Errors of a layer's inputs, from those of its outputs; one vector is one output position of the layer.

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
class OuterProduct:
    """Inputs times errors of a layer, added up; one vector is one output position of the layer.

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
    absorbed: tuple[Layer, ...] = ()  # nothing is done with its sums


@dataclass(frozen=True)
class Update:
    """A part of changing a layer's weights, row by row; one vector is one crossbar. ``after``: the part before it."""

    name: str
    layer: str
    grid: TileGrid
    region: Region
    weight_bits: int
    rates: UpdateRates
    circuit: UpdateCircuit
    after: str  # an operation of this phase, or 'nothing'
    per_image: bool  # or once per phase


@dataclass(frozen=True)
class AccumulatorUpdate(Update):
    """Add the gradient to what was accumulated, in binary cells ('pcm') or in a digital memory; one vector there."""

    store: Literal["pcm", "sram", "dram"]
    bits: int


@dataclass(frozen=True)
class Carry(Update):
    """SET pulses on the pairs whose accumulator overflows."""


@dataclass(frozen=True)
class RefreshPairs(Update):
    """Its share of a check of all pairs every so many ``updates``, and of rewriting those that are selected."""

    updates: int


Operation = Program | Mvm | BasisMvm | Digital | Load | Source | TransposeMvm | OuterProduct | Update
Compute = Mvm | BasisMvm | Digital | Source | TransposeMvm | OuterProduct


@dataclass(frozen=True)
class Phase:
    """Operations that run together; the next phase starts when all of them have ended."""

    name: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Plan:
    """A scheme's decision for one workload on one chip.

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
        """How often each crossbar is written for one batch; none that is not."""
        writes: dict[int, int] = {}
        for operation in self.operations():
            if isinstance(operation, Program):
                for crossbar in range(operation.region.first, operation.region.first + operation.region.total):
                    writes[crossbar] = writes.get(crossbar, 0) + 1
        return writes

    def operations(self) -> Iterator[Operation]:
        for phase in self.phases:
            yield from phase.operations

    def programs(self) -> Iterator[Program]:
        """All writes: those of the setup, then those of one batch, in order."""
        yield from self.setup
        yield from (operation for operation in self.operations() if isinstance(operation, Program))
