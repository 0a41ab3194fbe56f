"""Compute a layer as combinations of a basis: broadcast a segment's rows to a copy, convert its columns, combine."""

from __future__ import annotations

import math

import numpy as np

from imcsim.hardware.actions import (
    ADC_CONVERT,
    ARRAY_READ,
    BUFFER_READ_BYTE,
    BUFFER_WRITE_BYTE,
    BUS_BYTE,
    DAC_DRIVE,
    DIGITAL_MAC,
    DIGITAL_OP,
    INPUT_REGISTER_BYTE,
    OUTPUT_REGISTER_BYTE,
    SAMPLE_HOLD_HOLD,
    SHIFT_ADD_ADD,
)
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.floorplan import Lanes, lanes
from imcsim.mapping.plan import BasisMvm
from imcsim.timing.dataflow import Reach
from imcsim.timing.recipes.arrays import array_steps
from imcsim.timing.recipes.context import Actions, Context, Recipe, recipe, scaled
from imcsim.timing.recipes.counting import absorbed_operations
from imcsim.timing.recipes.flows import LayerFlow, flow
from imcsim.timing.recipes.steps import Step, Time, bus_step, digital_step, fetch_step, n_bytes, partial_bytes


@recipe.register
def _(operation: BasisMvm, context: Context) -> Recipe:
    """Return the recipe in which one vector is one segment of one output position.

    A residual takes its inputs from the transfer that brings them to the crossbars, and has sums of its own, to which
    those of the basis are added once they are scaled: one more operation for each output.
    """
    hw, layer, segments = context.hardware, operation.layer, operation.segments
    lane = lanes(operation.region, hw)
    digital = operation.basis.sum == "digital"
    macs, corrected = _kernels(operation) * segments.nonzeros, _kernels(operation) * segments.corrections
    adds = 0 if digital else layer.channels * (segments.terms - 1) / segments.count
    outputs = layer.channels * (2 if corrected else 1)
    work = adds + (outputs + absorbed_operations(operation) / layer.positions) / segments.count
    crossing = max(segments.slots, default=0) if digital else 0  # columns that pass the routing one after another
    in_bytes = n_bytes(layer, _rows(operation)) * lane.tiles
    out_bytes = n_bytes(layer, layer.channels / segments.count)
    stages = (
        *fetch_step(in_bytes / lane.tiles, lane, hw),
        *_crossbars(operation, lane, hw),
        *digital_step(
            work, segments.kernels * (segments.nonzeros * digital + segments.corrections), lane, hw, crossing
        ),
        *bus_step(out_bytes / lane.tiles, lane, hw),
    )
    per_segment = {
        **context.as_used(_read_actions(operation, hw), layer.name),
        BUFFER_READ_BYTE: in_bytes
        + (macs * operation.basis.coefficient_bits + corrected * segments.correction_bits) / 8,
        BUFFER_WRITE_BYTE: out_bytes,
        BUS_BYTE: in_bytes + out_bytes,
        DIGITAL_OP: work,
        DIGITAL_MAC: macs * digital + corrected,
    }
    n_vectors = layer.positions * segments.count
    return Recipe(n_vectors, stages, scaled(per_segment, n_vectors))


@flow.register(BasisMvm)
class BasisMvmFlow(LayerFlow[BasisMvm]):
    """Let every segment of a position need its inputs, and only the last one let them go."""

    spreads = True

    def reach(self, index: int) -> Reach:
        count, of_position = self.operation.segments.count, super().reach(index)
        frees = np.repeat(np.concatenate([[0], of_position.frees[:-1]]), count)
        frees[count - 1 :: count] = of_position.frees
        return Reach(np.repeat(of_position.needs, count), frees)


def _crossbars(operation: BasisMvm, lane: Lanes, hw: Hardware) -> tuple[Step, ...]:
    """Return the steps on copies of the basis; with analog sums shared columns are connected slot after slot."""
    layer, segments = operation.layer, operation.segments
    settle: Time = 0
    if operation.basis.sum == "analog" and segments.slots:
        slots = np.array(segments.slots, np.int64) * hw.cycles(hw.crossbar.evaluate_ns)
        settle = int(slots[0]) if len(set(segments.slots)) == 1 else np.tile(slots, layer.positions)
    columns = math.ceil(_masks(operation, segments.kernels)) * hw.weight_columns(operation.basis.basis_bits)
    on_each = -(-columns // operation.region.crossbars)
    work = [(_phases(operation, hw), on_each)] * operation.region.crossbars
    return array_steps(f"basis {lane.key}", operation.region, work, hw, settle)


def _kernels(operation: BasisMvm) -> float:
    """Return the kernels of one segment, on average: where groups share segments, the last one may hold fewer."""
    return operation.layer.channels * operation.segments.terms / operation.segments.count


def _masks(operation: BasisMvm, kernels: float) -> float:
    """Return the sums converted for one segment: one of each kernel and bit plane, or of each basis vector."""
    return kernels * operation.segments.masks if operation.basis.sum == "analog" else operation.basis.vectors


def _phases(operation: BasisMvm, hw: Hardware) -> int:
    return hw.input_phases(operation.layer.input_quant.bits, operation.segments.rows)


def _rows(operation: BasisMvm) -> float:
    """Return the inputs of one segment, on average."""
    return operation.layer.rows * operation.layer.groups / operation.segments.count


def _read_actions(operation: BasisMvm, hw: Hardware) -> Actions:
    """Return the actions of one segment on a copy of the basis."""
    basis, segments, rows = operation.basis, operation.segments, _rows(operation)
    digits = -(-operation.layer.input_quant.bits // hw.crossbar.dac_bits)
    analog = basis.sum == "analog"
    drives = float(np.mean(segments.slots)) if analog and segments.slots else 1.0  # the rows, again in each slot
    kernels, per_element = _kernels(operation), hw.weight_columns(basis.basis_bits)
    connected = segments.selected * kernels / segments.kernels if analog else basis.vectors
    conversions = _phases(operation, hw) * _masks(operation, kernels) * per_element
    return {
        INPUT_REGISTER_BYTE: n_bytes(operation.layer, rows),
        DAC_DRIVE: digits * rows * drives,
        ARRAY_READ: digits * rows * per_element * connected,
        SAMPLE_HOLD_HOLD: conversions,
        ADC_CONVERT: conversions,
        SHIFT_ADD_ADD: conversions,
        OUTPUT_REGISTER_BYTE: _masks(operation, kernels) * partial_bytes(operation.layer, hw),
    }
