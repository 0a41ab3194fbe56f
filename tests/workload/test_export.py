"""Do exported weights and samples give the sums of the network again?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from imcsim.workload.workload import load_tensors, load_workload
from tests.conftest import Outcome

MODELS = Path(__file__).parents[2] / "workloads" / "models"


def test_sums_follow_from_weights_and_inputs(imcsim: Callable[..., Outcome], tmp_path: Path) -> None:
    words = ["--data", str(MODELS / "fashion_mnist_1000.npz"), "--images", "2"]
    trace = tmp_path / "net.json"
    assert imcsim("export", str(MODELS / "resnet8_fashion.onnx"), "-o", str(trace), *words).code == 0
    workload = load_workload(trace)
    arrays = load_tensors(workload)
    for layer in workload.weighted:
        weight, inputs = (arrays[f"{layer.name}.{name}"].astype(np.int64) for name in ("weight", "input"))
        sums = inputs[:, :, 0] @ weight.T + arrays[f"{layer.name}.bias_sums"]
        np.testing.assert_array_equal(sums, arrays[f"{layer.name}.sums"], err_msg=layer.name)
        assert inputs.shape == (2, layer.positions, 1, layer.rows)


def test_weights_alone_need_no_data(imcsim: Callable[..., Outcome], tmp_path: Path) -> None:
    trace = tmp_path / "net.json"
    assert imcsim("export", str(MODELS / "resnet8_fashion.onnx"), "-o", str(trace), "--weights").code == 0
    kinds = {name.rsplit(".", 1)[1] for name in load_tensors(load_workload(trace))}
    assert kinds == {"weight", "bias_sums", "scale"}
