"""The write circuit: how long a crossbar takes to write, what that costs, and how it wears the cells.

Cells of one row are written in groups. A group ends with its slowest cell, so time follows the maximum over the cells;
energy and wear follow their sum.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from imcsim.hardware.price_row import PriceRow
from imcsim.hardware.pulses import Floats, Frac, Pulses, Stepped, attempt, survival
from imcsim.util.config import Spec


class WriteSpec(Spec):
    """What all write circuits have; the limit of crossbars is one of power or drivers, 'all' means none."""

    name: str
    description: str
    max_crossbars_at_once: Literal["all"] | PositiveInt
    endurance_writes: PositiveFloat  # programmings of one cell until it fails

    def crossbars_at_once(self, n_crossbars: int) -> int:
        """X_w: of ``n_crossbars`` crossbars, how many are written at the same time."""
        limit = self.max_crossbars_at_once
        return n_crossbars if limit == "all" else min(limit, n_crossbars)

    @abstractmethod
    def prices_pj(self) -> dict[str, float]:
        """Energy of each action of the component ``cell``."""

    def part(self, source: str) -> PriceRow:
        """The price row ``cell`` of one crossbar."""
        note = "area of the write drivers: in the rows of the crossbar, where a source gives it"
        return PriceRow(per="crossbar", area_um2=0, peak_uw=0, actions_pj=self.prices_pj(), source=source, note=note)


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
        groups = self._groups(rows, columns)
        pulses, reads = (
            sum(n * _expected_max(beyond, cells, unchanged_frac) for cells, n in groups.items())
            for beyond in (self.survival, self.read_survival)
        )
        return self._rounds_ns(pulses, reads) + sum(groups.values()) * self._group_ns

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """Time of one write with the slowest cell of every group drawn at random."""
        groups, most = self._groups(rows, columns), np.zeros(2)
        for cells, n in groups.items():
            draw = 1 - rng.random(n)  # one for both: pulses and reads differ only where no cell of a group is read
            for i, beyond in enumerate((self.survival, self.read_survival)):
                most[i] += np.searchsorted((1 - (1 - unchanged_frac) * beyond) ** cells, draw).sum()
        return self._rounds_ns(*map(float, most)) + sum(groups.values()) * self._group_ns

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Expected actions of writing ``cells`` cells that lie in ``rows`` x ``columns`` of one crossbar."""
        changed = cells * (1 - unchanged_frac)
        pulses, reads = changed * self.mean_pulses, changed * float(self.read_survival.sum())
        if not self.verify_ns and not self.first_reads:
            return {"pulse": pulses}
        return {"pulse": pulses, "verify": reads + cells * self.first_reads}

    def prices_pj(self) -> dict[str, float]:
        return {"pulse": self.pulse_pj, "verify": self.verify_pj}

    def _rounds_ns(self, pulses: float, reads: float) -> float:
        return reads * (self.pulse_ns + self.verify_ns) + (pulses - reads) * self.pulse_ns

    @property
    def _group_ns(self) -> float:
        """What a group takes before its first pulse."""
        return self.row_setup_ns + self.first_reads * self.verify_ns

    def _groups(self, rows: int, columns: int) -> dict[int, int]:
        return _groups(rows, columns, columns if self.cells_at_once == "row" else self.cells_at_once)


class Word(WriteSpec):
    """A macro with its own write controller, measured from outside: the time of a word, the energy of a cell."""

    kind: Literal["word"]
    word_ns: PositiveFloat
    cells_at_once: PositiveInt
    cell_pj: NonNegativeFloat
    mean_pulses: PositiveFloat
    fail_frac: Frac

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Expected time of one crossbar; a word is skipped where all its cells are unchanged."""
        groups = _groups(rows, columns, self.cells_at_once)
        return self.word_ns * sum(n * (1 - unchanged_frac**cells) for cells, n in groups.items())

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """Time of one write with the skipped words drawn at random."""
        groups = _groups(rows, columns, self.cells_at_once)
        return self.word_ns * sum(int(rng.binomial(n, 1 - unchanged_frac**cells)) for cells, n in groups.items())

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Expected actions of one crossbar: cells written."""
        return {"write": cells * (1 - unchanged_frac)}

    def prices_pj(self) -> dict[str, float]:
        return {"write": self.cell_pj}


class Array(WriteSpec):
    """A published time and energy of a whole array; larger crossbars are written as several such arrays in turn."""

    kind: Literal["array"]
    array_ns: PositiveFloat
    array_rows: PositiveInt
    array_columns: PositiveInt
    array_pj: NonNegativeFloat
    mean_pulses: PositiveFloat
    fail_frac: Frac

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Time of one crossbar; neither unused nor unchanged cells make an array write shorter."""
        return self.array_ns * self._arrays(rows, columns)

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """The same as ``time_ns``: nothing is random."""
        return self.time_ns(rows, columns, unchanged_frac)

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Actions of one crossbar: array writes."""
        return {"array": self._arrays(rows, columns)}

    def prices_pj(self) -> dict[str, float]:
        return {"array": self.array_pj}

    def _arrays(self, rows: int, columns: int) -> int:
        return -(-rows // self.array_rows) * -(-columns // self.array_columns)


Write = Annotated[Verify | Word | Array, Field(discriminator="kind")]


def _expected_max(beyond: Floats, cells: int, unchanged_frac: float) -> float:
    """sum_j (1 - (phi + (1 - phi) (1 - P(n > j)))^cells)."""
    with np.errstate(divide="ignore"):
        return float(-np.expm1(cells * np.log1p(-(1 - unchanged_frac) * beyond)).sum())


def _groups(rows: int, columns: int, cells_at_once: int) -> dict[int, int]:
    """Cells of a group -> how many such groups, for ``rows`` rows cut into groups of ``cells_at_once``."""
    full, rest = divmod(columns, cells_at_once)
    groups = {cells_at_once: rows * full, rest: rows}
    return {cells: n for cells, n in groups.items() if cells and n}
