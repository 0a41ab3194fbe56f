"""Find where an operation's crossbars lie, which lanes they have, and the way between two places on the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imcsim.hardware.hardware import Hardware, Mesh
from imcsim.mapping.plan import Region

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Lanes:
    """Hold the tile services (bus, buffer, digital unit) of a region: ``count`` vectors at once, each on ``tiles``."""

    home: int  # the tile in the middle of the region
    count: int
    tiles: int
    key: str  # equal keys share the same lanes

    @property
    def single(self) -> bool:
        """Tell whether all of it is one tile, so that nothing has to travel within it."""
        return self.count * self.tiles == 1


def lanes(region: Region, hardware: Hardware) -> Lanes:
    """Return the lanes of a region: one for each copy, as far as its tiles go."""
    share = own_groups(region, hardware.tile.n_crossbars)
    home = share.first + share.n_groups // 2
    if share.n_groups <= 1:
        return Lanes(home, 1, 1, str(home))
    key = f"{share.first}-{share.first + share.n_groups - 1}/{share.served_at_once}"
    return Lanes(home, share.served_at_once, share.n_groups // share.served_at_once, key)


@dataclass(frozen=True)
class Share:
    """Hold the groups of crossbars (tiles, or pools of ADCs) that lie in a region: ``n_groups`` from ``first`` on.

    Where none lies in it entirely, ``first`` is the group in its middle, which it shares with other regions. So no
    group serves two regions as if each had it alone.
    """

    first: int
    n_groups: int
    served_at_once: int  # copies among which the groups are divided


def own_groups(region: Region, size: int) -> Share:
    """Return the groups of ``size`` crossbars that a region has to itself, or the one that it shares."""
    first, stop = -(-region.first // size), (region.first + region.total) // size
    if stop <= first:
        return Share((region.first + (region.total - 1) // 2) // size, 0, 1)
    return Share(first, stop - first, min(region.copies, stop - first))


def tiles_of(region: Region, hardware: Hardware) -> Ints:
    """Return (crossbars,) the tile of each crossbar of the first copy; the other copies are taken to lie alike."""
    return (region.first + np.arange(region.crossbars)) // hardware.tile.n_crossbars


def route(start: int, stop: int, mesh: Mesh) -> tuple[tuple[int, int], ...]:
    """Return the links (from tile, to tile) of the XY route between two tiles, along the row first.

    Tiles are numbered row by row in a snake, so that neighbours in number are neighbours on the mesh.
    """
    (x, y), (x_stop, y_stop) = _place(start, mesh.columns), _place(stop, mesh.columns)
    way = [start]
    while x != x_stop:
        x += 1 if x_stop > x else -1
        way.append(_tile(x, y, mesh.columns))
    while y != y_stop:
        y += 1 if y_stop > y else -1
        way.append(_tile(x, y, mesh.columns))
    return tuple(pairwise(way))


def _place(tile: int, columns: int) -> tuple[int, int]:
    y, x = divmod(tile, columns)
    return (columns - 1 - x if y % 2 else x), y


def _tile(x: int, y: int, columns: int) -> int:
    return y * columns + (columns - 1 - x if y % 2 else x)
