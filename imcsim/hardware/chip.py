"""Declare the parts of an accelerator: chip > tile > crossbar > cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from imcsim.hardware.adcs import Adc, Pooled
from imcsim.hardware.devices import Device
from imcsim.hardware.write_circuits import Write
from imcsim.util.config import Spec

if TYPE_CHECKING:
    from imcsim.hardware.wires import Wires


class IdealPart(Spec):
    """Stand for a part that is infinitely fast or large: nothing ever waits for it."""

    kind: Literal["ideal"]


class Mesh(Spec):
    """Describe a 2-D mesh of tile routers with XY routing; every link is a resource of the engine."""

    kind: Literal["mesh"]
    columns: PositiveInt
    hop_latency_ns: NonNegativeFloat
    link_bits: PositiveInt
    link_mhz: PositiveFloat


class DramChannels(Spec):
    """Describe off-chip memory: channels that serve one burst at a time."""

    kind: Literal["channels"]
    n_channels: PositiveInt
    bytes_per_ns: PositiveFloat  # of one channel
    latency_ns: NonNegativeFloat


class Chip(Spec):
    """Describe a chip: all tiles, the network between them, the memory outside, and the one clock."""

    n_tiles: PositiveInt
    clock_mhz: PositiveFloat
    noc: Annotated[Mesh | IdealPart, Field(discriminator="kind")]
    dram: Annotated[DramChannels | IdealPart, Field(discriminator="kind")]


class SramBuffer(Spec):
    """Describe a tile's buffer for feature maps and coefficients."""

    kind: Literal["sram"]
    capacity_bytes: PositiveInt


class SharedBus(Spec):
    """Describe the bus between a tile's buffer and its crossbars: one transfer at a time."""

    kind: Literal["shared"]
    width_bits: PositiveInt
    bus_mhz: PositiveFloat


class VectorUnit(Spec):
    """Describe a tile's digital lanes: element-wise operations and multiply-accumulates per clock cycle."""

    kind: Literal["vector"]
    op_lanes: PositiveInt
    mac_lanes: PositiveInt


class Tile(Spec):
    """Describe a tile: crossbars that share a buffer, a bus and a digital unit."""

    n_crossbars: PositiveInt
    unit_crossbars: PositiveInt  # crossbars of one unit, the group that shares registers and shift-adders
    adc: Adc
    buffer: Annotated[SramBuffer | IdealPart, Field(discriminator="kind")]
    bus: Annotated[SharedBus | IdealPart, Field(discriminator="kind")]
    digital: Annotated[VectorUnit | IdealPart, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _divides(self) -> Tile:
        _check_divides("unit_crossbars", self.unit_crossbars, self.n_crossbars)
        if isinstance(self.adc.sharing, Pooled):
            _check_divides("crossbars_per_pool", self.adc.sharing.crossbars_per_pool, self.n_crossbars)
        return self


class ResistiveWires(Spec):
    """Describe wires that drop voltage: what a cell adds to its lines, and what lies at their ends.

    ``model``: 'exact', all nodes of the array; 'ladder', each line as if those across it had no resistance, for arrays
    that are too large for that (``imcsim explain`` prints its error).
    """

    kind: Literal["resistive"]
    wordline_ohm: NonNegativeFloat  # from cell to cell
    bitline_ohm: NonNegativeFloat  # from cell to cell
    driver_ohm: NonNegativeFloat
    sense_ohm: NonNegativeFloat
    model: Literal["exact", "ladder"] = "exact"

    @property
    def ohms(self) -> Wires:
        """Return the four resistances as ``imcsim.hardware.wires`` takes them."""
        from imcsim.hardware.wires import Wires  # late, for it compiles

        return Wires(self.wordline_ohm, self.bitline_ohm, self.driver_ohm, self.sense_ohm)

    def effective_usiemens(self, g_usiemens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conductances (rows, columns) in uS as the ends of the lines see them, by the model."""
        from imcsim.hardware.wires import effective_usiemens, ladder_usiemens

        see = effective_usiemens if self.model == "exact" else ladder_usiemens
        return see(g_usiemens, self.ohms)


class UnstatedActivity(Spec):
    """Leave open what the source of the prices of reads had in mind; every row and cell that is used pays them."""

    kind: Literal["unstated"]


class StatedActivity(Spec):
    """State for which use of the array the prices of reads hold; where values are computed, what they find is paid.

    ``driven_frac``: input digits over the largest ones. ``charge_frac``: digits times conductances above the least one,
    over the same with all digits and cells at their highest.
    """

    kind: Literal["stated"]
    driven_frac: Annotated[float, Field(gt=0, le=1)]
    charge_frac: Annotated[float, Field(gt=0, le=1)]


class Crossbar(Spec):
    """Describe an array of cells with its drivers, and how weights and inputs are cut into its cells and phases."""

    rows: PositiveInt
    columns: PositiveInt
    bits_per_cell: PositiveInt
    polarity: Literal["differential", "offset", "paired"]  # a column each, an offset, or two devices in a cell
    wordlines_active: PositiveInt  # rows driven at once; fewer than rows means several groups in turn
    dac_bits: PositiveInt
    evaluate_ns: PositiveFloat  # settling of the analog column sums for one input phase
    shift_add_cycles: PositiveInt  # depth of the shift-add pipeline behind the ADC
    wires: Annotated[ResistiveWires | IdealPart, Field(discriminator="kind")] = IdealPart(kind="ideal")
    activity: Annotated[StatedActivity | UnstatedActivity, Field(discriminator="kind")] = UnstatedActivity(
        kind="unstated"
    )

    @property
    def device_columns(self) -> int:
        """Return the devices of a row: two for each column where cells are pairs."""
        return self.columns * (2 if self.polarity == "paired" else 1)

    @model_validator(mode="after")
    def _wordlines_exist(self) -> Crossbar:
        if self.wordlines_active > self.rows:
            raise ValueError(f"wordlines_active is {self.wordlines_active}, but a crossbar has {self.rows} rows")
        return self


class Cell(Spec):
    """Describe a cell: the device, of which values are computed, and the circuit that writes it."""

    device: Device
    write: Write


def _check_divides(name: str, group_size: int, n_crossbars: int) -> None:
    if n_crossbars % group_size:
        raise ValueError(f"{name} is {group_size}, which does not divide the {n_crossbars} crossbars of a tile")
