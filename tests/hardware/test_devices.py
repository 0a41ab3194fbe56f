"""Does every device obey the laws of a device, and does each model give the numbers of its source?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.hardware import devices
from imcsim.hardware.devices import Cells, DeviceSpec, Floats, _pcm, load_device, pcm_accumulative, pcm_hermes
from imcsim.util.config import Spec, build
from imcsim.util.errors import ImcsimError
from imcsim.util.random_streams import rng
from tests.support.plugins import classes

N = 40_000
DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0
PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
VARIANTS: dict[str, list[dict[str, Any]]] = {  # beside the examples that the kinds give themselves
    "rram_generic": [{"n_levels": "continuous"}],
    "rram_cmo2025": [{"acceptance_frac": 0.002}],
    "pcm_hermes": [{"devices": 1}],
    "pcm_iterative": [{"g_max_usiemens": 10.0}],
}
NO_CLOSED_FORM = {"pcm_accumulative"}


def examples(spec: type[DeviceSpec]) -> dict[str, Any]:
    """The examples that a kind gives for the fields without a default."""
    return {name: field.examples[0] for name, field in spec.model_fields.items() if field.examples}


CASES = [
    load_device(kind, **(examples(spec) | variant))
    for kind, spec in classes(devices.DEVICES).items()
    for variant in [{}, *VARIANTS.get(kind, [])]
]


def remade(device: DeviceSpec, **fields: Any) -> DeviceSpec:
    """The device with other fields."""
    return type(device).model_validate({**device.model_dump(), **fields})


def ages(device: DeviceSpec) -> list[float]:
    """The ends of each interval of ages, at most a year, and one age inside."""
    spans = [(low, min(high, YEAR_S)) for low, high in device.ages_s]
    return sorted({age for low, high in spans for age in (low, low + (high - low) / 1000, high)})


def spread(device: DeviceSpec, shape: tuple[int, ...] = (40, 25), dtype: type = np.float64) -> Floats:
    """Targets from one end of the range to the other."""
    return np.linspace(device.g_min_usiemens, device.g_max_usiemens, math.prod(shape), dtype=dtype).reshape(shape)


def same(one: Cells, other: Cells) -> bool:
    equal = np.array_equal(one.programmed_usiemens, other.programmed_usiemens)
    return equal and all(np.array_equal(one.traits[name], other.traits[name]) for name in one.traits)


# -- laws ----------------------------------------------------------------------------------------------------------


def writes_have_the_mean_and_deviation_of_the_closed_form(device: DeviceSpec) -> None:
    for place in (0.5, 0.7, 1.0):
        target = np.full(N, device.g_min_usiemens + place * (device.g_max_usiemens - device.g_min_usiemens))
        if device.kind in NO_CLOSED_FORM:
            with pytest.raises(ImcsimError, match="no closed form"):
                device.program_sigma_usiemens(target)
            return
        cells = device.program(target, rng(1, "law", int(10 * place)))
        sigma = float(device.program_sigma_usiemens(cells.target_usiemens)[0])
        assert cells.target_usiemens[0] > 5 * sigma  # next to nothing is cut off
        assert abs(cells.programmed_usiemens.mean() - cells.target_usiemens[0]) <= 5 * sigma / math.sqrt(N) + 1e-9
        assert abs(cells.programmed_usiemens.std() - sigma) <= 5 * sigma / math.sqrt(2 * N) + 1e-9


def the_lowest_target_is_written_and_never_negative(device: DeviceSpec) -> None:
    cells = device.program(np.full(N, device.g_min_usiemens), rng(2))
    assert cells.programmed_usiemens.min() >= 0
    if device.g_min_usiemens == 0:  # half of a normal error is cut off
        sigma = float(device.program_sigma_usiemens(np.zeros(1))[0])
        error = cells.programmed_usiemens.mean() - sigma / math.sqrt(2 * math.pi)
        assert abs(error) <= 5 * sigma * math.sqrt(0.5 - 0.5 / math.pi) / math.sqrt(N)


def cells_move_without_chance_and_stay_at_or_above_zero(device: DeviceSpec) -> None:
    cells = device.program(spread(device), rng(3))
    for age in ages(device):
        g, sigma = device.conductance_usiemens(cells, age), device.read_sigma_usiemens(cells, age)
        assert np.isfinite(g).all()
        assert np.isfinite(sigma).all()
        assert min(g.min(), sigma.min()) >= 0
        assert np.array_equal(g, device.conductance_usiemens(cells, age))
    first = device.conductance_usiemens(cells, ages(device)[0])
    assert np.allclose(first, cells.programmed_usiemens)
    each = np.linspace(device.ages_s[-1][0], ages(device)[-1], cells.stuck.size).reshape(cells.stuck.shape)
    alone = device.conductance_usiemens(cells, each)
    assert alone[-1, -1] == pytest.approx(device.conductance_usiemens(cells, each[-1, -1])[-1, -1])


def one_exponent_explains_all_ages(device: DeviceSpec) -> None:
    cells = device.program(spread(device)[20:], rng(4))
    if not isinstance(device, _pcm.DriftingPcm):
        return
    start = cells.programmed_usiemens
    for age in (60.0, DAY_S, YEAR_S):
        left = np.log(device.conductance_usiemens(cells, age) / start)
        exponent = -left / math.log((age + device.first_read_s) / device.first_read_s)
        assert np.allclose(exponent, cells.traits["drift_exponent"])


def shape_and_type_are_kept(device: DeviceSpec) -> None:
    for shape in [(), (7,), (3, 4), (2, 3, 4), (0, 5)]:
        wide, narrow = (device.program(spread(device, shape, dtype), rng(5)) for dtype in (np.float64, np.float32))
        for cells, dtype in ((wide, np.float64), (narrow, np.float32)):
            age = ages(device)[-1]
            answers = (device.conductance_usiemens(cells, age), device.read_sigma_usiemens(cells, age))
            for floats in (cells.target_usiemens, cells.programmed_usiemens, *answers):
                assert floats.shape == shape
                assert floats.dtype == dtype
            assert all(trait.shape == shape for trait in [*cells.traits.values(), cells.stuck])
        agree = np.isclose(wide.target_usiemens, narrow.target_usiemens)  # halfway between levels they may not
        assert np.allclose(wide.programmed_usiemens[agree], narrow.programmed_usiemens[agree], rtol=1e-4, atol=1e-4)


def the_seed_decides(device: DeviceSpec) -> None:
    one, again, other = (device.program(spread(device), rng(seed)) for seed in (6, 6, 7))
    assert same(one, again)
    assert device.kind == "ideal" or not same(one, other)


def what_lies_outside_is_refused(device: DeviceSpec) -> None:
    high, low = device.g_max_usiemens, device.g_min_usiemens
    device.program(high * (1 + 1e-7), rng(8))
    for target in (1.01 * high, low - 0.01 * high, math.nan):
        with pytest.raises(ImcsimError, match=f"device '{device.kind}': 1 of 2 .* give targets from {low:g} to"):
            device.program(np.array([high, target]), rng(8))
    cells = device.program(spread(device), rng(8))
    for age in [-1.0, math.nan, *(high * 1.01 + 1e-3 for _, high in device.ages_s[-1:] if high < math.inf)]:
        for question in (device.conductance_usiemens, device.read_sigma_usiemens):
            with pytest.raises(ImcsimError, match=f"does not hold at the age {age:g} s; give an age of"):
                question(cells, age)


def stuck_cells_are_as_many_as_asked_for_and_stay(device: DeviceSpec) -> None:
    whole, faulty = device, remade(device, stuck_on_frac=0.09, stuck_off_frac=0.02)
    target = np.full(N, (device.g_min_usiemens + device.g_max_usiemens) / 2)
    cells, sound = faulty.program(target, rng(9)), whole.program(target, rng(9))
    assert not sound.stuck.any()
    ends = {0.09: device.g_max_usiemens, 0.02: device.g_min_usiemens}
    for fraction, end in ends.items():
        n = np.count_nonzero(cells.stuck & np.isclose(cells.programmed_usiemens, end))
        assert abs(n - fraction * N) <= 5 * math.sqrt(N * fraction * (1 - fraction))
    assert np.array_equal(cells.programmed_usiemens[~cells.stuck], sound.programmed_usiemens[~cells.stuck])
    later = faulty.conductance_usiemens(cells, ages(device)[-1])
    assert np.array_equal(later[cells.stuck], cells.programmed_usiemens[cells.stuck])


def levels_are_the_nearest(device: DeviceSpec) -> None:
    cells = remade(device, n_levels=4).program(spread(device), rng(10))
    levels = np.linspace(device.g_min_usiemens, device.g_max_usiemens, 4)
    assert np.allclose(np.unique(cells.target_usiemens.round(9)), levels)
    assert np.abs(cells.target_usiemens - spread(device)).max() <= (levels[1] - levels[0]) / 2 * (1 + 1e-9)


LAWS: list[Callable[[DeviceSpec], None]] = [
    writes_have_the_mean_and_deviation_of_the_closed_form,
    the_lowest_target_is_written_and_never_negative,
    cells_move_without_chance_and_stay_at_or_above_zero,
    one_exponent_explains_all_ages,
    shape_and_type_are_kept,
    the_seed_decides,
    what_lies_outside_is_refused,
    stuck_cells_are_as_many_as_asked_for_and_stay,
    levels_are_the_nearest,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("device", CASES, ids=lambda device: re.sub(r"\W+", "-", str(device))[:60])
def test_every_device_obeys(device: DeviceSpec, law: Callable[[DeviceSpec], None]) -> None:
    law(device)


# -- the numbers of the sources ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r", "sigma", "exponent", "q", "noise", "left"),
    [
        (0.1, "0.448", "0.0601 0.0229", "0.0393", ".165 .200 .222", ".605 .424"),
        (0.2, "0.610", "0.0493 0.0142", "0.0251", ".105 .127 .141", ".662 .494"),
        (0.4, "0.862", "0.0490 0.0080", "0.0160", ".067 .081 .090", ".664 .497"),
        (1.0, "1.055", "0.0490 0.0080", "0.0088", ".037 .045 .050", ".664 .497"),
    ],
)
def test_pcm_iterative(r: float, sigma: str, exponent: str, q: str, noise: str, left: str) -> None:
    device = load_device("pcm_iterative")
    assert isinstance(device, _pcm.DriftingPcm)
    g, rs = np.array([25 * r]), np.array([r])
    assert f"{device.program_sigma_usiemens(g)[0]:.3f}" == sigma
    assert f"{device.exponent_mean(rs)[0]:.4f} {device.exponent_sigma(rs)[0]:.4f}" == exponent
    assert f"{device.flicker(rs)[0]:.4f}" == q
    typical = Cells(g, g, {"drift_exponent": device.exponent_mean(rs)}, np.array([False]))
    shares = {age: device.conductance_usiemens(typical, age)[0] / g[0] for age in (1.0, DAY_S, YEAR_S)}
    reads = [device.read_sigma_usiemens(typical, age)[0] / (g[0] * share) for age, share in shares.items()]
    assert " ".join(f"{read:.3f}"[1:] for read in reads) == noise
    assert f"{shares[DAY_S]:.3f}"[1:] + " " + f"{shares[YEAR_S]:.3f}"[1:] == left


def test_drift_exponents_are_drawn_as_fitted() -> None:
    for device in (load_device("pcm_iterative"), load_device("pcm_hermes", devices=1)):
        assert isinstance(device, _pcm.DriftingPcm)
        drawn = device.program(np.full(N, 0.3 * device.g_max_usiemens), rng(11)).traits["drift_exponent"]
        mean, sigma = device.exponent_mean(np.array([0.3]))[0], device.exponent_sigma(np.array([0.3]))[0]
        assert abs(drawn.mean() - mean) < 5 * sigma / math.sqrt(N)
        assert abs(drawn.std() - sigma) < 5 * sigma / math.sqrt(2 * N)


@pytest.mark.parametrize(
    ("n", "g_max", "sigma", "exponent", "q"),  # at g_max; at half of it, mean and deviation; at half of it
    [(1, 10.35, 1.00756712, (0.0564, 0.012075), 0.0217), (2, 20.7, 1.09269857, (0.0564, 0.009), 0.0167125)],
)
def test_pcm_hermes(n: int, g_max: float, sigma: float, exponent: tuple[float, float], q: float) -> None:
    device = load_device("pcm_hermes", devices=n)
    assert isinstance(device, pcm_hermes.PcmHermes)
    half = np.array([0.5])
    assert device.g_max_usiemens == g_max
    assert device.program_sigma_usiemens(np.array([g_max]))[0] == pytest.approx(sigma, abs=1e-8)
    assert (device.exponent_mean(half)[0], device.exponent_sigma(half)[0]) == pytest.approx(exponent)
    assert device.flicker(half)[0] == pytest.approx(q)
    low = np.array([1e-7, 0.01, 0.05])
    assert device.exponent_mean(low) == pytest.approx([0.13, 0.13, -0.0387 * math.log(0.05) - 0.0182])
    fit = pcm_hermes.FITS[n]
    for branches in (pcm_hermes.EXPONENT_MEAN, fit.exponent_sigma, fit.flicker):
        below, above = branches.at(np.array([branches.split - 1e-9, branches.split]))
        assert below == pytest.approx(above, rel=0.03)  # the branches were fitted to meet


def test_rram_wan2022() -> None:
    device = load_device("rram_wan2022")
    cells = device.program(np.full(N, 20.0), rng(12))
    for age, printed in ((1.0, "2.02"), (DAY_S, "3.91"), (2 * DAY_S, "3.93")):
        fitted = device.deviation_usiemens(np.array([20.0]), age)[0]  # type: ignore[attr-defined]
        assert f"{fitted:.2f}" == printed
        deviations = device.conductance_usiemens(cells, age) - 20
        assert abs(deviations.std() - fitted) < 5 * fitted / math.sqrt(2 * N)
        assert abs(deviations.mean()) < 5 * fitted / math.sqrt(N)
    between = device.deviation_usiemens(np.array([20.0]), math.sqrt(DAY_S))[0]  # type: ignore[attr-defined]
    assert between == pytest.approx((2.0232 + 3.9089) / 2, abs=1e-3)
    assert device.read_sigma_usiemens(cells, 1)[0] == pytest.approx(0.4)


def test_rram_milo2021() -> None:
    sigma = load_device("rram_milo2021").program_sigma_usiemens(np.array([50.0, 225.0]))
    assert sigma == pytest.approx([4.326971, 2.733246])


def test_rram_cmo2025() -> None:
    fine, coarse = (load_device("rram_cmo2025", acceptance_frac=accepted) for accepted in (0.002, 0.02))
    target = np.full(N, 50.0)
    assert fine.program_sigma_usiemens(target)[0] == pytest.approx(0.05425057)
    assert coarse.program_sigma_usiemens(target)[0] == pytest.approx(0.57573225, abs=1e-7)
    cells = fine.program(target, rng(13))
    for age in (1.0, 3600.0, YEAR_S):
        shift = fine.conductance_usiemens(cells, age) - cells.programmed_usiemens
        mean, sigma = -0.08900206 * math.log(age), 0.04201137 * math.log(age) + 0.41183342
        assert abs(shift.mean() - mean) < 5 * sigma / math.sqrt(N)
        assert abs(shift.std() - sigma) < 5 * sigma / math.sqrt(2 * N)
    still = Cells(target, target, {"relaxation": np.zeros(N)}, np.zeros(N, dtype=bool))
    noise = 0.0277316483 * math.log10(50) * math.sqrt(math.log((1 + 1e-6) / 2e-6))
    assert fine.read_sigma_usiemens(still, 1)[0] == pytest.approx(noise)
    assert fine.read_sigma_usiemens(still, 0)[0] == 0


# -- pulses --------------------------------------------------------------------------------------------------------


def accumulative(**fields: Any) -> pcm_accumulative.PcmAccumulative:
    device = load_device("pcm_accumulative", **fields)
    assert isinstance(device, pcm_accumulative.PcmAccumulative)
    return device


def test_set_pulses_without_noise() -> None:
    g, steps = np.array([0.1]), []
    for nth in range(1, 9):
        steps.append(float(accumulative().step_usiemens(g, nth)[0][0]))
        g = g + steps[-1]
    assert [f"{step:.2f}" for step in steps] == ["1.82", "1.37", "1.05", "0.82", "0.65", "0.53", "0.44", "0.38"]
    assert f"{g[0]:.2f}" == "7.15"


def test_set_pulses_with_noise() -> None:
    device, n = accumulative(), 200_000
    g, done, printed = device.reset(np.empty(n), rng(14)), 0, {1: (2.06, 1.52), 2: (3.44, 1.97), 4: (5.27, 2.29)}
    for pulses, (mean, sigma) in (printed | {8: (7.16, 2.24), 12: (8.09, 2.10), 20: (8.91, 1.97)}).items():
        g = device.pulse(g, pulses - done, rng(14, pulses), since_reset=done)
        done = pulses
        assert abs(g.mean() - mean) < 0.005 + 10 * sigma / math.sqrt(n)  # the printed values were drawn as well
        assert abs(g.std() - sigma) < 0.005 + 10 * sigma / math.sqrt(2 * n)
        assert 0.1 <= g.min() < g.max() <= 12


def test_cells_are_pulsed_one_by_one() -> None:
    device, g = accumulative(), np.full((2, 3), 3.0)
    after = device.pulse(g, np.array([[0, 1, 2], [0, 0, 5]]), rng(15), since_reset=np.arange(3))
    assert (after == g).tolist() == [[True, False, False], [True, True, False]]
    assert (g == 3).all()
    for wrong in (-1, 0.5):
        with pytest.raises(ImcsimError, match="give whole numbers from 0 on"):
            device.pulse(g, wrong, rng(15), since_reset=0)


def written_alone(target: float, max_pulses: int, generator: np.random.Generator) -> tuple[float, int]:
    """The slow twin of ``write``: one cell, plain numbers; conductance and number of pulses."""
    g = min(max(generator.normal(0.1, 0.01), 0.01), 12.0)
    for done in range(max_pulses):
        seen, p = g + generator.normal(0, 0.03 * g + 0.13), math.exp(-(done + 1) / 2.6)
        if target - seen <= (-0.084 * seen + 0.880 + 1.40 * p) / 2:
            return g, done
        step = generator.normal(-0.084 * g + 0.880 + 1.40 * p, 0.091 * g + 0.260 + 2.15 * p)
        g = min(max(g + step, 0.1), 12.0)
    return g, max_pulses


@pytest.mark.parametrize("target", [0.1, 2.0, 6.0, 12.0])
def test_writing_by_pulses(target: float) -> None:
    device, n, generator = accumulative(), 4000, rng(17)
    cells = device.program(np.full(N, target), rng(16))
    slow = np.array([written_alone(target, 20, generator) for _ in range(n)])
    for fast, values in ((cells.programmed_usiemens, slow[:, 0]), (cells.traits["set_pulses"], slow[:, 1])):
        error = math.hypot(values.std() / math.sqrt(n), fast.std() / math.sqrt(N))
        assert abs(fast.mean() - values.mean()) <= 5 * error + 1e-9
        assert abs(fast.std() - values.std()) <= 10 * error + 1e-9  # the distributions are skewed
    assert cells.traits["set_pulses"].max() <= device.max_pulses


# -- compensation --------------------------------------------------------------------------------------------------


def test_a_global_factor_undoes_drift_that_all_cells_share() -> None:
    device = accumulative()
    cells = device.program(spread(device), rng(18))
    later = device.conductance_usiemens(cells, YEAR_S)
    factor = devices.global_factor(cells.programmed_usiemens, later)
    assert factor == pytest.approx(((YEAR_S + 38.6) / 38.6) ** 0.04)
    assert np.allclose(factor * later, cells.programmed_usiemens)


def test_column_factors_undo_what_differs_between_columns() -> None:
    before = np.array([[1.0, -2.0, 0.0], [3.0, 2.0, 0.0]])
    factors = devices.column_factors(before, before * [0.5, 0.25, 1.0])
    assert factors.tolist() == [2.0, 4.0, 1.0]
    assert devices.global_factor(before, before / 4) == 4
    with pytest.raises(ImcsimError, match=r"shapes \(2, 3\) and \(2, 2\)"):
        devices.column_factors(before, before[:, :2])


# -- finding devices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("pcm_iter", {}, "there is no such device; did you mean 'pcm_iterative'?"),
        ("pcm_hermes", {}, "the key 'devices' is missing; add it"),
        ("pcm_hermes", {"devices": 3}, "devices: expected 1 or 2, got 3"),
        ("pcm_iterative", {"g_max": 25}, "unknown key 'g_max'; did you mean 'g_max_usiemens'?"),
        ("rram_cmo2025", {"acceptance_frac": 0.2}, "the fit knows the acceptances 0.002 and 0.02, got 0.2"),
        ("ideal", {"g_max_usiemens": 1, "g_min_usiemens": 2}, "g_min_usiemens must be less than g_max_usiemens"),
        ("ideal", {"g_max_usiemens": 1, "stuck_on_frac": 0.6, "stuck_off_frac": 0.6}, "are more than all cells"),
        ("nowhere.py", {}, "there is no such file; give the path"),
    ],
)
def test_mistakes_are_named(name: str, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImcsimError) as caught:
        load_device(name, **fields)
    assert sentence in str(caught.value)


class Chip(Spec):
    """A declaration with a device in it, as in a file."""

    device: devices.Device


@pytest.mark.parametrize("device", CASES, ids=lambda device: device.kind)
def test_a_device_is_a_block_of_a_file(device: DeviceSpec) -> None:
    chip = build(Chip, {"device": device.model_dump(mode="json")}, "chip.yaml")
    assert chip.device == device
    with pytest.raises(ImcsimError, match=r"chip.yaml: device: unknown kind 'pcm'; known: ideal"):
        build(Chip, {"device": {"kind": "pcm"}}, "chip.yaml")


def test_the_age_between_programming_and_relaxation_is_refused() -> None:
    device = load_device("rram_cmo2025", acceptance_frac=0.02)
    with pytest.raises(ImcsimError, match=r"at the age 0\.5 s; give an age of 0 s or 1 s or more"):
        device.conductance_usiemens(device.program(50.0, rng(19)), 0.5)


def test_a_file_without_a_device_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("from imcsim.hardware.devices import DeviceSpec\n\n\nclass Empty(DeviceSpec):\n    pass\n")
    with pytest.raises(ImcsimError, match="it defines no device"):
        load_device(str(path))


def test_the_device_of_the_page(tmp_path: Path) -> None:
    _, added = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    path = tmp_path / "fefet_example.py"
    path.write_text(added)
    device = load_device(str(path), sigma_frac=0.01)
    assert device.n_levels == 32
    for law in LAWS:
        law(device)


def test_the_page_lists_every_device() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \|$", PAGE.partition("## Which")[2], flags=re.MULTILINE)[1:]
    assert set(rows) == set(classes(devices.DEVICES))
