"""Find the weighted layers of a quantised TensorFlow Lite model, int8 and uint8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers.tflite_model import (
    CONV,
    DEPTHWISE,
    DTYPES,
    LINEAR,
    WEIGHTED,
    Array,
    Operator,
    Tensor,
    TfliteModel,
)
from imcsim.workload.quantised.graph import Site
from imcsim.workload.quantised.layers import Format, IntegerLayer, Sliding
from imcsim.workload.quantised.requantisation import Integers, fixed_point, float64_half_away, half_away

HINT = "quantise it to int8: tf.lite.Optimize.DEFAULT with a representative_dataset, and int8 operators only"
LIMITS = {"NONE": (), "RELU": (0.0,), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}  # of the real output


class TfliteReader:
    """Find the weighted layers of a model in execution order. Raises ImcsimError naming the operator."""

    def __init__(self, model: TfliteModel) -> None:
        self.model = model

    def sites(self) -> list[Site]:
        """Return all weighted layers; a model without any is refused."""
        sites = [self._site(operator) for operator in self.model.operators if self._has_weights(operator)]
        if not sites:
            hint = f"give a network with one of {', '.join(WEIGHTED)}"
            raise ImcsimError(self.model.where, "the model has no layer with weights", hint)
        return sites

    def _has_weights(self, operator: Operator) -> bool:
        """Say whether an operator has weights; float ones may come from an operator that widens them."""
        if operator.kind not in WEIGHTED:
            return False
        weights = self.model.tensors[operator.inputs[1]]
        return weights.constant is not None or weights.kind.startswith("FLOAT")

    def _site(self, operator: Operator) -> Site:
        x, weights, y = (self.model.tensors[n] for n in (*operator.inputs[:2], operator.outputs[0]))
        self._check(operator, x, weights, y)
        assert weights.constant is not None
        stored = _by_channel(operator, weights.constant).astype(np.int64)
        channels = len(stored)
        entry, result = _format(x), _format(y)
        floor, ceiling = self._limits(operator, result)
        layer = IntegerLayer(
            operator.name,
            (stored - weights.zero.reshape(-1, *(1,) * (stored.ndim - 1))).reshape(channels, -1),
            self._bias(operator, channels),
            1 if operator.kind == LINEAR else x.shape[-1] // stored.shape[1],
            entry,
            np.broadcast_to(_scale(operator, x, weights), channels),
            result,
            floor,
            None if operator.kind == LINEAR else Sliding(**operator.window(x.shape[1:3], stored.shape[2:])),
            ceiling,
            float64_half_away if operator.kind == LINEAR else fixed_point,
        )
        return Site(layer, operator.inputs[0], operator.outputs[0])

    def _check(self, operator: Operator, x: Tensor, weights: Tensor, y: Tensor) -> None:
        kinds = {tensor.kind for tensor in (x, weights, y)}
        if len(kinds) > 1 or not kinds <= {"INT8", "UINT8"}:
            stated = f"input {x.kind}, weights {weights.kind}, output {y.kind}"
            raise self.model.error(operator, f"is not quantised to INT8 or UINT8 throughout ({stated})", HINT)
        if len(x.scale) != 1 or len(y.scale) != 1 or not len(weights.scale):
            raise self.model.error(operator, "its input, weights or output state no scale", HINT)
        if x.constant is not None or x.shape[0] != 1:
            hint = "convert it with a batch of 1"
            raise self.model.error(operator, f"its input of shape {x.shape} is no activation of one image", hint)
        if operator.kind == LINEAR and np.prod(x.shape) != weights.shape[-1]:
            hint = "only one vector per image is supported"
            raise self.model.error(operator, f"its input of shape {x.shape} holds several vectors", hint)
        symmetric = x.kind == "INT8" and (operator.kind != LINEAR or len(weights.scale) > 1)
        if symmetric and weights.zero.any():  # which the kernels take for granted
            raise self.model.error(operator, "its int8 weights have a zero point", HINT)

    def _bias(self, operator: Operator, channels: int) -> Integers:
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return np.zeros(channels, np.int64)
        bias = self.model.tensors[operator.inputs[2]]
        if bias.constant is None or bias.kind != "INT32":
            raise self.model.error(operator, f"its bias of kind {bias.kind} must be constant INT32", HINT)
        return bias.constant.astype(np.int64)

    def _limits(self, operator: Operator, result: Format) -> tuple[int | None, int | None]:
        """Return the least and greatest integer that the fused activation lets through."""
        if operator.activation not in LIMITS:
            raise self.model.error(operator, f"its fused {operator.activation} cuts nothing off", "convert it unfused")
        limits = np.array(LIMITS[operator.activation], np.float32) / np.float32(result.scale)
        floor, ceiling = (*(half_away(limits) + result.zero).tolist(), None, None)[:2]
        return floor, ceiling


def _by_channel(operator: Operator, stored: Array) -> Array:
    """Return weights as (channels, channels of one group, *kernel), or (channels, rows)."""
    if operator.kind == CONV:
        return np.moveaxis(stored, -1, 1)
    if operator.kind == DEPTHWISE:
        return np.moveaxis(stored, -1, 0)
    return stored


def _format(tensor: Tensor) -> Format:
    return Format(float(tensor.scale[0]), int(tensor.zero[0]), np.dtype(DTYPES[tensor.kind]))


def _scale(operator: Operator, x: Tensor, weights: Tensor) -> NDArray[np.float64]:
    """Return s_in s_w; the uint8 convolutions multiply these two as float32."""
    if x.kind == "UINT8" and operator.kind != LINEAR:
        return (x.scale * weights.scale).astype(np.float64)
    return x.scale.astype(np.float64) * weights.scale
