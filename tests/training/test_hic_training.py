"""Does a network learn on cells, the same after an interruption, and as plain integers where cells are ideal?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.training.hic.options import HybridOptions, TrainOptions
from imcsim.training.hic.physics import LEVEL_USIEMENS, Physics
from imcsim.training.kernels import hybrid_reference as reference
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

from torch import nn  # noqa: E402

from imcsim.training.hic.ageing import AgeingOptions, ageing, some  # noqa: E402
from imcsim.training.hic.layers import HybridLayer, convert, hybrid_layers  # noqa: E402
from imcsim.training.hic.pulse_trains import outer, pulses, scale_of  # noqa: E402
from imcsim.training.hic.runs import TrainingRun, choose_rate, execute  # noqa: E402
from imcsim.training.hic.train import Trained, accuracy, train, warnings  # noqa: E402
from imcsim.training.images import changed  # noqa: E402
from imcsim.training.networks import NETWORKS, mlp, resnet8, resnet32, small_cnn  # noqa: E402
from imcsim.training.tasks import Task  # noqa: E402

IDEAL = Physics(nonlinear=False, write_noise=False, read_noise=False, drift="none")
N_TRAIN, FIVE_SIGMA = 1200, 5.0
OPTIONS = TrainOptions(epochs=6, batch=50, rate=1.0, validation=0.1)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    """Return 1,200 images to train on, and 597 for the test."""
    loaded = datasets.load_digits()
    images, labels = (loaded.images[:, None] / 16).astype(np.float32), loaded.target.astype(np.int64)
    return Dataset("digits", images[:N_TRAIN], labels[:N_TRAIN]), Dataset("test", images[N_TRAIN:], labels[N_TRAIN:])


def network(width: float = 1.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = mlp(1, 10, width).eval()
    model(torch.zeros(1, 1, 8, 8))  # which gives the lazy layer its weights
    return model


@pytest.fixture(scope="module")
def trained(digits: tuple[Dataset, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(network(), digits[0], OPTIONS, tmp_path_factory.mktemp("run") / "unfinished.pt")


def test_a_network_learns_on_cells(trained: Trained, digits: tuple[Dataset, Dataset]) -> None:
    assert trained.history[-1].loss < 0.3 * trained.history[0].loss
    assert accuracy(trained.network, digits[1], OPTIONS) > 0.85
    assert all(layer.cells.tally.updates == trained.updates for layer in trained.layers)
    assert trained.history[0].carries_per_weight > 0.1
    assert not warnings(trained)


def state_of(trained: Trained) -> list[np.ndarray]:
    """Return all but what the last read showed."""
    cells = [array for layer in trained.layers for array in (layer.cells.g, layer.cells.value, layer.cells.bit_set)]
    reads = {f"{layer.name}.weight" for layer in trained.layers}
    return [*cells, *(value.numpy() for name, value in trained.network.state_dict().items() if name not in reads)]


def test_same_seed_same_network_other_seed_another(
    trained: Trained, digits: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    again = train(network(), digits[0], OPTIONS, tmp_path / "a.pt")
    assert all((a == b).all() for a, b in zip(state_of(trained), state_of(again), strict=True))
    other = train(network(), digits[0], replace(OPTIONS, seed=1), tmp_path / "b.pt")
    assert not (state_of(other)[0] == state_of(trained)[0]).all()


class Interruption(Exception):  # noqa: N818
    pass


def test_an_interrupted_training_loses_one_epoch_at_most(
    trained: Trained, digits: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    steps: list[int] = []

    def stop(done: int, total: int, step: str) -> None:
        steps.append(done)
        if len(steps) == 60:
            raise Interruption

    unfinished = tmp_path / "unfinished.pt"
    with pytest.raises(Interruption):
        train(network(), digits[0], OPTIONS, unfinished, stop)
    per_epoch = trained.updates // OPTIONS.epochs
    resumed: list[int] = []
    again = train(network(), digits[0], OPTIONS, unfinished, lambda done, total, step: resumed.append(done))
    assert resumed[0] == 59 // per_epoch * per_epoch
    assert all((a == b).all() for a, b in zip(state_of(trained), state_of(again), strict=True))
    assert again.history == trained.history


def test_an_unfinished_training_of_another_network_is_refused(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    unfinished, short = tmp_path / "unfinished.pt", replace(OPTIONS, epochs=1)
    train(network(), digits[0], short, unfinished)
    for other, options in ((network(2.0), short), (network(), replace(short, rate=0.2))):
        with pytest.raises(ImcsimError, match="holds another unfinished training"):
            train(other, digits[0], options, unfinished)
    kept = unfinished.read_bytes()
    unfinished.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(ImcsimError, match="is no readable unfinished training"):
        train(network(), digits[0], short, unfinished)


def test_an_interrupted_write_leaves_the_checkpoint_before(
    digits: tuple[Dataset, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished, save = tmp_path / "unfinished.pt", torch.save

    def broken(content: Any, file: Any) -> None:
        if content["epoch"] == 2:
            file.write(b"half of it")
            raise KeyboardInterrupt
        save(content, file)

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        train(network(), digits[0], OPTIONS, unfinished)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [unfinished]
    assert torch.load(unfinished, weights_only=True)["epoch"] == 1
    monkeypatch.setitem(train.__globals__, "VERSION", "another")
    with pytest.raises(ImcsimError, match="or one of another version"):
        train(network(), digits[0], OPTIONS, unfinished)


def test_dropout_and_a_last_batch_of_one_image(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    data = Dataset("some", digits[0].images[:112], digits[0].labels[:112])
    options = replace(OPTIONS, epochs=2, batch=25)  # 101 images to train on, 11 for validation
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Dropout(0.5), nn.Linear(20, 10))
    one, two = (train(model, data, options, tmp_path / f"{n}.pt") for n in range(2))
    assert one.updates == 2 * 4
    assert all((a == b).all() for a, b in zip(state_of(one), state_of(two), strict=True))
    with pytest.raises(ImcsimError, match="--network: does not take a batch of 1 images"):
        train(model, data, replace(options, batch=1), tmp_path / "alone.pt")


# -- ideal cells are integers ------------------------------------------------------------------------------------------


class Integers:
    """Stand in for cells: whole levels up and down, and a whole accumulator, in plain numpy."""

    def __init__(self, cells: Any) -> None:
        self.cells, self.updates = cells, 0
        self.up, self.down = (np.rint(cells.g[row] / LEVEL_USIEMENS).astype(int) for row in range(2))
        self.value = np.zeros(cells.size, int)

    def reader(self, now_s: float) -> Any:
        def read(number: int) -> np.ndarray:
            level = (self.up - self.down).reshape(self.cells.shape)
            return np.float32(self.cells.scale) * (LEVEL_USIEMENS * level).astype(np.float32)

        return read

    def update(self, gradient: np.ndarray, rate: float, now_s: float) -> None:
        amounts = (np.float32(-rate / self.cells.unit) * gradient).reshape(-1)
        key = self.cells._key("update", self.updates)
        self.value, carries = reference.accumulate(key, amounts, True, self.cells.options.half, self.value)
        carries = np.clip(carries, -self.cells.options.most_pulses, self.cells.options.most_pulses)
        self.up, self.down = self.up + np.maximum(carries, 0), self.down + np.maximum(-carries, 0)
        self.updates += 1


def steps(model: nn.Module, updates: dict[str, Any], images: Any, labels: Any) -> list[np.ndarray]:
    """Return the weights that were read in some steps of plain descent."""
    seen = []
    for step in range(8):
        model.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        for layer in hybrid_layers(model):
            seen.append(layer.weight.detach().numpy().copy())
            updates[layer.name].update(layer.weight.grad.numpy(), 0.2, float(step))
            layer.reader = updates[layer.name].reader(float(step))
    return seen


def test_ideal_devices_equal_descent_on_integer_accumulators_bit_for_bit(digits: tuple[Dataset, Dataset]) -> None:
    torch.set_num_threads(1)
    images, labels = torch.from_numpy(digits[0].images[:100]), torch.from_numpy(digits[0].labels[:100])
    options = HybridOptions(IDEAL, range_sigmas=3.0)
    one, two = (convert(network(), options, 4).train() for _ in range(2))
    ours = steps(one, {layer.name: layer.cells for layer in hybrid_layers(one)}, images, labels)
    plain = {layer.name: Integers(layer.cells) for layer in hybrid_layers(two)}
    for layer in hybrid_layers(two):
        layer.reader = plain[layer.name].reader(0.0)
    theirs = steps(two, plain, images, labels)
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    assert any((a != b).any() for a, b in zip(ours, ours[2:], strict=False))  # weights did move


# -- layers ------------------------------------------------------------------------------------------------------------


def close(ours: Any, theirs: Any) -> bool:
    """Compare up to what converters of 16 bits may do: half a step for each of some crossbars."""
    return bool((ours - theirs).abs().max() <= 2e-3 * theirs.abs().max())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(70, 9), nn.Conv2d(40, 6, 3, padding=1), nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 6, (3, 1), dilation=2), nn.Conv2d(4, 8, 3, groups=4),
    ],
    ids=str,
)  # fmt: skip
def test_layers_and_gradients_are_those_of_pytorch_on_ideal_cells_and_fine_converters(layer: nn.Module) -> None:
    """They are cut into many crossbars (rows 32, columns 4), with 16-bit converters."""
    torch.manual_seed(0)
    options = HybridOptions(IDEAL, rows=32, columns=4, converter_bits=16)
    on_cells = convert(nn.Sequential(layer), options, 1)[0].train()
    shape = (5, 70) if isinstance(layer, nn.Linear) else (5, layer.in_channels, 9, 8)
    x, x2 = (torch.randn(shape, generator=torch.Generator().manual_seed(3)).requires_grad_() for _ in range(2))
    y = on_cells(x)
    with torch.no_grad():
        layer.weight.copy_(on_cells.weight)
    expected = layer(x2)
    assert close(y.detach(), expected.detach())
    error = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
    y.backward(error)
    expected.backward(error)
    for ours, theirs in ((x.grad, x2.grad), (on_cells.weight.grad, layer.weight.grad)):
        assert close(ours, theirs)


def test_forward_and_backward_read_the_cells_anew() -> None:
    on_cells = convert(nn.Sequential(nn.Linear(20, 5)), HybridOptions(), 0)[0].train()
    x = torch.ones(1, 20, requires_grad=True)
    y = on_cells(x)
    first = on_cells.weight.detach().clone()
    y.sum().backward()
    assert on_cells.reads == 2
    assert float((x.grad[0] - first.sum(0)).abs().max()) > 1e-3 * float(first.abs().max())  # another read of the cells


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("width", [0.5, 1.0])
def test_shipped_networks_convert_with_one_call(name: str, width: float) -> None:
    size = {"mlp": 8, "small_cnn": 28}.get(name, 32)
    model = NETWORKS[name](3, 10, width).eval()
    model(torch.zeros(1, 3, size, size))
    on_cells = convert(model, HybridOptions())
    assert len(hybrid_layers(on_cells)) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules())
    assert on_cells(torch.randn(2, 3, size, size)).shape == (2, 10)
    assert not hybrid_layers(model)  # a copy: the given one is as it was


def weights_of(model: nn.Module) -> int:
    return sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))


def test_published_numbers_of_weights() -> None:
    """With 16/28/56 channels and projections they are 361,722 parameters with the ten biases (Joshi et al., Nat.
    Commun. 2020).
    """
    assert weights_of(resnet32(3, 10, 1.0)) + 10 == 361_722
    assert weights_of(resnet32(3, 10, 2.0)) == 1_444_864
    assert 70_000 < weights_of(resnet8(3, 10, 1.0)) < 80_000


def test_layers_that_cannot_be_converted_are_named() -> None:
    with pytest.raises(ImcsimError, match=r"layer 'lstm': is a LSTM, whose weights cannot be kept in cells"):
        convert(nn.ModuleDict({"lstm": nn.LSTM(3, 4), "out": nn.Linear(4, 2)}), HybridOptions())
    with pytest.raises(ImcsimError, match=r"layer '0': pads with reflect"):
        convert(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), HybridOptions())
    with pytest.raises(ImcsimError, match="has no Conv2d and no Linear layer"):
        convert(nn.Sequential(nn.ReLU()), HybridOptions())
    with pytest.raises(ImcsimError, match=r"layer '1': has no weights yet"):
        convert(mlp(1, 10, 1.0), HybridOptions())


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_a_rate_that_moves_nothing_is_said(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1, rate=1e-6)
    trained = train(network(), digits[0], options, tmp_path / "u.pt")
    assert "moves hardly any weight" in warnings(trained)[0]


def test_saturated_layers_are_named(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    hybrid = HybridOptions(IDEAL, refresh_every=10_000, range_sigmas=0.5)
    with pytest.raises(ImcsimError, match=r"--rate 30, layer '\d': \d+ % of its pairs are saturated"):
        train(network(), digits[0], replace(OPTIONS, hybrid=hybrid, rate=30.0), tmp_path / "u.pt")


def test_a_loss_that_is_no_number_is_said(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    options = replace(OPTIONS, weights="float", rate=1e6, epochs=3)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    with pytest.raises(ImcsimError, match=r"--float-rate 1e\+06: the loss is no number any more in epoch 1"):
        train(plain, digits[0], options, tmp_path / "u.pt")


@pytest.mark.parametrize(
    ("option", "value"), [("rate", 0.0), ("epochs", 0), ("batch", 0), ("validation", 0.9), ("weights", "analog")]
)
def test_options_that_cannot_be_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ImcsimError, match=f"--{option}"):
        replace(OPTIONS, **{option: value})


# -- the product of pulse trains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 4, 16])
def test_pulse_trains_are_unbiased_with_the_variance_of_their_length(length: int) -> None:
    x, d = torch.tensor([[0.9, -0.3, 0.0]]), torch.tensor([[0.7, -0.2]])
    scales = scale_of(x), scale_of(d)
    assert scales == (1.0, 1.0)
    generator, n = torch.Generator().manual_seed(1), 200_000
    by_sample = outer(x.expand(n, 3), d.expand(n, 2), lambda a, b: a[:, :, None] * b[:, None], length, generator)
    estimates = by_sample.numpy()
    product = (x.T @ d).numpy()
    p = np.abs(product) / (scales[0] * scales[1])
    sigma = scales[0] * scales[1] * np.sqrt(p * (1 - p) / length)
    assert (np.abs(estimates.mean(0) - product) <= FIVE_SIGMA * sigma / np.sqrt(n) + 1e-7).all()
    kurtosis_room = np.maximum(sigma, 0.05)
    assert (np.abs(estimates.std(0) - sigma) <= FIVE_SIGMA * kurtosis_room / np.sqrt(n)).all()


def test_a_stream_that_both_operands_share_is_no_product() -> None:
    """With one stream for both, AND gives the smaller of the two probabilities."""
    x, n = torch.full((10_000,), 0.5), 10_000
    alike = pulses(x, 1.0, torch.Generator().manual_seed(1)) * pulses(x, 1.0, torch.Generator().manual_seed(1))
    apart = pulses(x, 1.0, torch.Generator().manual_seed(1)) * pulses(x, 1.0, torch.Generator().manual_seed(2))
    assert float(alike.mean()) == pytest.approx(0.5, abs=FIVE_SIGMA * 0.5 / n**0.5)
    assert float(apart.mean()) == pytest.approx(0.25, abs=FIVE_SIGMA * 0.5 / n**0.5)


def test_networks_learn_from_pulse_trains(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    options = replace(OPTIONS, hybrid=HybridOptions(outer="pulses", train_length=4))
    trained = train(network(), digits[0], options, tmp_path / "u.pt")
    assert accuracy(trained.network, digits[1], OPTIONS) > 0.8


# -- time --------------------------------------------------------------------------------------------------------------


def test_drift_alike_is_undone_by_one_factor(trained: Trained, digits: tuple[Dataset, Dataset]) -> None:
    before = state_of(trained)
    options = AgeingOptions(ages_s=(1.0, 3.15e7), models=("pcm_accumulative",))
    accuracies = {(row.fix, row.age_s): row.accuracy_frac for row in ageing(trained, *digits, options)}
    fresh = accuracies["none", 1.0]
    assert accuracies["none", 3.15e7] < fresh - 0.03
    for fix in ("global", "column", "normalisation"):
        assert accuracies[fix, 3.15e7] > fresh - 0.05
    after = [(a == b).all() for a, b in zip(before, state_of(trained), strict=True)]
    assert all(after), "ageing left something changed"
    assert all(layer.correction == "none" for layer in trained.layers)


def test_cells_age_from_their_own_last_pulse(trained: Trained, digits: tuple[Dataset, Dataset]) -> None:
    """Had all cells been written a year before the end of the training, the first hour after it would matter little."""
    options = AgeingOptions(ages_s=(0.0, 3.15e7), models=("pcm_accumulative",), fixes=("none",), images=300)
    seen: dict[float, list[float]] = {}
    for older_s in (0.0, 3.15e7):
        for layer in trained.layers:
            layer.cells.since_s -= older_s
        seen[older_s] = [row.accuracy_frac for row in ageing(trained, *digits, options)]
        for layer in trained.layers:
            layer.cells.since_s += older_s
    assert seen[3.15e7][0] == pytest.approx(seen[0.0][1], abs=0.02)  # a year old at once
    assert abs(seen[3.15e7][0] - seen[3.15e7][1]) < 0.5 * abs(seen[0.0][0] - seen[0.0][1])


def test_an_aged_accuracy_does_not_depend_on_what_else_was_asked(
    trained: Trained, digits: tuple[Dataset, Dataset]
) -> None:
    alone = AgeingOptions(ages_s=(1.0,), models=("pcm_iterative",), fixes=("column",))
    both = AgeingOptions(ages_s=(1.0,), models=("pcm_iterative",), fixes=("normalisation", "column"))
    assert ageing(trained, *digits, alone)[0] == ageing(trained, *digits, both)[1]


def test_images_that_are_sorted_by_class_age_alike(trained: Trained, digits: tuple[Dataset, Dataset]) -> None:
    """The images of a new normalisation are drawn, not the first ones."""
    order = np.argsort(digits[0].labels, kind="stable")
    ordered = Dataset("sorted", digits[0].images[order], digits[0].labels[order])
    options = AgeingOptions(ages_s=(1.0,), models=("pcm_accumulative",), fixes=("normalisation",), calibration=200)
    one, two = (ageing(trained, data, digits[1], options)[0].accuracy_frac for data in (digits[0], ordered))
    assert one == pytest.approx(two, abs=0.04)


def test_a_new_normalisation_sees_images_as_the_training_did(trained: Trained, digits: tuple[Dataset, Dataset]) -> None:
    options = AgeingOptions((1.0,), ("pcm_accumulative",), ("normalisation",), calibration=OPTIONS.batch)
    shifting = replace(trained, options=replace(trained.options, augment=("shift",)))
    rng = random_streams.rng(trained.options.seed, "calibration images")
    shifted = changed(some(digits[0], OPTIONS.batch, rng), shifting.options, rng)
    itself = ageing(shifting, *digits, options)[0].accuracy_frac
    assert itself == pytest.approx(ageing(trained, shifted, digits[1], options)[0].accuracy_frac, abs=0.003)
    assert abs(itself - ageing(trained, *digits, options)[0].accuracy_frac) > 0.003


# -- what a step does --------------------------------------------------------------------------------------------------


def test_pairs_are_refreshed_as_often_as_asked(trained: Trained) -> None:
    for layer in trained.layers:
        assert layer.cells.tally.checks == trained.updates // OPTIONS.hybrid.refresh_every
    assert sum(layer.cells.tally.refreshed for layer in trained.layers) > 0


def test_errors_are_rounded_by_chance_and_inputs_to_the_nearest() -> None:
    on_cells = convert(nn.Sequential(nn.Linear(4, 3)), HybridOptions(), 0)[0]
    x = torch.full((20_000,), 0.3 / 127)
    assert float(on_cells.converted(x, 1.0).abs().max()) == 0.0
    by_chance = on_cells.converted(x, 1.0, "error")
    assert float(by_chance.mean()) == pytest.approx(0.3 / 127, abs=FIVE_SIGMA * 0.46 / 127 / 20_000**0.5)
    on_cells.reads += 1
    assert (on_cells.converted(x, 1.0, "error") != by_chance).any()


def test_a_module_with_two_names_is_one_layer() -> None:
    shared = nn.Linear(8, 8)
    on_cells = convert(nn.ModuleDict({"a": shared, "b": shared, "c": nn.Linear(8, 2)}), HybridOptions())
    assert on_cells["a"] is on_cells["b"]
    assert [layer.name for layer in hybrid_layers(on_cells)] == ["a", "c"]


def test_a_linear_layer_takes_tokens() -> None:
    options = HybridOptions(IDEAL, converter_bits=16)
    on_cells = convert(nn.Sequential(nn.Linear(6, 4)), options)[0].train()
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = on_cells(x)
    expected = x.detach() @ on_cells.weight.detach().T + on_cells.bias.detach()
    assert close(y.detach(), expected)
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_lost_carries_are_said(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    trained = train(network(), digits[0], replace(OPTIONS, rate=3000.0, epochs=1), tmp_path / "u.pt")
    assert any("of all carries were cut off" in text for text in warnings(trained))


# -- many runs ---------------------------------------------------------------------------------------------------------


def test_runs_are_done_once_and_tell_all(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=2)
    task = Task(mlp, *digits)
    runs = [TrainingRun(options, 0.5, ageing=AgeingOptions(ages_s=(1.0,), fixes=("none",)))]
    runs += [TrainingRun(replace(options, weights="float", rate=0.1))]
    first = execute(task, runs, tmp_path)
    called: list[int] = []
    assert execute(task, runs, tmp_path, lambda done, total, step: called.append(done)) == first
    assert not called
    hybrid, plain = first
    assert hybrid["size"]["weights"] == 64 * 32 + 32 * 10
    assert hybrid["size"]["cells"] == 2 * hybrid["size"]["weights"]
    assert plain["size"]["bits"] == 32 * (plain["size"]["weights"] + plain["size"]["digital"])
    assert len(hybrid["ageing"]) == 2
    assert max(row["cycles_max"] for row in hybrid["wear"] if row["part"].startswith("bit")) <= -(
        -hybrid["updates"] // 2
    )
    assert not plain["wear"]


def test_rates_are_chosen_without_the_test_images(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    task = Task(mlp, *digits)
    rate, entries, _ = choose_rate(task, TrainingRun(replace(OPTIONS, epochs=2)), (1e-6, 1.0), tmp_path)
    assert rate == 1.0
    assert all("accuracy_frac" not in entry for entry in entries)


def test_a_rate_that_fails_is_not_chosen(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    hybrid = HybridOptions(IDEAL, refresh_every=10_000, range_sigmas=0.5)
    run = TrainingRun(replace(OPTIONS, epochs=2, hybrid=hybrid))
    rate, entries, failed = choose_rate(Task(mlp, *digits), run, (0.001, 30.0), tmp_path)
    assert (rate, len(entries)) == (0.001, 1)
    assert "saturated" in failed[0]
    with pytest.raises(ImcsimError, match="saturated"):
        choose_rate(Task(mlp, *digits), run, (30.0,), tmp_path)


def test_what_was_done_is_forgotten_where_labels_or_code_change(digits: tuple[Dataset, Dataset]) -> None:
    task = Task(mlp, *digits)
    shuffled = Dataset("digits", digits[0].images, digits[0].labels[::-1].copy())
    prints = {task.fingerprint(1.0, 0), Task(mlp, shuffled, digits[1]).fingerprint(1.0, 0), task.fingerprint(1.0, 1)}
    assert len(prints) == 3
    assert task.fingerprint(1.0, 0) == Task(mlp, *digits).fingerprint(1.0, 0)


def test_images_that_do_not_fit_are_refused(digits: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    small = Dataset("small", digits[1].images[:, :, :4], digits[1].labels)
    with pytest.raises(ImcsimError, match="small: its images are 1x4x8, those of digits are 1x8x8"):
        execute(Task(mlp, digits[0], small), [TrainingRun(OPTIONS)], tmp_path)
    more = Dataset("more", digits[1].images, digits[1].labels + 1)
    with pytest.raises(ImcsimError, match="more: has labels up to 10, digits has 10 classes"):
        execute(Task(mlp, digits[0], more), [TrainingRun(OPTIONS)], tmp_path)
    with pytest.raises(ImcsimError, match="--network: gives 3 numbers for an image, there are 10 classes"):
        execute(Task(lambda c, k, w: mlp(c, 3, w), *digits), [TrainingRun(OPTIONS)], tmp_path)
    with pytest.raises(ImcsimError, match="--network: does not take images of 1x8x8"):
        execute(Task(lambda c, k, w: resnet8(c + 1, k, w), *digits), [TrainingRun(OPTIONS)], tmp_path)


def test_a_small_cnn_reads_images_of_several_sizes() -> None:
    for side in (14, 28, 32):
        assert small_cnn(1, 10, 1.0)(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_a_hybrid_layer_says_what_it_is() -> None:
    on_cells = convert(nn.Sequential(nn.Linear(4, 3)), HybridOptions())
    assert isinstance(on_cells[0], HybridLayer)
    assert on_cells[0].bias.shape == (3,)
