"""Does every scheme compute the whole network, in order, within the chip? One suite over everything registered."""

from __future__ import annotations

from collections import Counter

import pytest

from imcsim.experiments.run import plan_for, run
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.plan import BasisMvm, Compute, Digital, Mvm, Operation, Phase, Plan, Program
from imcsim.mapping.schemes import SCHEMES, load_scheme
from imcsim.mapping.tiling import cut
from imcsim.reporting.run_spec import RunSpec
from imcsim.util.errors import ImcsimError
from imcsim.workload.workload import Workload, load_workload
from tests.support.networks import conv, image, linear, network, residual
from tests.support.plugins import classes
from tests.support.runs import simulated

OPTIONS: dict[str, list[dict[str, object]]] = {
    "static": [{}, {"layers": "serial"}, {"replication": "none"}, {"on_digital": "first"}],
    "reprogram": [
        {},
        {"grouping": "packed"},
        {"grouping": "packed", "overlap": True},
        {"differential": True},
        {"grouping": "packed", "layers": "serial"},
        {"replication": "none"},
        {"on_digital": "first,depthwise"},
    ],
    "basisn_inferred": [{}, {"layers": "stream"}, {"sum": "digital"}, {"coefficients": "dram"}],
    "basis_broadcast": [{}, {"layers": "stream", "coefficients": "dram"}, {"M": 64, "q": 4}, {"basis": "hadamard"}],
    "hybrid": [{}, {"on_digital": "first"}, {"rest": "basisn_inferred"}, {"rest": "reprogram"}],
}
CASES = [(name, options) for name in classes(SCHEMES) for options in OPTIONS.get(name, [{}])]
NETWORKS = ["resnet20_cifar", "squeezenet", "mobilenet_v2", "gpt2_decode_512"]


def planned(workload: Workload, name: str, options: dict[str, object], batch: int = 3) -> Plan:
    tiles = sum(cut(layer, load_hardware("rram-256")).crossbars for layer in workload.weighted) // 8 + 4
    chip = load_hardware("rram-256", {"chip.n_tiles": tiles if name == "static" else 24})
    return plan_for(RunSpec(workload, chip, name, batch, options))


def made_by(operation: Operation) -> list[str]:
    """The layers whose values are final when an operation has ended."""
    if not isinstance(operation, Compute) or (isinstance(operation, Mvm) and operation.partial):
        return []
    return [layer.name for layer in (operation.layer, *getattr(operation, "absorbed", ()))]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("network_name", NETWORKS)
def test_every_layer_is_computed_once_and_after_its_inputs(
    network_name: str, name: str, options: dict[str, object]
) -> None:
    workload = load_workload(network_name)
    done: list[str] = []
    for operation in planned(workload, name, options).operations():
        if isinstance(operation, Compute):
            assert set(operation.layer.inputs) <= set(done)
        done += made_by(operation)
    assert Counter(done) == Counter(layer.name for layer in workload.layers)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_all_weights_are_there_and_fit_the_chip(name: str, options: dict[str, object]) -> None:
    workload = load_workload("resnet20_cifar")
    plan = planned(workload, name, options)
    held: Counter[str] = Counter()
    for phase in plan.phases:
        assert crossbars_in(phase) <= 24 * 8 or name == "static"
        for operation in phase.operations:
            if isinstance(operation, Mvm):
                held[operation.layer.name] += sum(operation.grid.cells)
    for layer in workload.weighted:
        others = [op for op in plan.operations() if isinstance(op, BasisMvm | Digital) and op.layer == layer]
        assert held[layer.name] == (0 if others else layer.rows * layer.channels * 8)


def crossbars_in(phase: Phase) -> int:
    """The last crossbar that any operation of a phase touches, plus one."""
    regions = [op.region for op in phase.operations if isinstance(op, Mvm | Program | BasisMvm)]
    return max((region.first + region.total for region in regions), default=0)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_both_engines_tell_the_same_of_a_real_plan(name: str, options: dict[str, object]) -> None:
    workload = network(
        image(3, 8),
        conv("stem", "image", (3, 16), 8),
        *residual_tail(),
        linear("classes", "flat", 1024, 10),
    )
    chip = load_hardware("rram-256", {"chip.n_tiles": 12})
    results = []
    for engine in ("fast", "simpy"):
        request = RunSpec(workload, chip, name, 2, options, engine)
        trace = simulated(request)
        results.append(
            [(r.makespan_ps, r.first_image_ps, r.busy_ps.tolist(), r.queued_ps.tolist()) for r in trace.results]
        )
    assert results[0] == results[1]


