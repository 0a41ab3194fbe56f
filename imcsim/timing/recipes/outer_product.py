"""Form gradients of weights: inputs times errors, multiplied or met as pulses, summed over positions and images."""

from __future__ import annotations

from imcsim.hardware.actions import (
    BUFFER_READ_BYTE,
    BUFFER_WRITE_BYTE,
    BUS_BYTE,
    DIGITAL_MAC,
    PULSES_COINCIDE,
    PULSES_COMPARE,
    Action,
)
from imcsim.mapping.floorplan import lanes
from imcsim.mapping.plan import OuterProduct
from imcsim.mapping.update_rates import DIGITAL_BYTES
from imcsim.timing.dataflow import Reach, one_by_one, reach
from imcsim.timing.engine.contract import Resource
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.recipes.context import Context, Recipe, recipe, scaled
from imcsim.timing.recipes.flows import LayerFlow, flow
from imcsim.timing.recipes.mvm import fetched_columns, fetched_rows
from imcsim.timing.recipes.steps import Step, bus_step, digital_step, fetch_step, n_bytes
from imcsim.workload.workload import n_weights


@recipe.register
def _(operation: OuterProduct, context: Context) -> Recipe:
    """Return the recipe in which one vector is one output position.

    The sums over the positions of an image stay in the lanes; once per image they are written to the buffer, added to
    those of the images before.
    """
    hw, forward = context.hardware, operation.forward
    lane, count, weights = lanes(operation.region, hw), forward.positions, n_weights(forward)
    errors = fetched_columns(operation.grid, operation.region, hw)
    operands = fetched_rows(operation.grid, operation.region, hw) + errors
    in_bytes, sums = n_bytes(operation.layer, operands), weights * DIGITAL_BYTES
    moved = sums * (1 + operation.adds)
    work = digital_step(0, weights, lane, hw)
    amounts: dict[Action, float] = {DIGITAL_MAC: weights}
    if operation.method != "digital":
        period = operation.method * hw.period_ps
        work = (Step(Resource(f"pulses[{lane.key}]", ResourceKind.DIGITAL, lane.count), period, period),)
        met = operation.method * (forward.rows * forward.groups + forward.channels)
        amounts = {PULSES_COMPARE: met, PULSES_COINCIDE: operation.method * weights}
    stages = (
        *fetch_step(in_bytes / lane.tiles, lane, hw),
        *work,
        *bus_step(moved / count / lane.tiles, lane, hw),
    )
    actions = {
        **scaled(amounts, count),
        BUFFER_READ_BYTE: in_bytes * count + sums * operation.adds,
        BUFFER_WRITE_BYTE: sums,
        BUS_BYTE: in_bytes * count + moved,
    }
    return Recipe(count, stages, scaled(actions, 1))


@flow.register(OuterProduct)
class OuterProductFlow(LayerFlow[OuterProduct]):
    """Let the inputs of a layer, kept since the way forward, meet the errors of its outputs position by position."""

    spreads = True
    fetches_again = True

    def reach(self, index: int) -> Reach:
        forward = self.operation.forward
        return one_by_one(forward.positions) if index == 1 else reach(forward, self.inputs, index)
