"""Networks as layers and as integers, and the images that they see.

The names below are promised to authors of schemes and networks (docs/extend.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imcsim.util.faces import lazy

if TYPE_CHECKING:
    from imcsim.workload.layers import (
        Activation,
        Concat,
        Conv,
        Elementwise,
        GlobalPool,
        Input,
        Layer,
        Linear,
        MatMul,
        Normalisation,
        Pool,
        Quantisation,
        Reduce,
        Reshape,
        Slice,
        Softmax,
        Unknown,
        View,
        WeightedLayer,
        Window,
        n_macs,
        n_weights,
    )
    from imcsim.workload.workload import Workload, load_workload, save_workload

__all__ = [
    "Activation", "Concat", "Conv", "Elementwise", "GlobalPool", "Input", "Layer", "Linear", "MatMul", "Normalisation",
    "Pool", "Quantisation", "Reduce", "Reshape", "Slice", "Softmax", "Unknown", "View", "WeightedLayer", "Window",
    "Workload", "load_workload", "n_macs", "n_weights", "save_workload",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "layers": "Activation Concat Conv Elementwise GlobalPool Input Layer Linear MatMul Normalisation Pool "
            "Quantisation Reduce Reshape Slice Softmax Unknown View WeightedLayer Window n_macs n_weights",
            "workload": "Workload load_workload save_workload",
        },
    )
