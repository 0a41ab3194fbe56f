"""Writing a crossbar cell by cell: pulses, verify reads and failures of every cell, and what they add up to.

``write_verify`` moves conductances pulse by pulse; ``draw_counts`` only draws how many pulses a cell takes, from the
distribution of a write circuit; ``count_words`` and ``count_arrays`` say what circuits do that were measured from
outside (imcsim/hardware/write_circuit.py has the expected values of all of them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.pulsed_cell import PulsedCell
from imcsim.hardware.pulses import attempt
from imcsim.hardware.write_circuit import Array, Verify, Word
from imcsim.util.errors import ImcsimError

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


def write_verify(
    target_usiemens: Floats,
    present_usiemens: Floats,
    cell: PulsedCell,
    circuit: Verify,
    rng: np.random.Generator,
    step_factor: Floats | None = None,
) -> tuple[Floats, Written]:
    """Final conductances in uS, and what it took to get there; arrays are (rows, columns).

    A read comes first, so a cell that is already within the band takes no pulse and one read; any other takes one
    read more than pulses. After ``circuit.cap`` pulses a cell is given up and keeps what it has. ``step_factor`` is
    what makes each device differ from the others, drawn once per chip; 0 is a stuck cell. Of ``circuit`` times, prices,
    cap and cells at once are used; its distribution of pulses is not. SET and RESET share one pulse slot.
    ``rng`` is asked for one number; the result does not depend on the number of threads. Raises ImcsimError.
    """
    from imcsim.hardware.kernels.write_verify import write_cells

    _check(cell, circuit)
    target = np.ascontiguousarray(target_usiemens, dtype=float)
    present = np.ascontiguousarray(present_usiemens, dtype=float)
    factor = np.ones_like(target) if step_factor is None else np.ascontiguousarray(step_factor, dtype=float)
    if target.ndim != 2 or not target.shape == present.shape == factor.shape:
        raise ImcsimError("write_verify", f"shapes differ: {target.shape}, {present.shape}, {factor.shape}")
    if not all(np.isfinite(array).all() for array in (target, present, factor)):
        raise ImcsimError("write_verify", "targets, conductances and factors must be finite")
    key = rng.integers(2**64, dtype=np.uint64)
    plain = PulsedCell(*map(float, cell))
    final, pulses, failed = write_cells(key, target, present, factor, plain, circuit.cap)
    return final, _written(pulses, pulses + 1, failed, circuit)


def draw_counts(
    circuit: Verify, rows: int, columns: int, rng: np.random.Generator, unchanged: Bools | None = None
) -> Written:
    """Pulses of rows x columns cells drawn from ``circuit.pulses``, one read per pulse where reads take time.

    An attempt ends after ``circuit.cap`` pulses; a failed one (by the cap or ``missed_frac``) is kept or begun again,
    as ``circuit.on_failure`` says. Cells ``unchanged`` (rows, columns) take neither pulses nor reads.
    Raises ImcsimError where some cells are not verified.
    """
    _all_verified(circuit)
    success, failure = attempt(circuit.pulses, circuit.cap, circuit.missed_frac)
    at_most = np.concatenate([success, failure]).cumsum()
    pulses = np.zeros(rows * columns, np.int64)
    failed = np.ones(pulses.shape, bool) if unchanged is None else ~np.asarray(unchanged, bool).reshape(pulses.shape)
    while True:
        trying = np.flatnonzero(failed)
        drawn = np.searchsorted(at_most[:-1], rng.random(trying.size), side="right")
        failed[trying], taken = np.divmod(drawn, circuit.cap + 1)
        pulses[trying] += taken
        if circuit.on_failure == "accept" or not failed.any():
            break
    counts = pulses.reshape(rows, columns)
    verifies = counts if circuit.verify_ns else np.zeros_like(counts)
    return _written(counts, verifies, failed.reshape(rows, columns), circuit)


def _written(pulses: Ints, verifies: Ints, failed: Bools, circuit: Verify) -> Written:
    """Time by the slowest cell of each group, energy by the sum over all cells."""
    columns = pulses.shape[1]
    starts = np.arange(0, columns, columns if circuit.cells_at_once == "row" else circuit.cells_at_once)
    slowest = [np.maximum.reduceat(counts, starts, axis=1).sum(axis=1) for counts in (pulses, verifies)]
    row_time_ns = slowest[0] * circuit.pulse_ns + slowest[1] * circuit.verify_ns + starts.size * circuit.row_setup_ns
    actions = {"pulse": float(pulses.sum()), "verify": float(verifies.sum())}
    energy_pj = actions["pulse"] * circuit.pulse_pj + actions["verify"] * circuit.verify_pj
    return Written(pulses, verifies, failed, row_time_ns, energy_pj, actions)


def count_words(circuit: Word, unchanged: Bools, rng: np.random.Generator) -> Written:
    """Words in which a cell changes are written, in rows of (rows, columns); a fraction of their cells fails."""
    changed = ~unchanged
    starts = np.arange(0, changed.shape[1], circuit.cells_at_once)
    words = np.logical_or.reduceat(changed, starts, axis=1).sum(axis=1)
    failed = changed & (rng.random(changed.shape) < circuit.fail_frac)
    cells, none = float(changed.sum()), np.zeros(changed.shape, np.int64)
    pulses = circuit.mean_pulses * changed
    return Written(pulses, none, failed, words * circuit.word_ns, cells * circuit.cell_pj, {"write": cells})


def count_arrays(circuit: Array, rows: int, columns: int, rng: np.random.Generator) -> Written:
    """Whole arrays are written, whatever changes; the time is shared evenly by the rows."""
    n, shape = circuit.amounts(rows, columns, rows * columns)["array"], (rows, columns)
    row_time_ns = np.full(rows, circuit.time_ns(rows, columns) / rows)
    failed = rng.random(shape) < circuit.fail_frac
    pulses, none = np.full(shape, circuit.mean_pulses), np.zeros(shape, np.int64)
    return Written(pulses, none, failed, row_time_ns, n * circuit.array_pj, {"array": n})


def _all_verified(circuit: Verify) -> None:
    """No device kind says where a cell ends after one pulse that nobody verified."""
    if circuit.verified < 1:
        problem = f"{circuit.verified_frac}: what error a cell keeps that is not verified is not known"
        raise ImcsimError("cell.write.verified_frac", problem, "for values say 'all'; costs alone can be computed")


def _check(cell: PulsedCell, circuit: Verify) -> None:
    _all_verified(circuit)
    for name, value in cell._asdict().items():
        if not 0 <= value < float("inf"):
            raise ImcsimError(f"cell.{name}", f"{value} must be a finite number >= 0")
    if cell.g_min_usiemens > cell.g_max_usiemens:
        raise ImcsimError("cell.g_min_usiemens", f"{cell.g_min_usiemens} is above g_max_usiemens")
    if circuit.on_failure == "retry":
        raise ImcsimError("circuit.on_failure", "write-verify keeps a failed cell", "say 'accept' and raise the cap")
