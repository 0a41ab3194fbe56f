"""What every write circuit has: how long a crossbar takes to write, what that costs, and what it does to each cell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from imcsim.hardware.devices import Cells, DeviceSpec
from imcsim.hardware.devices import Floats as Conductances
from imcsim.hardware.price_row import PriceRow
from imcsim.util.config import Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Written(NamedTuple):
    """What writing some cells took; arrays are (rows, columns) unless said otherwise."""

    pulses: NDArray[Any]  # whole numbers, or the mean of a circuit that was measured from outside
    verifies: Ints
    failed: Bools  # outside their target at the end
    row_time_ns: Floats  # (rows,): groups of a row follow one another, each as long as its slowest cell
    energy_pj: float
    actions: Mapping[str, float]  # of the component ``cell``

    @property
    def time_ns(self) -> float:
        """Time of all rows, one after another."""
        return float(self.row_time_ns.sum())

    @property
    def n_pulses(self) -> int:
        """Wear: pulses of all cells."""
        return int(self.pulses.sum())


class WriteSpec(Spec):
    """Base of the write circuits; the limit of crossbars is one of power or drivers, 'all' means none.

    A kind adds ``kind``, ``mean_pulses`` and ``fail_frac`` (fields or properties), ``time_ns``, ``amounts`` and
    ``prices_pj``. It overrides ``sample_time_ns`` where a write takes a random time, ``count`` where cells can be told
    apart, and ``write_cells`` where pulses move conductances.
    """

    name: str
    description: str
    max_crossbars_at_once: Literal["all"] | PositiveInt
    endurance_writes: PositiveFloat  # programmings of one cell until it fails
    kind: str

    if TYPE_CHECKING:

        @property
        def mean_pulses(self) -> float:
            """E[n], pulses of one cell that is written."""

        @property
        def fail_frac(self) -> float:
            """Probability that a cell that is written stays outside its target."""

    def crossbars_at_once(self, n_crossbars: int) -> int:
        """Return X_w: of ``n_crossbars`` crossbars, how many are written at the same time."""
        limit = self.max_crossbars_at_once
        return n_crossbars if limit == "all" else min(limit, n_crossbars)

    def part(self, source: str) -> PriceRow:
        """Return the price row ``cell`` of one crossbar."""
        note = "area of the write drivers: in the rows of the crossbar, where a source gives it"
        return PriceRow(per="crossbar", area_um2=0, peak_uw=0, actions_pj=self.prices_pj(), source=source, note=note)

    # -- what is expected of one crossbar, in which a fraction of the cells needs no write ---------------------------

    @abstractmethod
    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Return the expected time to write ``rows`` x ``columns`` cells."""

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """Return the time of one write, drawn at random; the base returns the expected one."""
        return self.time_ns(rows, columns, unchanged_frac)

    @abstractmethod
    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Return the expected actions of writing ``cells`` cells that lie in ``rows`` x ``columns``."""

    @abstractmethod
    def prices_pj(self) -> dict[str, float]:
        """Return the energy of each action of the component ``cell``."""

    # -- what happens to each cell -----------------------------------------------------------------------------------

    @property
    def begins_where_cells_are(self) -> bool:
        """Whether what a cell held decides what writing it takes; then a batch is written twice over."""
        return False

    def write_cells(
        self, device: DeviceSpec, target_usiemens: Conductances, old: Cells, kept: Bools, rng: np.random.Generator
    ) -> tuple[Cells, Written]:
        """Return the cells of a crossbar afterwards, and what the write took; all arrays are (rows, columns).

        ``old`` is what the cells were, ``kept`` are those that need no write. In the base, ``count`` says what the
        write takes, and the device's own error where a cell ends.
        """
        written = self.count(kept, rng)
        return keep(device.program(target_usiemens, rng, stuck_at(old)), old, kept), written

    def count(self, kept: Bools, rng: np.random.Generator) -> Written:
        """Return what a write takes that leaves ``kept`` cells alone; in the base all others are alike."""
        changed, (rows, columns) = ~kept, kept.shape
        unchanged_frac = float(kept.mean())
        actions = self.amounts(rows, columns, kept.size, unchanged_frac)
        row_time_ns = np.full(rows, self.time_ns(rows, columns, unchanged_frac) / rows)
        failed = changed & (rng.random(kept.shape) < self.fail_frac)
        return Written(
            self.mean_pulses * changed,
            np.zeros(kept.shape, np.int64),
            failed,
            row_time_ns,
            self.energy_pj(actions),
            actions,
        )

    def energy_pj(self, actions: Mapping[str, float]) -> float:
        """Return the energy of some actions."""
        prices_pj = self.prices_pj()
        return sum(amount * prices_pj[action] for action, amount in actions.items())


def groups(rows: int, columns: int, cells_at_once: int) -> dict[int, int]:
    """Return how many groups there are of each size, for ``rows`` rows cut into groups of ``cells_at_once`` cells."""
    full, rest = divmod(columns, cells_at_once)
    sizes = {cells_at_once: rows * full, rest: rows}
    return {cells: n for cells, n in sizes.items() if cells and n}


def stuck_at(cells: Cells) -> Conductances:
    """Return where each cell is stuck, in uS; not a number where it works."""
    return np.where(cells.stuck, cells.programmed_usiemens, np.nan)


def keep(new: Cells, old: Cells, kept: Bools) -> Cells:
    """Return the new cells, except where the old ones were left alone."""
    traits = {name: np.where(kept, old.traits[name], value) for name, value in new.traits.items()}
    programmed = np.where(kept, old.programmed_usiemens, new.programmed_usiemens)
    return Cells(new.target_usiemens, programmed, traits, new.stuck)
