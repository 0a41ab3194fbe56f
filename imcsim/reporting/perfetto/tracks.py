"""Put busy intervals as slices on tracks, drawn as finely as a number of slices allows; numpy throughout."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imcsim.timing.engine.contract import Ints
from imcsim.util import units

Floats = NDArray[np.float64]

SEVERAL = 0  # the name of a slice that stands for several things
UNITS_SHOWN = 256  # tracks of one resource; where it has more units, they share tracks


@dataclass(frozen=True)
class Slices:
    """Hold intervals as arrays, all (n,) int64.

    They are: track and name by number, times in ps, vectors that a slice stands for, time held.
    """

    track: Ints
    name: Ints
    start_ps: Ints
    end_ps: Ints
    count: Ints
    held_ps: Ints

    @staticmethod
    def of(track: int | Ints, name: int | Ints, start_ps: Ints, end_ps: Ints) -> Slices:
        """Make one slice per interval."""
        tracks, names = (np.broadcast_to(np.asarray(value, np.int64), start_ps.shape) for value in (track, name))
        return Slices(tracks, names, start_ps, end_ps, np.ones_like(start_ps), end_ps - start_ps)

    @staticmethod
    def joined(parts: list[Slices]) -> Slices:
        """Return all slices of several sets as one set."""
        fields = [[getattr(part, name) for part in parts] for name in Slices.__dataclass_fields__]
        return Slices(*(np.concatenate([np.zeros(0, np.int64), *arrays]) for arrays in fields))

    def __len__(self) -> int:
        return len(self.start_ps)

    def ordered(self) -> Slices:
        """Return the slices sorted by track, then start."""
        order = np.lexsort((self.start_ps, self.track))
        return Slices(*(getattr(self, name)[order] for name in Slices.__dataclass_fields__))

    def only(self, chosen: NDArray[np.bool_]) -> Slices:
        """Return the slices that a mask selects."""
        return Slices(*(getattr(self, name)[chosen] for name in Slices.__dataclass_fields__))

    def merged(self, gap_ps: int, mixed: bool = False) -> Slices:
        """Join neighbours on a track with the same name (or any, where ``mixed``) that are at most ``gap_ps`` apart.

        What overlaps becomes one in any case.
        """
        return self.ordered()._merged(gap_ps, mixed)

    def _merged(self, gap_ps: int, mixed: bool) -> Slices:
        """Return an ordered set with its neighbours joined as ``merged`` does."""
        if not len(self):
            return self
        heads = np.flatnonzero(self._begins(gap_ps, mixed))
        low, high = (np.minimum.reduceat(self.name, heads), np.maximum.reduceat(self.name, heads))
        return Slices(
            self.track[heads],
            np.where(low == high, low, SEVERAL),
            self.start_ps[heads],
            np.maximum.reduceat(self.end_ps, heads),
            np.add.reduceat(self.count, heads),
            np.add.reduceat(self.held_ps, heads),
        )

    def gaps_ps(self, mixed: bool) -> Ints:
        """Return distances of an ordered set's neighbours on a track, of the same name, or any where ``mixed``."""
        near = (self.track[1:] == self.track[:-1]) & ((self.name[1:] == self.name[:-1]) | mixed)
        return np.asarray((self.start_ps[1:] - self.end_ps[:-1])[near])

    def _begins(self, gap_ps: int, mixed: bool) -> NDArray[np.bool_]:
        """Say which slices of an ordered set begin a merged one."""
        width = int(self.end_ps.max()) + 1
        covered = np.maximum.accumulate(self.end_ps + self.track * width) - self.track * width  # of the track so far
        begins = np.ones(len(self), np.bool_)
        distance = self.start_ps[1:] - covered[:-1]
        other = self.name[1:] != self.name[:-1]
        begins[1:] = (distance > gap_ps) | ((distance >= 0) & other & (not mixed))
        begins[1:] |= self.track[1:] != self.track[:-1]
        return begins


def units_of(start_ps: Ints, end_ps: Ints, capacity: int) -> Ints:
    """Say which unit each of the intervals (sorted by start) holds, where a unit that returned first is taken first.

    The k-th interval takes over from the one with the (k - capacity)-th end; following this back leads to the first.
    """
    n = len(start_ps)
    if capacity == 1 or n <= capacity:
        return np.arange(n, dtype=np.int64) % capacity
    before = np.arange(n)
    before[capacity:] = np.argsort(end_ps, kind="stable")[: n - capacity]
    while (before >= capacity).any():
        before = before[before]
    return before


