"""Write a trained network for other uses: its cells in one file, and the weights of these as an ONNX model."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from imcsim.training.hic.layers import HybridLayer, hybrid_layers
from imcsim.training.hic.train import Trained
from imcsim.training.hic.weights import ARRAYS
from imcsim.util.errors import ImcsimError
from imcsim.util.files import new_file
from imcsim.util.version import VERSION

OPSET = 17


def save_cells(trained: Trained, path: Path) -> None:
    """Write all arrays of all cells (see ``weights.HybridWeights``), each as LAYER.ARRAY, to a safetensors file.

    The metadata hold the version, the simulated time in s at the end of the training, options, and the weight per uS
    of each layer.
    """
    arrays = {
        f"{layer.name}.{name}": np.ascontiguousarray(getattr(layer.cells, name))
        for layer in trained.layers
        for name in ARRAYS
    }
    scales = {layer.name: layer.cells.scale for layer in trained.layers}
    about: Mapping[str, object] = {
        "version": VERSION,
        "now_s": trained.now_s,
        "updates": trained.updates,
        "weight_per_usiemens": scales,
        "options": asdict(trained.options),
        "shapes": {layer.name: layer.cells.shape for layer in trained.layers},
    }
    with new_file(path) as partial:
        save_file(arrays, partial, {"imcsim": json.dumps(about)})


def plain(network: nn.Module) -> nn.Module:
    """Return a copy with ordinary layers, whose weights are what the cells hold, without drift and noise."""
    result = copy.deepcopy(network)
    for layer in hybrid_layers(result):
        parent, _, leaf = layer.name.rpartition(".")
        setattr(result.get_submodule(parent), leaf, _plain(layer))
    return result.eval()


def _plain(layer: HybridLayer) -> nn.Module:
    cells, bias = layer.cells, layer.bias is not None
    weight = np.float32(cells.scale) * (cells.g[0] - cells.g[1]).reshape(cells.shape)
    outputs, inputs = cells.shape[:2]
    module: nn.Module = nn.Linear(inputs, outputs, bias=bias)
    if layer.geometry:
        size: Any = cells.shape[2:]
        module = nn.Conv2d(inputs * layer.groups, outputs, size, groups=layer.groups, bias=bias, **layer.geometry)
    state = {"weight": torch.from_numpy(weight)}
    if layer.bias is not None:
        state["bias"] = layer.bias.detach()
    module.load_state_dict(state)
    return module


def save_onnx(network: nn.Module, image_shape: tuple[int, ...], path: Path) -> None:
    """Write the network, from one image of (channels, height, width), as an ONNX model of 32-bit numbers.

    Raises ImcsimError for operators that ONNX does not have.
    """
    with new_file(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the newer exporter needs a package more
        try:
            torch.onnx.export(
                plain(network),
                (torch.zeros(1, *image_shape),),
                str(partial),
                dynamo=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["scores"],
            )
        except torch.onnx.errors.OnnxExporterError as error:
            problem = f"cannot be written as ONNX, by which it is priced ({str(error).splitlines()[0]})"
            hint = "adaptive pooling wants sizes that divide; small_cnn takes 28x28 or 32x32"
            raise ImcsimError("--network", problem, hint) from None


def order_of(network: nn.Module, image_shape: tuple[int, ...]) -> list[str]:
    """Return the names of the layers with weights, in the order in which they are executed."""
    order: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: order.append(name))
        for name, module in network.named_modules()
        if isinstance(module, HybridLayer | nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        network.eval()(torch.zeros(2, *image_shape))
    for hook in hooks:
        hook.remove()
    return order
