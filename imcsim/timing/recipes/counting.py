"""Count the element-wise operations of a layer: one per element and input unless said otherwise."""

from __future__ import annotations

import math

from imcsim.mapping.plan import Compute
from imcsim.workload.workload import (
    Concat,
    Conv,
    GlobalPool,
    Layer,
    Linear,
    MatMul,
    Normalisation,
    Pool,
    Reshape,
    Slice,
    Softmax,
    Unknown,
)

NORMALISATION = {"layer": 5, "lrn": 5, "rms": 4, "batch": 2}  # per element, by function
SOFTMAX = 3  # per element: exponential, sum, division


def digital_operations(layer: Layer, inputs: list[Layer]) -> float:
    """Return the element-wise operations of a layer for one image."""
    match layer:
        case Pool():
            return layer.elements * math.prod(layer.window.kernel)
        case GlobalPool():
            return inputs[0].elements
        case Normalisation():
            return layer.elements * NORMALISATION.get(layer.function, 2)
        case Softmax():
            return layer.elements * SOFTMAX
        case Concat() | Reshape() | Slice() | Unknown():
            return 0
        case Conv() | Linear() | MatMul():
            return layer.elements  # requantisation of each result
    return layer.elements * len(inputs)


def absorbed_operations(operation: Compute) -> float:
    """Return the operations of one image for the element-wise layers that an operation does on its outputs."""
    return sum(digital_operations(other, [operation.layer]) for other in operation.absorbed)