@dataclass
class Canvas:
    """Collect slices and keep them at most ``budget`` in number by drawing less detail on the crowded tracks."""

    budget: int
    tracks: dict[tuple[str, str], int] = field(default_factory=dict)  # (process, track) -> number
    names: dict[str, int] = field(default_factory=lambda: {"several": SEVERAL})
    gap_ps: int = 0  # the widest that was drawn over
    mixed: bool = False
    _parts: list[Slices] = field(default_factory=list)
    _size: int = 0

    def track(self, process: str, label: str) -> int:
        """Return the number of a track."""
        return self.tracks.setdefault((process, label), len(self.tracks))

    def name(self, text: str) -> int:
        """Return the number of a name."""
        return self.names.setdefault(text, len(self.names))

    def add(self, slices: Slices) -> None:
        """Draw slices; those of one track belong into one call, or lie apart."""
        self._keep(slices.merged(0))
        if self._size > 2 * self.budget:
            self._coarsen()

    def finish(self) -> Slices:
        """Return all slices, ordered. Raises ValueError where there are more tracks than the budget has slices."""
        self._coarsen()
        return Slices.joined(self._parts).ordered()

    @property
    def detail(self) -> str:
        """Say what was drawn as one; empty where every interval stands for itself."""
        if not (self.gap_ps or self.mixed):
            return ""
        gap = units.si(self.gap_ps / units.PS_PER_NS / units.NS_PER_S, "s", 3)
        who = "slices that lie" if self.mixed else "vectors of one operation that lie"
        return f"on crowded tracks, {who} at most {gap} apart become one slice"

    def _keep(self, slices: Slices) -> None:
        self._parts.append(slices)
        self._size += len(slices)

    def _coarsen(self) -> None:
        """Merge crowded tracks over ever wider gaps until the budget holds: of one operation first, then anything."""
        if self._size <= self.budget:
            return
        crowd, calm, mixed = Slices.joined(self._parts).ordered(), Slices.joined([]), False
        while (excess := len(crowd) + len(calm) - self.budget) > 0:
            crowded = _crowded(crowd.track, self.budget - len(calm))
            calm, crowd = Slices.joined([calm, crowd.only(~crowded)]), crowd.only(crowded)
            gaps_ps = crowd.gaps_ps(mixed)
            if len(gaps_ps):
                step = excess if 20 * excess < self.budget else excess // 2  # by halves, while tracks become calm
                gap_ps = int(np.partition(gaps_ps, min(step, len(gaps_ps)) - 1)[min(step, len(gaps_ps)) - 1])
                crowd = crowd._merged(gap_ps, mixed)
                self.gap_ps, self.mixed = max(self.gap_ps, gap_ps), self.mixed or mixed
            elif mixed:
                raise ValueError(f"{self.budget} slices are too few for {len(self.tracks)} tracks")
            else:
                mixed = True
        self._parts, self._size = [calm, crowd], len(calm) + len(crowd)


def _crowded(track: Ints, budget: int) -> NDArray[np.bool_]:
    """Say which slices lie on tracks with more than the level at which all tracks together would fit the budget."""
    per_track = np.bincount(track)
    counts = np.sort(per_track[per_track > 0])
    later = np.arange(len(counts))[::-1]
    fits = np.cumsum(counts) + counts * later <= budget
    level = counts[fits].max(initial=0)
    return np.asarray(per_track[track] > level)


def done_frac(start_ps: Ints, end_ps: Ints, times_ps: Ints) -> Floats:
    """Return the part of all intervals before each of the times (ascending): 0 before the first, 1 at the last."""
    done = _area(np.sort(start_ps), times_ps) - _area(np.sort(end_ps), times_ps)
    done = np.maximum.accumulate(np.clip(done, 0.0, None))
    done[0] = 0.0
    done[-1] = max(float((end_ps - start_ps).sum()), done[-1])
    return np.asarray(done / done[-1])


def _area(sorted_ps: Ints, times_ps: Ints) -> Floats:
    """Sum max(0, t - x) over the points x, for each time t; counted from the first time, to stay exact."""
    origin = int(times_ps[0])
    sums = np.concatenate([[0.0], np.cumsum((sorted_ps - origin).astype(np.float64))])
    n = np.searchsorted(sorted_ps, times_ps)
    return np.asarray(n * (times_ps - origin).astype(np.float64) - sums[n])


def thinned(when: Ints, level: Floats, samples: int) -> tuple[Ints, Floats]:
    """Return at most ``samples`` steps of a level over time: the highest of each stretch."""
    if len(when) <= samples:
        return when, level
    heads = np.unique(np.linspace(0, len(when) - 1, samples).astype(np.int64))
    return when[heads], np.maximum.reduceat(level, heads)
