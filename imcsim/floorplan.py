"""Where an operation's crossbars lie, which lanes they have, and the way between two places on the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from imcsim.hardware import Hardware, Mesh
from imcsim.plan import Region


@dataclass(frozen=True)
class Lanes:
    """Tile services (bus, digital unit) of a region: ``count`` vectors are served at once, each by ``tiles`` tiles.

    A region smaller than a tile shares its home tile with other regions; one of whole tiles has them to itself.
    """

    home: int  # the tile at the region's middle crossbar
    count: int
    tiles: int
    key: str  # equal keys share the same lanes


def lanes(region: Region, hardware: Hardware) -> Lanes:
    """The lanes of a region: one for each copy, as far as its tiles go."""
    per_tile = hardware.tile.n_crossbars
    home = min((region.first + region.total // 2) // per_tile, hardware.chip.n_tiles - 1)
    if region.total < per_tile:
        home = min(region.first // per_tile, hardware.chip.n_tiles - 1)
        return Lanes(home, 1, 1, str(home))
    count = max(1, min(region.copies, region.total // per_tile))
    last = region.first + region.total - 1
    key = f"{region.first // per_tile}-{last // per_tile}/{count}"
    return Lanes(home, count, max(1, -(-region.crossbars // per_tile)), key)


def route(start: int, stop: int, mesh: Mesh) -> tuple[tuple[int, int], ...]:
    """The links (from tile, to tile) of the XY route between two tiles, along the row first.

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