def residual_tail():  # type: ignore[no-untyped-def]
    from imcsim.workload.layers import Activation, Elementwise, Reshape

    return (
        Activation(name="relu", inputs=("stem",), output_shape=(16, 8, 8), function="relu"),
        conv("branch", "relu", (16, 16), 8),
        Elementwise(name="sum", inputs=("branch", "relu"), output_shape=(16, 8, 8), function="add"),
        Reshape(name="flat", inputs=("sum",), output_shape=(1024,)),
    )


def test_static_says_how_many_crossbars_are_missing() -> None:
    request = RunSpec(load_workload("resnet50"), load_hardware("rram-256"), "static")
    with pytest.raises(ImcsimError, match="static needs 12,504 crossbars, the chip has 256: 12,248 are missing"):
        plan_for(request)


def test_busiest_layers_get_the_free_crossbars() -> None:
    workload = residual(16, 6)
    plan = plan_for(RunSpec(workload, load_hardware("rram-256", {"chip.n_tiles": 8}), "static"))
    copies = {op.layer.name: op.region.copies for op in plan.operations() if isinstance(op, Mvm)}
    assert sum(n * 2 for n in copies.values()) <= 64
    assert max(-(-36 // n) for n in copies.values()) == 4  # 3 would take 36 copies, 32 fit


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rout": "exclusive"}, "route"),
        ({"route": "sideways"}, "exclusive"),
        ({"q": 200}, "200 coefficients of 128"),
        ({"L": 300}, "300 elements do not fit 128 rows"),
        ({"route": "broadcast", "sum": "analog"}, "converted once"),
        ({"M": 100_000}, "one basis takes"),
    ],
)
def test_impossible_bases_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ImcsimError, match=sentence):
        plan_for(RunSpec(residual(), load_hardware("rram-256"), "basisn_inferred", options=options))


def test_an_unknown_scheme_is_refused_with_its_nearest_name() -> None:
    with pytest.raises(ImcsimError, match="did you mean 'reprogram'"):
        load_scheme("reprogramm", {})


def test_coefficients_depend_on_the_seed_alone() -> None:
    facts = [
        plan_for(RunSpec(residual(), load_hardware("rram-256"), "basisn_inferred", seed=s)).facts for s in (1, 1, 2)
    ]
    assert facts[0] == facts[1]
    assert facts[0] != facts[2]


def test_a_mixture_is_no_slower_than_the_basis_it_starts_from() -> None:
    """The network would fit as a whole, but its first layer alone takes longer than all layers on the basis."""
    workload, hardware = load_workload("resnet20_cifar"), load_hardware("rram-256")
    mixed, pure = (
        simulated(request).makespan_ps
        for scheme in ("hybrid", "basis_broadcast")
        for request in [RunSpec(workload, hardware, scheme, batch=16)]
    )
    assert mixed < pure


def test_layers_on_digital_units_need_no_crossbars_and_no_writes() -> None:
    workload = load_workload("mobilenet_v2")
    depthwise = {layer.name for layer in workload.weighted if getattr(layer, "groups", 1) > 1}
    assert depthwise
    plan = planned(workload, "reprogram", {"on_digital": "depthwise"})
    assert {op.layer.name for op in plan.operations() if isinstance(op, Digital)} >= depthwise
    assert not depthwise & {op.layer for op in plan.programs()}
    assert not depthwise & {op.layer.name for op in plan.operations() if isinstance(op, Mvm)}
    first = workload.weighted[0].name
    named = planned(workload, "reprogram", {"on_digital": first})
    assert named == planned(workload, "reprogram", {"on_digital": "first"})


@pytest.mark.parametrize(("words", "problem"), [
    ("firts", "there is no layer 'firts'; did you mean 'first'"),
    ("a,b", "no layer is left for the crossbars; take --scheme digital"),
])  # fmt: skip
def test_layers_that_cannot_be_digital_are_refused(words: str, problem: str) -> None:
    workload = network(image(8, 4), conv("a", "image", (8, 4), 4), linear("b", "a", 4, 10, tokens=16))
    with pytest.raises(ImcsimError, match=problem):
        plan_for(RunSpec(workload, load_hardware("rram-256"), "static", options={"on_digital": words}))


def test_a_given_share_of_the_cells_is_skipped() -> None:
    options = {"differential": True, "unchanged_frac": 0.6}
    given, uniform = (run("resnet20_cifar", "rram-256", options=o) for o in (options, {"differential": True}))
    assert given.summary["cells_written"] / uniform.summary["cells_written"] == pytest.approx(0.4 / 0.75)
    assert any("unchanged_frac = 0.6: given" in each for each in given.summary["assumed"])
    with pytest.raises(ImcsimError, match="option unchanged_frac: every cell is written"):
        run("resnet20_cifar", "rram-256", options={"unchanged_frac": 0.6})
