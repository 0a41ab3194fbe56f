"""Does training help, always the same way, after an interruption too, and does the contest term free time slots?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from imcsim.mapping.basis.digital import answers, combined
from imcsim.mapping.basis.fit import FitOptions, fit_basis
from imcsim.mapping.basis.fitted import FittedBasis, load_fitted
from imcsim.mapping.plan import Basis
from imcsim.mapping.schemes.masks import schedule
from imcsim.training.basis.options import BasisTrainOptions
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset, load_dataset
from imcsim.workload.quantise import quantise
from imcsim.workload.quantised import load_quantised
from tests.conftest import Outcome

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

from imcsim.training.basis.contest import Contest, choose_anew  # noqa: E402
from imcsim.training.basis.train import train  # noqa: E402
from imcsim.training.images import augmented, split  # noqa: E402

OPTIONS = BasisTrainOptions(epochs=6, batch=50, rate=2e-2, validation=0.2)
CHANNELS, CLASSES, N_TRAIN = (16, 32), 10, 1200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write digits, and a small network that was trained on them: float, quantised, and on a basis of a few vectors."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("digits")
    digits = datasets.load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    for name, part in (("train", slice(0, N_TRAIN)), ("test", slice(N_TRAIN, None))):
        np.savez(folder / f"{name}.npz", images=images[part], labels=digits.target[part])
    onnx.save(exported(trained_network(images[:N_TRAIN], digits.target[:N_TRAIN])), folder / "float.onnx")
    quantise(folder / "float.onnx", folder / "train.npz", folder / "int8.onnx", images=200)
    options = FitOptions(vectors=32, length=32, nonzeros=4, coeff_bits=3, init="svd", rounds=2)
    fit_basis(folder / "int8.onnx", options).write(folder / "basis.safetensors")
    return folder


def trained_network(images: np.ndarray, labels: np.ndarray) -> Any:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, CHANNELS[0], 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(CHANNELS[1], CLASSES),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(12):
        for part in torch.randperm(len(x)).split(50):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[part]), y[part]).backward()
            optimiser.step()
    return network


def exported(network: Any) -> onnx.ModelProto:
    weights = [network[i].state_dict()[key].numpy() for i in (0, 2, 6) for key in ("weight", "bias")]
    names = [f"{layer}.{key}" for layer in ("conv1", "conv2", "fc") for key in ("weight", "bias")]
    nodes = [
        helper.make_node("Conv", ["image", *names[:2]], ["c1"], name="conv1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", *names[2:4]], ["c2"], name="conv2", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", *names[4:]], ["scores"], name="fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 1, 8, 8))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", CLASSES))],
        [numpy_helper.from_array(weight, name) for name, weight in zip(names, weights, strict=True)],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def images(folder: Path, part: str = "train") -> Dataset:
    return load_dataset(folder / f"{part}.npz")


def trained(folder: Path, place: Path, progress: Any = lambda *_: None, **options: Any) -> FittedBasis:
    before = load_fitted(folder / "basis.safetensors")
    return train(folder / "int8.onnx", before, images(folder), replace(OPTIONS, **options), place, progress)


def accuracy(folder: Path, basis: FittedBasis) -> float:
    network, data = load_quantised(folder / "int8.onnx"), images(folder, "test")
    return answers(network, data, network.pixels(data), combined(basis)) / len(data.labels)


def arrays(basis: FittedBasis) -> list[np.ndarray]:
    return [basis.elements, *(a for layer in basis.layers.values() for a in (layer.values, layer.scale, layer.bias))]


def test_training_wins_back_accuracy(folder: Path, tmp_path: Path) -> None:
    before, after = load_fitted(folder / "basis.safetensors"), trained(folder, tmp_path / "unfinished")
    assert accuracy(folder, after) > accuracy(folder, before) + 0.1
    assert len(after.made_on["training"]["epochs"]) == OPTIONS.epochs


def test_what_is_trained_fits_its_own_sizes(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path / "unfinished", epochs=12, rate=0.03, contest=1.0).write(tmp_path / "t.safetensors")
    after = load_fitted(tmp_path / "t.safetensors")  # which checks bits and nonzeros
    before = load_fitted(folder / "basis.safetensors")
    assert (after.nonzeros, after.coeff_bits, after.resident) == (before.nonzeros, before.coeff_bits, before.resident)
    pairs = zip(after.layers.values(), before.layers.values(), strict=True)
    assert any(((new.values != 0) & (old.values == 0)).any() for new, old in pairs)  # supports were chosen anew


def test_same_seed_same_result_and_another_seed_another(folder: Path, tmp_path: Path) -> None:
    first, again = (trained(folder, tmp_path / f"u{i}", epochs=1, noise_frac=0.02) for i in range(2))
    other = trained(folder, tmp_path / "u2", epochs=1, noise_frac=0.02, seed=1)
    for one, two in zip(arrays(first), arrays(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(arrays(first), arrays(other), strict=True))


def test_an_interrupted_training_goes_on_to_the_same_result(folder: Path, tmp_path: Path) -> None:
    uninterrupted = trained(folder, tmp_path / "whole")
    seen: list[str] = []

    def interrupt(done: int, total: int, step: str) -> None:
        seen.append(step)
        if done == total // 2:  # at the beginning of the fourth of six epochs
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(folder, tmp_path / "half", interrupt)
    seen.clear()
    resumed = trained(folder, tmp_path / "half", lambda done, total, step: seen.append(step))
    assert seen[0].startswith("epoch 4 of 6")
    for one, two in zip(arrays(uninterrupted), arrays(resumed), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_unfinished_training_of_other_options_is_not_gone_on_with(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path / "unfinished", epochs=1)
    with pytest.raises(ImcsimError, match="holds another unfinished training"):
        trained(folder, tmp_path / "unfinished", epochs=2)
    (tmp_path / "broken").write_bytes(b"no checkpoint")
    with pytest.raises(ImcsimError, match="is no readable unfinished training"):
        trained(folder, tmp_path / "broken")


def slots(basis: FittedBasis) -> int:
    """Return the time slots of all layers."""
    sizes = (len(basis.elements), basis.elements.shape[1], basis.nonzeros, basis.coeff_bits, basis.basis_bits)
    plan = Basis(*sizes, "exclusive", "digital", OPTIONS.lines, "synthetic")
    return sum(sum(schedule(layer.values, plan, "first_fit").needed) for layer in basis.layers.values())


def test_the_contest_term_frees_time_slots(folder: Path, tmp_path: Path) -> None:
    """It takes fewer slots at the same accuracy."""
    plain = trained(folder, tmp_path / "plain", epochs=12)
    spread = trained(folder, tmp_path / "spread", epochs=12, contest=10.0)
    assert slots(spread) < 0.9 * slots(plain)
    assert accuracy(folder, spread) > accuracy(folder, plain) - 0.04


def layer_of(values: np.ndarray) -> Any:
    """Return the coefficients of a layer, as far as the contest looks at them."""
    from imcsim.training.basis.parameters import CombinedLayer

    layer = CombinedLayer.__new__(CombinedLayer)
    torch.nn.Module.__init__(layer)
    layer.levels, layer.width = torch.arange(8.0), values.shape[2]
    layer.coefficients = torch.nn.Parameter(torch.tensor(values, dtype=torch.float32))
    layer.register_buffer("chosen", layer.coefficients.detach() != 0)
    return layer


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_the_contest_term_is_the_mean_overlap_of_pairs(seed: int, together: int) -> None:
    values = np.random.default_rng(seed).integers(-7, 8, (2, 6, 7))
    term = Contest(1.5, together).term([layer_of(values)]).item()
    pairs = [(s, i, j) for s in range(2) for i in range(7) for j in range(i) if i // together == j // together]
    overlap = [np.abs(values[s, :, i] / 7 * values[s, :, j] / 7).sum() for s, i, j in pairs]
    assert term == pytest.approx(1.5 * np.mean(overlap), rel=1e-5)


def test_pressure_is_the_gradient_of_the_contest_term() -> None:
    values = np.random.default_rng(0).integers(1, 8, (2, 6, 7))
    layer, contest = layer_of(values), Contest(2.0, 3)
    contest.term([layer]).backward()
    np.testing.assert_allclose(contest.pressure([layer])[0].numpy(), layer.coefficients.grad.numpy(), rtol=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_supports_keep_what_is_not_0_and_grow_where_the_loss_pulls_most(seed: int, nonzeros: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-7, 8, (2, 9, 4)) * (rng.random((2, 9, 4)).argsort(axis=1) < nonzeros)
    layer, pull = layer_of(values), torch.tensor(rng.standard_normal((2, 9, 4)), dtype=torch.float32)
    choose_anew(layer, nonzeros, pull, torch.zeros(2, 9, 4))
    chosen, after = layer.chosen.numpy(), layer.coefficients.detach().numpy()
    assert (chosen.sum(axis=1) == nonzeros).all()
    grown, left = chosen & (values == 0), ~chosen
    np.testing.assert_array_equal(after, values)
    most_left = np.where(left, np.abs(pull.numpy()), 0).max(axis=1)
    least_grown = np.where(grown, np.abs(pull.numpy()), np.inf).min(axis=1)
    assert (least_grown >= most_left).all()


def test_no_coefficient_grows_against_the_contest() -> None:
    values = np.zeros((1, 4, 2))
    values[0, :2, 0] = 3
    layer = layer_of(values)
    pressure = torch.zeros(1, 4, 2)
    pressure[0, :2, 1] = 5.0
    choose_anew(layer, 4, torch.ones(1, 4, 2), pressure)
    np.testing.assert_array_equal(layer.chosen[0, :, 1].numpy(), [False, False, True, True])


def test_images_are_flipped_and_shifted_by_chance() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(1, 255, (200, 3, 8, 8)).astype(np.uint8)
    flipped = augmented(given, ["flip"], rng)
    same = (flipped == given).all(axis=(1, 2, 3))
    assert 60 < same.sum() < 140
    np.testing.assert_array_equal(flipped[~same], given[~same][..., ::-1])
    shifted = augmented(given, ["shift"], rng)
    assert shifted.shape == given.shape
    unmoved = (shifted[:, :, 1:-1, 1:-1] == given[:, :, 1:-1, 1:-1]).all(axis=(1, 2, 3))
    assert 5 < unmoved.sum() < 45  # one of nine shifts leaves an image where it was
    down = np.where((shifted[:, :, 1:] == given[:, :, :-1]).all(axis=(1, 2, 3)))[0]
    assert len(down)
    assert not shifted[down, :, 0].any()


def test_the_split_is_of_the_seed_and_loses_no_image(folder: Path) -> None:
    data = images(folder)
    parts = split(data, OPTIONS)
    assert [len(part.labels) for part in parts] == [960, 240]
    assert sum(part.images.sum() for part in parts) == pytest.approx(data.images.sum(), rel=1e-4)
    again = split(data, OPTIONS)[1]
    np.testing.assert_array_equal(parts[1].images, again.images)


def test_the_command_trains_tests_once_and_leaves_no_checkpoint(
    folder: Path, imcsim: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = tmp_path / "trained.safetensors"
    words = [str(folder / name) for name in ("int8.onnx", "basis.safetensors")]
    outcome = imcsim(
        "basis", "train", *words, "--data", str(folder / "train.npz"), "--test", str(folder / "test.npz"),
        "--epochs", "1", "--batch", "50", "--augment", "shift", "-o", str(out),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "% of the validation images" in outcome.out
    assert "8-bit network" in outcome.out
    assert [path.name for path in tmp_path.iterdir()] == ["trained.safetensors"]


@pytest.mark.parametrize(("words", "problem"), [
    (["--epochs", "0"], "--epochs: 0 is not from 1 to"),
    (["--rate", "7"], "--rate: 7.0 is not from"),
    (["--augment", "flop"], "there is no 'flop'"),
    (["--contest", "1", "--lines", "1"], "--contest: 4 of 32 vectors leave no room"),
    (["--validation", "0"], "--validation: no image is left"),
    (["--mean", "1,2"], "2 numbers for images of 1 channels"),
])  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(
    words: list[str], problem: str, folder: Path, imcsim: Callable[..., Outcome], tmp_path: Path
) -> None:
    given = [str(folder / name) for name in ("int8.onnx", "basis.safetensors")]
    outcome = imcsim("basis", "train", *given, "--data", str(folder / "train.npz"), "-o", str(tmp_path / "t.s"), *words)
    assert outcome.code == 2
    assert problem in outcome.err
    assert not list(tmp_path.glob("t.s*"))


def test_a_loss_that_is_no_number_ends_the_training(folder: Path, tmp_path: Path) -> None:
    before = load_fitted(folder / "basis.safetensors")
    layers = {name: replace(layer, scale=np.full_like(layer.scale, 3e38)) for name, layer in before.layers.items()}
    with pytest.raises(ImcsimError, match="--rate: the loss is no number any more in epoch 1"):
        train(folder / "int8.onnx", replace(before, layers=layers), images(folder), OPTIONS, tmp_path / "u")


def test_a_training_that_only_harms_keeps_what_it_was_given(folder: Path, tmp_path: Path) -> None:
    before = load_fitted(folder / "basis.safetensors")
    after = trained(folder, tmp_path / "u", epochs=1, rate=1.0)
    assert after.made_on["training"]["epochs"][0]["accuracy_frac"] < 0.3
    np.testing.assert_array_equal(after.elements, before.elements)


def test_places_and_test_images_are_checked_before_the_training(
    folder: Path, imcsim: Callable[..., Outcome], tmp_path: Path
) -> None:
    words = ["basis", "train", *(str(folder / name) for name in ("int8.onnx", "basis.safetensors"))]
    words += ["--data", str(folder / "train.npz")]
    outcome = imcsim(*words, "-o", str(tmp_path))
    assert (outcome.code, "is a directory, not a file" in outcome.err) == (2, True)
    np.savez(tmp_path / "wide.npz", images=np.zeros((3, 1, 9, 9), np.float32), labels=np.zeros(3, int))
    outcome = imcsim(*words, "-o", str(tmp_path / "t.safetensors"), "--test", str(tmp_path / "wide.npz"))
    assert (outcome.code, "takes images of 1 x 8 x 8" in outcome.err) == (2, True)
    assert not list(tmp_path.glob("t.*"))


def test_images_and_labels_of_other_networks_are_refused(folder: Path, tmp_path: Path) -> None:
    before, model = load_fitted(folder / "basis.safetensors"), folder / "int8.onnx"
    wide = Dataset("wide", np.zeros((9, 1, 9, 9), np.float32), np.zeros(9, np.int64))
    with pytest.raises(ImcsimError, match="takes images of 1 x 8 x 8"):
        train(model, before, wide, OPTIONS, tmp_path / "u")
    many = Dataset("many", np.zeros((9, 1, 8, 8), np.float32), np.arange(9) + 9)
    with pytest.raises(ImcsimError, match="has labels up to 17, the network has 10 classes"):
        train(model, before, many, OPTIONS, tmp_path / "u")
