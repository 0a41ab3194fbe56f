"""Where weights lie and what follows what: plans, and the schemes that make them.

The names below are promised to authors of schemes (docs/extend.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imcsim.util.faces import lazy

if TYPE_CHECKING:
    from imcsim.mapping.plan import (
        Basis,
        BasisMvm,
        Compute,
        Digital,
        Load,
        Mvm,
        Operation,
        Phase,
        Plan,
        Program,
        Region,
        Segments,
        Source,
    )
    from imcsim.mapping.schemes import load_scheme
    from imcsim.mapping.schemes.base import (
        FusedLayer,
        LayerGroup,
        Scheme,
        crossbars_of,
        digital_operations,
        layer_groups,
        program_all,
        resident_mvm,
        side_by_side,
        with_digital_neighbours,
    )
    from imcsim.mapping.tiling import TileGrid, cut

__all__ = [
    "Basis", "BasisMvm", "Compute", "Digital", "FusedLayer", "LayerGroup", "Load", "Mvm", "Operation", "Phase",
    "Plan", "Program", "Region", "Scheme", "Segments", "Source", "TileGrid", "crossbars_of", "cut",
    "digital_operations", "layer_groups", "load_scheme", "program_all", "resident_mvm", "side_by_side",
    "with_digital_neighbours",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "plan": "Basis BasisMvm Compute Digital Load Mvm Operation Phase Plan Program Region Segments Source",
            "schemes": "load_scheme",
            "schemes.base": "FusedLayer LayerGroup Scheme crossbars_of digital_operations layer_groups program_all "
            "resident_mvm side_by_side with_digital_neighbours",
            "tiling": "TileGrid cut",
        },
    )
