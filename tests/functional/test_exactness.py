"""Do whole networks on ideal crossbars give the integers of their library, layer by layer, on a hundred images?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imcsim.hardware.hardware import load_hardware
from imcsim.workload.datasets import load_dataset
from imcsim.workload.quantised import load_quantised
from tests.functional.test_arrays import IDEAL
from tests.support.crossbars import arrays_of
from tests.workload.test_quantised import RESNET20

MODELS = Path(__file__).parents[2] / "workloads" / "models"


def clothes() -> np.ndarray:
    return load_dataset(MODELS / "fashion_mnist_1000.npz").first(100).scaled()


def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (100, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("basis", [False, True], ids=["own crossbars", "hadamard basis"])
@pytest.mark.parametrize(
    ("model", "images"), [(MODELS / "resnet8_fashion.onnx", clothes), (RESNET20, pixels)], ids=["fashion", "cifar"]
)
def test_every_layer_is_exact(model: Path, images: Callable[[], np.ndarray], basis: bool) -> None:
    if not model.is_file():
        pytest.skip(f"{model.name} is not here")
    network, x = load_quantised(model), images()
    assert len(x) == 100
    arrays = arrays_of(network.layers, load_hardware("rram-256", {"tile.adc.bits": 9}), IDEAL, basis=basis)
    exact = dict(network.steps(x))
    for name, found in network.steps(x, arrays):
        np.testing.assert_array_equal(found, exact[name], err_msg=name)
