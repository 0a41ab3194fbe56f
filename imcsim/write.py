"""The write circuit: how long a crossbar takes to write, what that costs, and how it wears the cells.

Cells of one row are written in groups. A group ends with its slowest cell, so time follows the maximum over the cells;
energy and wear follow their sum.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from imcsim.config import Spec
from imcsim.parts import Part
from imcsim.pulses import Floats, Frac, Pulses, Stepped, attempt, survival


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

    def part(self, source: str) -> Part:
        """The price row ``cell`` of one crossbar."""
        note = "area of the write drivers: in the rows of the crossbar, where a source gives it"
        return Part(per="crossbar", area_um2=0, peak_uw=0, actions_pj=self.prices_pj(), source=source, note=note)


class Verify(WriteSpec):
    """Pulse, read, repeat: a cell that passes its verify read is inhibited, a group ends with its slowest cell.

    Cells whose target is already there (a fraction unchanged_frac) are neither pulsed nor read (drift is ignored),
    except that with stepped pulses every cell is read once before any pulse.
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
    pulse_pj: NonNegativeFloat
    verify_pj: NonNegativeFloat

    @model_validator(mode="after")
    def _ends(self) -> Verify:
        if self.on_failure == "retry" and self.attempt_fail_frac > 0.5:
            raise ValueError(f"{self.attempt_fail_frac:.0%} of the attempts fail, retrying hardly ends: raise the cap")
        return self

    @property
    def attempt_fail_frac(self) -> float:
        """Probability that one attempt leaves a cell outside its target."""
        return float(attempt(self.pulses, self.cap, self.missed_frac)[1].sum())

    @property
    def fail_frac(self) -> float:
        """Probability that a cell stays outside its target."""
        return self.attempt_fail_frac if self.on_failure == "accept" else 0.0

    @property
    def first_reads(self) -> int:
        """Reads of a cell before its first pulse: one where the circuit looks where the cell is."""
        return int(isinstance(self.pulses, Stepped))

    @property
    def survival(self) -> Floats:
        """P(a cell takes more than j pulses) for j = 0, 1, ...: shape (most pulses + 1,)."""
        return survival(self.pulses, self.cap, self.missed_frac, self.on_failure)

    @property
    def mean_pulses(self) -> float:
        """E[n], pulses of one cell."""
        return float(self.survival.sum())

    def expected_max(self, cells: int, unchanged_frac: float = 0.0) -> float:
        """E[max_p] = sum_j (1 - (phi + (1 - phi) F(j))^p): pulses of the slowest of ``cells`` cells."""
        with np.errstate(divide="ignore"):
            return float(-np.expm1(cells * np.log1p(-(1 - unchanged_frac) * self.survival)).sum())

    def time_ns(self, rows: int, columns: int, unchanged_frac: float = 0.0) -> float:
        """Expected time to write ``rows`` x ``columns`` cells of one crossbar."""
        groups = self._groups(rows, columns)
        rounds = sum(n * self.expected_max(cells, unchanged_frac) for cells, n in groups.items())
        return rounds * (self.pulse_ns + self.verify_ns) + sum(groups.values()) * self._group_ns

    def sample_time_ns(self, rows: int, columns: int, unchanged_frac: float, rng: np.random.Generator) -> float:
        """Time of one write with the slowest cell of every group drawn at random."""
        groups, rounds = self._groups(rows, columns), 0.0
        for cells, n in groups.items():
            at_most = (1 - (1 - unchanged_frac) * self.survival) ** cells
            rounds += float(np.searchsorted(at_most, 1 - rng.random(n)).sum())
        return rounds * (self.pulse_ns + self.verify_ns) + sum(groups.values()) * self._group_ns

    def amounts(self, rows: int, columns: int, cells: int, unchanged_frac: float = 0.0) -> dict[str, float]:
        """Expected actions of writing ``cells`` cells that lie in ``rows`` x ``columns`` of one crossbar."""
        pulses = cells * (1 - unchanged_frac) * self.mean_pulses
        if not self.verify_ns and not self.first_reads:
            return {"pulse": pulses}
        return {"pulse": pulses, "verify": pulses + cells * self.first_reads}

    def prices_pj(self) -> dict[str, float]:
        return {"pulse": self.pulse_pj, "verify": self.verify_pj}

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


def _groups(rows: int, columns: int, cells_at_once: int) -> dict[int, int]:
    """Cells of a group -> how many such groups, for ``rows`` rows cut into groups of ``cells_at_once``."""
    full, rest = divmod(columns, cells_at_once)
    groups = {cells_at_once: rows * full, rest: rows}
    return {cells: n for cells, n in groups.items() if cells and n}
