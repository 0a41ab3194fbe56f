"""Do hybrids keep what a fitted basis calls resident, and compute the file's values for all that they combine?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.functional.arrays import AnalogArrays
from imcsim.functional.chip import write_chip
from imcsim.functional.layout import layout
from imcsim.functional.reading import Reading
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.basis.fitted import FittedBasis, load_fitted
from imcsim.mapping.plan import BasisMvm, Mvm, Plan
from imcsim.mapping.schemes import load_scheme
from imcsim.util.errors import ImcsimError
from imcsim.workload.importers import load_network
from tests.conftest import Outcome
from tests.functional.test_arrays import IDEAL
from tests.functional.test_basis_run import DATA, LOSSLESS, MODEL, NETWORK, inputs_of, quick_fit, slow_sums

NAMES = [layer.name for layer in NETWORK.layers]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its largest layer is resident: no knapsack would keep it on a small chip."""
    return quick_fit(tmp_path_factory.mktemp("basis"), "layer3.conv2", "fc")


@pytest.fixture(scope="module")
def fitted(file: str) -> FittedBasis:
    return load_fitted(file)


def planned(file: str, n_tiles: int, **options: Any) -> Plan:
    hardware = load_hardware("rram-256", LOSSLESS | {"chip.n_tiles": n_tiles})
    return load_scheme("hybrid", {"basis": file, **options}).plan(load_network(MODEL), hardware, 16, 0)


def written(plan: Plan, n_tiles: int) -> AnalogArrays:
    hardware = load_hardware("rram-256", LOSSLESS | {"chip.n_tiles": n_tiles})
    places = layout(plan, NETWORK.layers, hardware)
    cells = write_chip(plan, places.contents, hardware, IDEAL, 0).cells
    return AnalogArrays(places, cells, Reading(hardware, IDEAL))


def how(plan: Plan) -> tuple[set[str], set[str]]:
    """Layers that stay, and layers that are combined."""
    kept, combined = ({op.layer.name for op in plan.operations() if isinstance(op, kind)} for kind in (Mvm, BasisMvm))
    return kept, combined


@pytest.mark.parametrize("rest", ["basis_broadcast", "basisn_inferred"])
def test_layers_that_stay_are_exact_and_the_others_are_those_of_the_file(
    rest: str, file: str, fitted: FittedBasis
) -> None:
    plan = planned(file, 5, rest=rest)
    kept, combined = how(plan)
    assert kept > set(fitted.resident)  # the knapsack chose more
    assert combined
    arrays = written(plan, 5)
    for layer in NETWORK.layers:
        vectors = inputs_of(layer)
        found = arrays(layer, vectors)
        if layer.name in kept:
            np.testing.assert_array_equal(found, layer.sums(vectors), layer.name)
        else:
            assert np.abs(found - slow_sums(layer, vectors, fitted)).max() <= 0.5 + 1e-6, layer.name


@pytest.mark.parametrize("n_tiles", [4, 5, 7, 9, 40, 100])
def test_resident_layers_of_the_file_are_never_combined(n_tiles: int, file: str, fitted: FittedBasis) -> None:
    plan = planned(file, n_tiles)
    kept, combined = how(plan)
    assert kept >= set(fitted.resident)
    assert not kept & combined
    assert kept | combined == set(NAMES)
    assert plan.crossbars_used <= 8 * n_tiles
    assert set(plan.facts["resident"]) == kept  # type: ignore[call-overload]


def test_resident_layers_have_to_fit_beside_the_basis(file: str) -> None:
    with pytest.raises(ImcsimError, match=r"needs 8 crossbars beside \d+ of layers that stay, the chip has 24; use"):
        planned(file, 3)


def test_another_basis_for_the_same_scheme_is_exact() -> None:
    plan = planned("hadamard", 8)
    assert how(plan)[1]
    arrays = written(plan, 8)
    for layer in NETWORK.layers:
        vectors = inputs_of(layer)
        np.testing.assert_array_equal(arrays(layer, vectors), layer.sums(vectors), layer.name)


@pytest.mark.parametrize(("options", "problem"), [
    ({"rest": "reprogram"}, r"hybrid.*: rest=reprogram combines no basis: leave out the option basis$"),
    ({"on_digital": ",".join({*NAMES} - {"layer3.conv2", "fc"})}, "no layer is left for the basis"),
    ({"basis": "basis.bin"}, "option: basis: expected 'synthetic' or 'hadamard'"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], problem: str, file: str) -> None:
    with pytest.raises(ImcsimError, match=problem):
        load_scheme("hybrid", {"basis": file, **options}).plan(load_network(MODEL), load_hardware("rram-256"), 1, 0)


def test_a_basis_of_another_network_is_refused(fitted: FittedBasis, tmp_path: Path) -> None:
    layers = {f"other.{name}": own for name, own in fitted.layers.items()}
    replace(fitted, layers=layers).write(tmp_path / "other.safetensors")
    with pytest.raises(ImcsimError, match="the file has no layer like"):
        planned(str(tmp_path / "other.safetensors"), 9)


@pytest.mark.parametrize("refit", [False, True])
def test_hybrids_have_an_accuracy_in_a_comparison(
    refit: bool, file: str, imcsim: Callable[..., Outcome], tmp_path: Path
) -> None:
    """The baselines beside it have nothing to refit."""
    words = ["--hardware", "rram-256", "--write", "radar2b_row", "--schemes", "hybrid", "--basis", file]
    words += ["--data", DATA, "--images", "20", "--batch", "1", "--jobs", "1", "--out", str(tmp_path)]
    outcome = imcsim("compare", MODEL, *words, *(["--refit"] if refit else []))
    assert outcome.code == 0, outcome.err
    rows = {row["scheme"]: row for row in json.loads(next(tmp_path.glob("*/compare.json")).read_text())["rows"]}
    assert rows["hybrid"]["accuracy_frac"] > 0.5
