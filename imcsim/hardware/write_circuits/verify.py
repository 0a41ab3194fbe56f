"""Write and verify: pulse, read, repeat, cell by cell; in closed form, and for each cell as it happens.

``write_verify`` moves conductances pulse by pulse; ``draw_counts`` only draws how many pulses a cell takes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from imcsim.hardware.actions import CELL_VERIFY
from imcsim.hardware.devices import Cells, DeviceSpec
from imcsim.hardware.devices import Floats as Conductances
from imcsim.hardware.pulsed_cell import PulsedCell
from imcsim.hardware.pulses import Frac, Pulses, Stepped, attempt, survival
from imcsim.hardware.write_circuits._base import Bools, Floats, Ints, WriteSpec, Written, groups, stuck_at
from imcsim.util.errors import ImcsimError

PULSE, VERIFY = "pulse", CELL_VERIFY.action  # what is counted and priced


class Verify(WriteSpec):
    """Pulse, read, repeat: a cell that passes its verify read is inhibited, a group ends with its slowest cell.

    Cells whose target is already there (a fraction unchanged_frac) are neither pulsed nor read (drift is ignored),
    except that with stepped pulses every cell is read once before any pulse. Where ``verified_frac`` is below 1, the
    other cells, drawn at random, get one pulse and no read (selective write-verify, SWIM, arXiv 2202.08395).
    """

    kind: Literal["verify"]
    pulse_ns: PositiveFloat
    verify_ns: NonNegativeFloat  # 0: one pulse is trusted without a read
    row_setup_ns: NonNegativeFloat  # once per group
    pulses: Pulses
    cap: Annotated[int, Field(gt=0, le=100_000)]  # pulses of one attempt; a cell that is still wrong has failed
    missed_frac: Frac  # cells that end outside their target although they passed
    on_failure: Literal["accept", "retry"]  # keep the wrong cell (and report it), or begin again
    cells_at_once: Literal["row"] | PositiveInt  # p_w
    verified_frac: Literal["all"] | Frac = "all"  # of the cells
    pulse_pj: NonNegativeFloat
    verify_pj: NonNegativeFloat

    @model_validator(mode="after")
    def _ends(self) -> Verify:
        if self.on_failure == "retry" and self.attempt_fail_frac > 0.5:
            raise ValueError(f"{self.attempt_fail_frac:.0%} of the attempts fail, retrying hardly ends: raise the cap")
        if self.verified < 1 and isinstance(self.pulses, Stepped):
            raise ValueError("one step takes no cell to its target: with stepped pulses verified_frac must be all")
        return self

    @property
    def verified(self) -> float:
        """Fraction of the cells that are verified."""
        return 1.0 if self.verified_frac == "all" else self.verified_frac

    @property
    def attempt_fail_frac(self) -> float:
        """Probability that one attempt leaves a cell outside its target."""
        return float(attempt(self.pulses, self.cap, self.missed_frac)[1].sum())

    @property
    def fail_frac(self) -> float:
        """Probability that a cell stays outside its target: one without verification where a pulse does not do."""
        verified = self.attempt_fail_frac if self.on_failure == "accept" else 0.0
        after_one = 1 - float(attempt(self.pulses, self.cap, self.missed_frac)[0][:2].sum())
        return self.verified * verified + (1 - self.verified) * after_one

    @property
    def first_reads(self) -> int:
        """Reads of a cell before its first pulse: one where the circuit looks where the cell is."""
        return int(isinstance(self.pulses, Stepped))

    @property
    def survival(self) -> Floats:
        """P(a cell takes more than j pulses) for j = 0, 1, ...: shape (most pulses + 1,)."""
        beyond = self.read_survival.copy()
        beyond[0] += 1 - self.verified
        return beyond

    @property
    def read_survival(self) -> Floats:
        """P(a cell takes more than j reads that follow a pulse), of the same shape."""
        return self.verified * survival(self.pulses, self.cap, self.missed_frac, self.on_failure)

    @property
    def mean_pulses(self) -> float:
        """E[n], pulses of one cell."""
        return float(self.survival.sum())

    def expected_max(self, cells: int, unchanged_frac: float = 0.0) -> float:
        """E[max_p] = sum_j (1 - (phi + (1 - phi) F(j))^p): pulses of the slowest of ``cells`` cells."""
        return _expected_max(self.survival, cells, unchanged_frac)

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Expected time to write ``rows`` x ``columns`` cells of one crossbar; a round without a read is shorter."""
        sizes = self._groups(rows, columns)
        pulses, reads = (
            sum(n * _expected_max(beyond, cells, unchanged_frac) for cells, n in sizes.items())
            for beyond in (self.survival, self.read_survival)
        )
        return self._rounds_ns(pulses, reads) + sum(sizes.values()) * self._group_ns

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """Time of one write with the slowest cell of every group drawn at random."""
        sizes, most = self._groups(rows, columns), np.zeros(2)
        for cells, n in sizes.items():
            draw = 1 - rng.random(n)  # one for both: pulses and reads differ only where no cell of a group is read
            for i, beyond in enumerate((self.survival, self.read_survival)):
                most[i] += np.searchsorted((1 - (1 - unchanged_frac) * beyond) ** cells, draw).sum()
        return self._rounds_ns(*map(float, most)) + sum(sizes.values()) * self._group_ns

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Expected actions of writing ``cells`` cells that lie in ``rows`` x ``columns`` of one crossbar."""
        changed = cells * (1 - unchanged_frac)
        pulses, reads = changed * self.mean_pulses, changed * float(self.read_survival.sum())
        if not self.verify_ns and not self.first_reads:
            return {PULSE: pulses}
        return {PULSE: pulses, VERIFY: reads + cells * self.first_reads}

    def prices_pj(self) -> dict[str, float]:
        """Return the energy of a pulse and of a verify read."""
        return {PULSE: self.pulse_pj, VERIFY: self.verify_pj}

    def _rounds_ns(self, pulses: float, reads: float) -> float:
        return reads * (self.pulse_ns + self.verify_ns) + (pulses - reads) * self.pulse_ns

    @property
    def _group_ns(self) -> float:
        """What a group takes before its first pulse."""
        return self.row_setup_ns + self.first_reads * self.verify_ns

    def _groups(self, rows: int, columns: int) -> dict[int, int]:
        return groups(rows, columns, columns if self.cells_at_once == "row" else self.cells_at_once)

    # -- what happens to each cell -----------------------------------------------------------------------------------

    @property
    def begins_where_cells_are(self) -> bool:
        """Steps begin where a cell was left."""
        return isinstance(self.pulses, Stepped)

    def write_cells(
        self, device: DeviceSpec, target_usiemens: Conductances, old: Cells, kept: Bools, rng: np.random.Generator
    ) -> tuple[Cells, Written]:
        """Draw pulse counts and let the device say where a cell ends; with stepped pulses follow each pulse.

        A read comes first there, so that no cell is written in vain.
        """
        if not isinstance(self.pulses, Stepped):
            return super().write_cells(device, target_usiemens, old, kept, rng)
        cell = self.pulses.cell(device.g_min_usiemens, device.g_max_usiemens)
        works = np.where(old.stuck, 0.0, 1.0)
        here, there = (np.asarray(g_usiemens, float) for g_usiemens in (old.programmed_usiemens, target_usiemens))
        final, written = write_verify(there, here, cell, self, rng, works)
        return device.leave(target_usiemens, final, rng, stuck_at(old)), written

    def count(self, kept: Bools, rng: np.random.Generator) -> Written:
        """Draw the pulses of each cell from their distribution."""
        rows, columns = kept.shape
        return draw_counts(self, rows, columns, rng, kept)


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
    actions = {PULSE: float(pulses.sum()), VERIFY: float(verifies.sum())}
    energy_pj = actions[PULSE] * circuit.pulse_pj + actions[VERIFY] * circuit.verify_pj
    return Written(pulses, verifies, failed, row_time_ns, energy_pj, actions)


def _expected_max(beyond: Floats, cells: int, unchanged_frac: float) -> float:
    """sum_j (1 - (phi + (1 - phi) (1 - P(n > j)))^cells)."""
    with np.errstate(divide="ignore"):
        return float(-np.expm1(cells * np.log1p(-(1 - unchanged_frac) * beyond)).sum())


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
