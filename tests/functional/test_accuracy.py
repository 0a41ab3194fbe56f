"""Are right answers, agreement, signal to noise and confidence counted as by hand?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from imcsim.functional.accuracy import evaluate, wilson
from imcsim.workload.quantised import IntegerLayer, Integers, QuantisedNetwork
from tests.workload.test_quantised import small_network

RNG = np.random.default_rng(5)
NETWORK = QuantisedNetwork(small_network(np.random.default_rng(2), np.int8, 2, 1, 1), "model.onnx")
IMAGES = RNG.normal(0, 1.5, (30, 3, 7, 6)).astype(np.float32)
EXACT = NETWORK.run(IMAGES).argmax(axis=1)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_is_that_of_scipy(n: int, share: float) -> None:
    hits = round(share * n)
    theirs = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("at_once", [1, 7, 30])
def test_exact_arithmetic_agrees_with_itself_whatever_the_batch(at_once: int) -> None:
    labels = np.where(np.arange(30) < 12, EXACT, EXACT + 1)
    found = evaluate(NETWORK, IMAGES, labels, IntegerLayer.sums, at_once=at_once)
    assert (found.n_images, found.n_correct, found.n_agreeing, found.n_exact_correct) == (30, 12, 30, 12)
    assert set(found.snr_db) == {layer.name for layer in NETWORK.layers}
    assert set(found.snr_db.values()) == {math.inf}


def test_noise_shows_in_the_layer_that_makes_it() -> None:
    seen: list[tuple[Integers, Integers]] = []

    def noisy(layer: IntegerLayer, vectors: Integers) -> Integers:
        sums = layer.sums(vectors)
        if layer.name != "c":
            return sums
        wrong = sums + np.random.default_rng(len(seen)).integers(-9000, 9000, sums.shape)
        seen.append((sums, wrong))
        return wrong

    found = evaluate(NETWORK, IMAGES, EXACT, noisy, at_once=10)
    layer = NETWORK.layers[1]
    signal = sum(((sums - layer.bias) ** 2).sum() for sums, _ in seen)
    error = sum(((wrong - sums) ** 2).sum() for sums, wrong in seen)
    assert found.snr_db["c"] == pytest.approx(10 * math.log10(signal / error), rel=1e-12)
    assert {name for name, value in found.snr_db.items() if value == math.inf} == {"a", "d", "e"}
    assert found.n_correct == found.n_agreeing < 30
    assert (found.n_exact_correct, found.exact_accuracy_frac) == (30, 1)


def test_progress_is_told_of_every_batch() -> None:
    told: list[tuple[int, int]] = []
    evaluate(NETWORK, IMAGES, EXACT, IntegerLayer.sums, at_once=8, progress=lambda done, of, _: told.append((done, of)))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
