"""Does a fitted basis represent the weights as well as theory says, and is every mistake refused?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imcsim.mapping.basis.coefficients import encode, levels_of, solve
from imcsim.mapping.basis.fit import FitOptions, alternate, fit, integer
from imcsim.mapping.basis.fitted import FittedBasis, check_fits, load_fitted
from imcsim.mapping.basis.initial import STARTS
from imcsim.mapping.basis.targets import Floats, Target
from imcsim.mapping.kernels.pursuit import pursue
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer, QuantisedNetwork, load_quantised
from tests.conftest import Outcome
from tests.workload.test_quantised import small_network

MODEL = Path(__file__).parents[2] / "workloads" / "models" / "resnet8_fashion.onnx"
SMALL = FitOptions(vectors=24, length=20, nonzeros=4, rounds=4)
Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def shipped() -> list[IntegerLayer]:
    return load_quantised(MODEL).layers


def small_layers(groups: int = 1) -> list[IntegerLayer]:
    """Layers of 27, 72 / groups, 16 and 4 rows."""
    return QuantisedNetwork(small_network(np.random.default_rng(groups), np.int8, groups, 1, 1), "model.onnx").layers


def gaussian(kernels: int, length: int = 128, seed: int = 0) -> Target:
    """Normal weights, one segment for each kernel."""
    values = np.random.default_rng(seed).standard_normal((1, 1, kernels, length))
    return Target("gaussian", values, np.full((1, 1), length), 1.0, [np.arange(kernels)], kernels * length)


def relative(missed: NDArray[Any], whole: NDArray[Any]) -> float:
    return float(np.linalg.norm(missed) / np.linalg.norm(whole))


# -- coefficients ------------------------------------------------------------------------------------------------------


def slow_pursuit(signal: Floats, vectors: Floats, nonzeros: int) -> Floats:
    """Orthogonal matching pursuit as in any textbook: the most correlated vector, then least squares of all so far."""
    chosen: list[int] = []
    found, left = np.zeros(vectors.shape[1]), signal
    for _ in range(nonzeros):
        chosen.append(int(np.argmax(np.abs(left @ vectors))))
        best, *_ = np.linalg.lstsq(vectors[:, chosen], signal)
        left = signal - vectors[:, chosen] @ best
    found[chosen] = best
    return found


@given(seed=st.integers(0, 10**6), length=st.integers(8, 30), extra=st.integers(0, 20), nonzeros=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_pursuit_is_that_of_its_slow_twin(seed: int, length: int, extra: int, nonzeros: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((length, length + extra))
    vectors /= np.linalg.norm(vectors, axis=0)
    signals = rng.standard_normal((70, length))
    found = pursue(vectors.T @ vectors, signals @ vectors, nonzeros)
    np.testing.assert_allclose(found, [slow_pursuit(signal, vectors, nonzeros) for signal in signals], atol=1e-9)


def test_pursuit_ends_where_nothing_is_left() -> None:
    vectors = np.eye(6)
    signals = np.array([[0.0, 2, 0, 0, -3, 0], [0] * 6])
    np.testing.assert_allclose(pursue(vectors, signals, 5), signals)


def test_coefficients_do_not_depend_on_threads() -> None:
    target, levels = gaussian(300), levels_of("uniform", 4)
    elements = np.random.default_rng(7).standard_normal((128, 90))
    n_threads = numba.get_num_threads()
    numba.set_num_threads(1)
    alone = encode(target, elements, 9, levels)
    numba.set_num_threads(n_threads)
    together = encode(target, elements, 9, levels)
    np.testing.assert_array_equal(alone.codes, together.codes)
    np.testing.assert_array_equal(alone.scales, together.scales)


@pytest.mark.parametrize("start", ["identity", "random", "hadamard", "svd"])
def test_dense_coefficients_of_an_orthonormal_basis_are_exact(start: str, shipped: list[IntegerLayer]) -> None:
    targets, rng = [Target.of(layer, 64) for layer in shipped], np.random.default_rng(1)
    elements = np.eye(64) if start == "identity" else STARTS[start](targets, 64, 64, rng)
    np.testing.assert_allclose(elements.T @ elements, np.eye(64), atol=1e-9)
    for target in targets:
        coefficients = solve(target, elements, 64)
        for rows in np.unique(target.rows):
            here = target.rows == rows
            np.testing.assert_allclose(
                coefficients[here] @ elements[:rows].T, target.kernels[here][..., :rows], atol=1e-9
            )


@pytest.mark.parametrize(("nonzeros", "expected"), [(8, 0.82), (16, 0.71), (32, 0.53), (64, 0.27)])
def test_sparse_coefficients_miss_what_order_statistics_say(nonzeros: int, expected: float) -> None:
    target = gaussian(1000)
    elements = STARTS["random"]([target], 128, nonzeros, np.random.default_rng(2))
    missed = target.kernels - solve(target, elements, nonzeros) @ elements.T
    assert relative(missed, target.kernels) == pytest.approx(expected, abs=0.01)
    largest = np.sort(np.abs(target.kernels @ elements), axis=-1)[..., : 128 - nonzeros]
    assert relative(missed, target.kernels) == pytest.approx(relative(largest, target.kernels), rel=1e-9)


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.44), (3, 0.22), (4, 0.11), (5, 0.06)])
def test_integer_coefficients_miss_as_much_as_a_uniform_quantiser(bits: int, expected: float) -> None:
    target = gaussian(500)
    elements = STARTS["random"]([target], 128, 128, np.random.default_rng(3))
    coded = encode(target, elements, 128, levels_of("uniform", bits - 1))  # the sign is a bit
    missed = target.kernels - coded.scales[:, None, :, None] * coded.codes @ elements.T
    assert relative(missed, target.kernels) == pytest.approx(expected, abs=0.015)
    np.testing.assert_allclose(np.square(missed).sum(axis=(1, 3)), coded.error2, rtol=1e-9)


def test_powers_of_two_have_one_bit_each() -> None:
    target = gaussian(50)
    coded = encode(target, np.eye(128), 128, levels_of("power-of-two", 4))
    assert set(np.unique(np.abs(coded.codes))) == {0, 1, 2, 4, 8}
    plain = encode(target, np.eye(128), 128, levels_of("uniform", 4))
    assert 5 * plain.error2.sum() < coded.error2.sum() < 0.04 * target.length2.sum()


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_integer_elements_have_their_bits(bits: int) -> None:
    elements = np.random.default_rng(4).standard_normal((64, 64))
    found = integer(elements, bits)
    assert np.abs(found).max() == 2 ** (bits - 1) - 1
    assert np.corrcoef(found.ravel(), elements.ravel())[0, 1] > {2: 0.88, 3: 0.97, 8: 0.999}[bits]


# -- fits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("length", [7, 32, 80])
def test_all_vectors_with_enough_bits_give_the_integer_weights(groups: int, length: int) -> None:
    layers = small_layers(groups)
    options = FitOptions(length, length, length, coeff_bits=15, basis_bits=8, init="random", rounds=0)
    basis = fit(layers, options, {})
    for layer in layers:
        np.testing.assert_array_equal(np.rint(basis.weights(layer)), layer.weights)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("basis_bits", [3, 8])
def test_the_error_never_rises_and_is_that_of_the_weights(start: str, basis_bits: int) -> None:
    layers = small_layers()
    basis = fit(layers, replace(SMALL, init=start, basis_bits=basis_bits), {})
    errors, rows = basis.made_on["errors"], basis.made_on["layers"]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) > 1 or basis_bits == 3  # of elements from -3 to 3, the next ones may well be worse
    assert rows[-1]["relative_error"] == pytest.approx(errors[-1], rel=1e-9)
    for layer, row in zip(layers, rows[:-1], strict=True):
        missed = relative(basis.weights(layer) - layer.weights, layer.weights)
        assert row["relative_error"] == pytest.approx(missed, rel=1e-5, abs=1e-6), layer.name


def test_codes_keep_to_their_bits_and_their_number() -> None:
    basis = fit(small_layers(8), replace(SMALL, coeff_bits=2), {})
    assert np.abs(basis.elements).max() < 1 << (basis.basis_bits - 1)
    for layer in basis.layers.values():
        assert np.abs(layer.values).max() < 4
        assert np.count_nonzero(layer.values, axis=1).max() <= SMALL.nonzeros


def test_the_same_seed_gives_the_same_basis() -> None:
    one, again = (fit(small_layers(), replace(SMALL, init="random", seed=5), {}) for _ in range(2))
    np.testing.assert_array_equal(one.elements, again.elements)
    assert one.made_on == again.made_on
    other = fit(small_layers(), replace(SMALL, init="random", seed=6), {})
    assert (one.elements != other.elements).any()


def test_more_coefficients_miss_less_on_the_shipped_network(shipped: list[IntegerLayer]) -> None:
    targets = [Target.of(layer, 128) for layer in shipped]
    options = FitOptions(coeff_bits=6, init="random", rounds=3)
    errors = [alternate(targets, replace(options, nonzeros=q))[2][-1] for q in (8, 16, 32, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.82  # of Gaussian weights in any orthonormal basis
    assert errors[-1] < 0.27


def test_groups_that_share_segments_use_little_of_the_basis() -> None:
    layers = small_layers(8)
    rows = {row["layer"]: row for row in fit(layers, FitOptions(32, 32, 4, rounds=0), {}).made_on["layers"]}
    assert rows["c"]["utilisation"] == pytest.approx(9 / 32)  # 9 rows of each kernel
    assert rows["a"]["utilisation"] == pytest.approx(27 / 32)
    assert rows["a"]["coefficients"] == 8 * 4
    assert rows["a"]["bits"] == 8 * 4 * (4 + 1 + 5)
    assert rows["all"]["weight_bits"] == 8 * sum(layer.weights.size for layer in layers)


def test_a_layer_of_zeros_has_no_error() -> None:
    first, *others = small_layers()
    empty = replace(first, weights=np.zeros_like(first.weights))
    basis = fit([empty, *others], SMALL, {})
    assert basis.made_on["layers"][0]["relative_error"] == 0
    assert not basis.weights(empty).any()


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> FittedBasis:
    return fit(small_layers(2), replace(SMALL, resident=("last", "a")), {"model": "small.onnx"})


def test_a_file_gives_the_basis_back(fitted: FittedBasis, tmp_path: Path) -> None:
    fitted.write(tmp_path / "basis.safetensors")
    again = load_fitted(tmp_path / "basis.safetensors")
    np.testing.assert_array_equal(again.elements, fitted.elements)
    assert (again.elements.dtype, again.resident, list(again.layers)) == (np.int64, ("a", "e"), ["c", "d"])
    assert again.made_on == json.loads(json.dumps(fitted.made_on))
    for name, layer in fitted.layers.items():
        np.testing.assert_array_equal(again.layers[name].values, layer.values)
        np.testing.assert_array_equal(again.layers[name].scale, layer.scale)
    check_fits(again, small_layers(2), 20)


def test_a_file_without_biases_has_none(fitted: FittedBasis, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = tmp_path / "basis.safetensors"
    fitted.write(path)
    with safe_open(path, "numpy") as file:
        head = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.endswith(".bias")}  # noqa: SIM118
    save_file(tensors, path, head)
    for name, layer in load_fitted(path).layers.items():
        np.testing.assert_array_equal(layer.bias, np.zeros(len(fitted.layers[name].scale)))


def test_a_broken_file_is_refused(fitted: FittedBasis, tmp_path: Path) -> None:
    path = tmp_path / "basis.safetensors"
    fitted.write(path)
    whole = path.read_bytes()
    unnamed = whole.replace(b"imcsim_basis", b"another_thing")
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"text", unnamed):
        path.write_bytes(content)
        with pytest.raises(ImcsimError, match=r"is no readable basis; make one with imcsim basis fit$"):
            load_fitted(path)
    with pytest.raises(ImcsimError, match="there is no such file"):
        load_fitted(tmp_path / "none.safetensors")


def test_numbers_that_break_the_file_s_own_sizes_are_refused(fitted: FittedBasis, tmp_path: Path) -> None:
    own = fitted.layers["c"]
    biased = replace(fitted, layers={**fitted.layers, "c": replace(own, bias=np.ones(1, np.int32))})
    for wrong in (replace(fitted, coeff_bits=1), replace(fitted, nonzeros=1), replace(fitted, basis_bits=3), biased):
        wrong.write(tmp_path / "basis.safetensors")
        with pytest.raises(ImcsimError, match="do not fit its own sizes"):
            load_fitted(tmp_path / "basis.safetensors")


def test_a_place_that_cannot_be_written_is_refused(fitted: FittedBasis, tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match="cannot be written"):
        fitted.write(tmp_path)


def test_a_full_disk_leaves_what_was_there(
    fitted: FittedBasis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    path = tmp_path / "basis.safetensors"
    path.write_text("old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ImcsimError, match=r"cannot be written \(No space left on device\)"):
        fitted.write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["basis.safetensors"]
    assert path.read_text() == "old"


def test_a_basis_of_another_network_is_refused(fitted: FittedBasis, shipped: list[IntegerLayer]) -> None:
    layers = small_layers(2)
    with pytest.raises(ImcsimError, match="20 elements do not fit the 16 rows"):
        check_fits(fitted, layers, 16)
    with pytest.raises(ImcsimError, match="has a layer 'c'"):
        check_fits(fitted, shipped, 128)
    with pytest.raises(ImcsimError, match="has a layer 'a'"):
        check_fits(fitted, layers[1:], 128)
    with pytest.raises(ImcsimError, match="has nothing for layer 'more'"):
        check_fits(fitted, [*layers, replace(layers[0], name="more")], 128)
    with pytest.raises(ImcsimError, match="layer 'c' has other sizes"):
        check_fits(fitted, small_layers(1), 128)


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"nonzeros": 25}, r"--nonzeros: 25 coefficients of 24 basis vectors; use at most"),
        ({"nonzeros": 0}, r"--nonzeros: 0 is not from 1 to"),
        ({"coeff_bits": 16}, r"--coeff-bits: 16 is not from 1 to 15"),
        ({"basis_bits": 1}, r"--basis-bits: 1 is not from 2 to 16"),
        ({"init": "swd"}, r"--init: there is no 'swd'; did you mean 'svd'\?"),
        ({"coefficients": "power_of_two"}, r"did you mean 'power-of-two'\?"),
    ],
)
def test_options_that_cannot_be_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImcsimError, match=problem):
        replace(SMALL, **change)


def test_residents_that_do_not_exist_are_refused(shipped: list[IntegerLayer]) -> None:
    with pytest.raises(ImcsimError, match=r"no layer 'layer1.conv3' with weights; did you mean 'layer1\.conv"):
        fit(shipped, replace(SMALL, resident=("layer1.conv3",)), {})
    with pytest.raises(ImcsimError, match="no layer is left for the basis"):
        fit(small_layers(), replace(SMALL, resident=("first", "c", "d", "last")), {})


def test_weights_that_are_no_numbers_are_refused() -> None:
    first, *others = small_layers()
    weights: Any = first.weights.astype(float)
    weights[0, 0] = np.nan
    with pytest.raises(ImcsimError, match="layer 'a': has weights that are no finite numbers"):
        fit([replace(first, weights=weights), *others], SMALL, {})


# -- command -----------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_basis_and_says_what_it_misses(
    imcsim: Command, tmp_path: Path, shipped: list[IntegerLayer]
) -> None:
    path = tmp_path / "here" / "basis.safetensors"
    words = "--vectors 32 --length 36 --nonzeros 4 --rounds 1 --resident first,fc --levels power-of-two"
    outcome = imcsim("basis", "fit", str(MODEL), "-o", str(path), *words.split())
    assert (outcome.code, outcome.err) == (0, f"written to {path}\n")
    assert "layer3.conv2" in outcome.out
    basis = load_fitted(path)
    check_fits(basis, shipped, 36)
    assert basis.resident == ("conv1", "fc")
    assert basis.made_on["model"] == MODEL.name
    assert basis.made_on["options"]["coefficients"] == "power-of-two"


def test_the_command_refuses_in_one_line(imcsim: Command, tmp_path: Path) -> None:
    outcome = imcsim("basis", "fit", str(MODEL), "-o", str(tmp_path / "b.safetensors"), "--nonzeros", "200")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())
