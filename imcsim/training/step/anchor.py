"""Simulate a product with a full crossbar, forward and transposed: papers state speed and energy for it."""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.hardware.actions import Component
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import Mvm, Region, TransposeMvm
from imcsim.mapping.tiling import cut
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.recipes import Context, Recipe, recipe
from imcsim.util import units
from imcsim.workload.layers import Elementwise, Input, Linear, Quantisation
from imcsim.workload.workload import Workload

CROSSBAR_PARTS = (Component.DAC, Component.ARRAY, Component.SAMPLE_HOLD, Component.ADC, Component.SHIFT_ADD)


@dataclass(frozen=True)
class FullProduct:
    """Describe one vector on a crossbar whose cells all hold weights: how long it holds it, and its energy."""

    rows: int
    columns: int
    time_ns: float
    energy_pj: float


def full_products(hardware: Hardware) -> dict[str, FullProduct]:
    """Return ``forward`` and ``transposed``, at the precision of the preset.

    Energies are those of crossbar and converters, without their tile.
    """
    bar, at = hardware.crossbar, hardware.precision
    rows, columns = bar.rows, bar.columns // hardware.weight_columns(at.weight_bits)
    bits, weights = Quantisation(bits=at.input_bits), Quantisation(bits=at.weight_bits)
    x = Input(name="x", inputs=(), output_shape=(rows,), input_quant=bits)
    layer = Linear(
        name="full", inputs=("x",), output_shape=(columns,), in_channels=rows, input_quant=bits, weight_quant=weights
    )
    error = Elementwise(name="error", inputs=("full",), output_shape=(rows,), function="transposed", input_quant=bits)
    workload = Workload(name="full", description="", source="a full crossbar", layers=(x, layer, error))
    grid, region, context = cut(layer, hardware), Region(0, 1), Context(hardware, workload)
    recipes = {
        "forward": recipe(Mvm("full", layer, grid, region), context),
        "transposed": recipe(TransposeMvm("error", error, layer, grid, region), context),
    }
    costs = CostTable.of(hardware)
    return {
        name: FullProduct(rows, bar.columns, _held_ns(product), _energy_pj(product, costs))
        for name, product in recipes.items()
    }


def _held_ns(product: Recipe) -> float:
    return (
        sum(int(step.hold_ps) for step in product.steps if step.resource.kind == ResourceKind.CROSSBAR)
        / units.PS_PER_NS
    )


def _energy_pj(product: Recipe, costs: CostTable) -> float:
    return sum(n * costs.price_pj(*key) for key, n in product.actions.items() if key[0] in CROSSBAR_PARTS)
